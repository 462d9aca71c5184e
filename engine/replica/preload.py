"""Reads the weights and makes the context on a thread of its own, while the rest of the program is still imported.

Importing the wire's models takes as long as loading a small model; a cold start waits for the longer of the two, not
for their sum.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.replica import hardware, llama
from engine.replica.hardware import Layout
from engine.replica.load_progress import LoadProgress
from engine.replica.settings import Settings

if TYPE_CHECKING:
    from engine.replica.loaded import Loaded


@dataclass(frozen=True, slots=True)
class Opened:
    """The model, and what text generation needs around it; `loaded` is None for a model that writes no text."""

    model: llama.Model
    layout: Layout
    loaded: Loaded | None


class Preload:
    """Starts at once. `progress` tells how far it is."""

    def __init__(self, settings: Settings) -> None:
        self.progress = LoadProgress()
        self._settings = settings
        self._cancelled = threading.Event()
        self._opened: Opened | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="preload", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Stop reading; `wait` then raises LoadCancelled."""
        self._cancelled.set()

    def wait(self) -> Opened:
        """What was opened. Raises whatever opening it raised: LoadError for a file that cannot be served."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._opened is not None
        return self._opened

    def _run(self) -> None:
        self.progress.follow()
        try:
            self._opened = self._open()
        except Exception as error:  # raised again in `wait`, where somebody can act on it
            self._error = error
        finally:
            self.progress.end()

    def _open(self) -> Opened:
        llama.start_backend()
        layout = _lay_out(self._settings)
        model = llama.Model(
            self._settings.model_path,
            gpu_layers=layout.gpu_layers,
            tensor_split=hardware.tensor_split(layout),
            progress=self._on_progress,
        )
        if not model.generates:
            return Opened(model, layout, None)
        from engine.replica import loading  # while it is imported here, the main thread imports the rest

        loaded = loading.load(self._settings, layout, model)
        return Opened(model, loaded.layout, loaded)  # its threads are chosen by now

    def _on_progress(self, fraction: float) -> bool:
        self.progress.fraction = fraction
        return not self._cancelled.is_set()


def _lay_out(settings: Settings) -> Layout:
    """How the model will lie on this machine."""
    return hardware.lay_out(
        gpu_layers=settings.gpu_layers,
        devices=settings.devices,
        threads=settings.threads,
        cores=settings.cores,
        can_offload=llama.gpu_available(),
        found=len(llama.accelerators()),
    )
