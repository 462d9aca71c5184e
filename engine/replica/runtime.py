"""The thread that owns the model: load, measure, serve, free. The rest of the process only reads its state.

loading --> ready --> draining --> (stopped)
   │          └─────> failed       (its scheduler died)
   ├──> draining
   └──> failed                     (the model cannot be served)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from client.errors import FailedPrecondition, FiredeckError, Unavailable
from engine.replica import llama, loading, own_log, stats
from engine.replica.adapters import Adapters
from engine.replica.call import Identity
from engine.replica.llama_log import LlamaLog
from engine.replica.loaded import Loaded
from engine.replica.openai import Inference
from engine.replica.pooler import Pooler
from engine.replica.preload import Preload
from engine.replica.scheduler import Scheduler
from engine.replica.settings import Settings

NEXT = {"loading": ("ready", "draining", "failed"), "ready": ("draining", "failed")}  # the others are final


class Runtime:
    """`status` is "loading", "ready", "failed" or "draining"; `reason` says why it failed, or drains if nobody
    asked for it (one line)."""

    def __init__(self, settings: Settings, preload: Preload, flush: Callable[[], None]) -> None:
        self.settings = settings
        self.status = "loading"
        self._status_lock = threading.Lock()  # SIGTERM may come at the very end of loading
        self.reason = ""
        self.served = False  # whether it was ever ready
        self.inference: Inference | None = None
        self.scheduler: Scheduler | None = None
        self.loaded: Loaded | None = None
        self._preload, self._flush = preload, flush
        self._model: llama.Model | None = None
        self._pooler: Pooler | None = None
        self._started, self._load_s = time.monotonic(), 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        own_log.note(f"loads {self.settings.model_path}")
        self._thread.start()

    def drain(self, reason: str = "") -> None:
        """Take no new requests from now on; what runs goes on."""
        self.reason = self.reason or reason
        self._advance("draining")
        self._preload.cancel()

    def _advance(self, status: str) -> bool:
        """The only place that changes `status`; False when there is no way there from the present one."""
        with self._status_lock:
            possible = status in NEXT.get(self.status, ())
            if possible:
                self.status = status
        return possible

    def fail_all(self) -> None:
        """End every request still running or waiting: the grace is over."""
        if self.scheduler is not None:
            self.scheduler.fail_all(Unavailable("this replica is shutting down", retry_after_s=1.0))

    def stop(self, timeout_s: float) -> bool:
        """End the thread and free the model; False when it did not end in time (a wedged decode)."""
        self._preload.cancel()
        self._stopped.set()
        if self.scheduler is not None:
            self.scheduler.stop()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def count_error(self) -> None:
        """Count a request that failed on the way to or from the scheduler."""
        if self.scheduler is not None:
            self.scheduler.count_error()

    @property
    def busy(self) -> bool:
        figures = self.load_figures()
        return bool(figures["running"] or figures["waiting"])

    def accepting(self) -> Inference:
        """The way to submit requests. Raises Unavailable while loading, draining or failed."""
        self._require_ready()
        if self.inference is None:
            raise FailedPrecondition(
                "this model reads text and writes none: it only makes embeddings",
                field="model",
                hint="use /v1/embeddings",
            )
        return self.inference

    def pooling(self) -> Pooler:
        """The way to embed and rerank. Raises Unavailable while loading, draining or failed."""
        self._require_ready()
        assert self._pooler is not None
        return self._pooler

    def _require_ready(self) -> None:
        if self.status != "ready":
            raise Unavailable(f"this replica is {self.status}", retry_after_s=1.0)

    def _run(self) -> None:
        try:
            self._load()
        except llama.LoadCancelled:
            return  # the process ends, and the system frees: /stats may still be reading
        except (llama.LoadError, FiredeckError, MemoryError) as error:
            self._failed(str(error) or "out of memory")
            return
        except Exception as error:  # whatever else a foreign model file provokes: told, not swallowed
            self._failed(repr(error))
            return
        if self.scheduler is not None:
            self._serve(self.scheduler)
        else:
            self._stopped.wait()
        if self.status != "failed":  # else the process ends, and the system frees: /stats may still be reading
            self._free()

    def _serve(self, scheduler: Scheduler) -> None:
        try:
            scheduler.run()
        except Exception as error:  # its own last resort failed: without it no request would ever be answered
            self._failed(f"the scheduler died: {error!r}")
            scheduler.abort(Unavailable("this replica failed", retry_after_s=1.0))

    def _failed(self, reason: str) -> None:
        self.reason = " ".join(reason.split())  # told with the status, so it has to be there first
        own_log.say(self.reason)  # and in the log: whoever sees the status may kill this process at once
        self._advance("failed")

    def _load(self) -> None:
        settings, opened = self.settings, self._preload.wait()
        self._model, layout = opened.model, opened.layout
        self._pooler = Pooler(opened.model, threads=layout.threads, context=settings.context, on_gpu=layout.on_gpu)
        if opened.loaded is not None:
            self.loaded = loaded = opened.loaded
            self.scheduler = Scheduler(loaded, self._flush)
            identity = Identity(settings.deployment, settings.replica)
            self.inference = Inference(
                loaded.model, self.scheduler, loaded.context.length, identity, settings.seed, loaded.adapters
            )
        self._load_s = time.monotonic() - self._started
        if not self._advance("ready"):
            raise llama.LoadCancelled("a drain came while the model was loading")
        self.served = True
        own_log.note(f"ready after {self._load_s:.1f} s")
        llama.tell_log(LlamaLog().take)  # while it loads, what is wrong is told as the reason

    def _free(self) -> None:
        if self._pooler is not None:
            self._pooler.close()
        if self.loaded is not None:
            loading.free(self.loaded)
        if self._model is not None:
            self._model.close()

    # What the HTTP face reads

    @property
    def progress(self) -> float:
        """How much of the model is loaded, below 1 until requests are served."""
        return 1.0 if self.served else round(min(self._preload.progress.fraction, 0.99), 2)

    @property
    def adapters(self) -> Adapters | None:
        """The registry of LoRA adapters; None while loading, and for a model that writes no text."""
        return self.loaded.adapters if self.loaded is not None else None

    def load_figures(self) -> dict[str, Any]:
        """Running, waiting and the age of the last progress, be it in loading; zeros while there is nothing to do."""
        figures = stats.load_figures(self.scheduler, self._pooler)
        if self.status == "loading":
            figures["last_progress_age_s"] = round(self._preload.progress.age_s(), 3)
        return figures

    def stats(self) -> dict[str, Any]:
        if self.status != "ready" and self.scheduler is None:
            raise Unavailable(f"this replica is {self.status}", retry_after_s=1.0)
        figures = {**self.load_figures(), "load_s": round(self._load_s, 3)}
        if self.loaded is None or self.scheduler is None:
            return {"slots": 0, **figures}
        figures |= stats.figures(self.loaded, self.scheduler)
        figures["model"]["chat_template"] = self.inference is not None and self.inference.has_chat_template
        return figures
