"""The thread that owns the model: load, measure, serve, free. The rest of the process only reads its state.

loading --> ready --> draining --> (stopped)
   │          └─────> failed       (its scheduler died)
   ├──> draining
   └──> failed                     (the model cannot be served)
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.errors import FiredeckError, Unavailable
from engine.replica import cost_memory, costs, llama
from engine.replica.call import Identity
from engine.replica.openai import Inference
from engine.replica.scheduler import Scheduler

NEXT = {"loading": ("ready", "draining", "failed"), "ready": ("draining", "failed")}  # the others are final
BATCH_TOKENS = 512
SCORED_ROWS = 32  # prompt rows scored at once for echo with logprobs


@dataclass(frozen=True, slots=True)
class Settings:
    """One replica's configuration. `gpu_layers` None: all when this build can offload, else none."""

    deployment: str
    replica: str
    model_path: str
    slots: int = 8
    context: int = 2048
    threads: int = 1
    gpu_layers: int | None = None
    seed: int | None = None  # of requests that name none; None: random
    costs_file: str | None = None  # where measured costs are remembered


class Runtime:
    """`status` is "loading", "ready", "failed" or "draining"; `reason` says why it failed (one line)."""

    def __init__(self, settings: Settings, flush: Callable[[], None]) -> None:
        self.settings = settings
        self.status = "loading"
        self._status_lock = threading.Lock()  # SIGTERM may come at the very end of loading
        self.reason = ""
        self.progress = 0.0
        self.inference: Inference | None = None
        self.scheduler: Scheduler | None = None
        self._model: llama.Model | None = None
        self._context: llama.Context | None = None
        self._costs: costs.CostTable | None = None
        self._gpu_layers = 0
        self._flush = flush
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def drain(self) -> None:
        """Take no new requests from now on; what runs goes on."""
        self._advance("draining")
        self._stopping.set()

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
        self._stopping.set()
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
        return self.scheduler is not None and bool(self.scheduler.running or self.scheduler.waiting)

    def accepting(self) -> Inference:
        """The way to submit requests. Raises Unavailable while loading, draining or failed."""
        if self.status == "ready" and self.inference is not None:
            return self.inference
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
        assert self.scheduler is not None
        self._serve(self.scheduler)
        self._free()

    def _serve(self, scheduler: Scheduler) -> None:
        try:
            scheduler.run()
        except Exception as error:  # its own last resort failed: without it no request would ever be answered
            self._failed(f"the scheduler died: {error!r}")
            scheduler.abort(Unavailable("this replica failed", retry_after_s=1.0))

    def _failed(self, reason: str) -> None:
        self.reason = " ".join(reason.split())  # told with the status, so it has to be there first
        self._advance("failed")

    def _load(self) -> None:
        settings = self.settings
        llama.start_backend()
        offload = settings.gpu_layers if settings.gpu_layers is not None else -1
        self._gpu_layers = offload if llama.gpu_available() else 0
        model = llama.Model(settings.model_path, gpu_layers=self._gpu_layers, progress=self._on_progress)
        context = llama.Context(
            model,
            slots=settings.slots,
            # Past the trained length a model writes garbage.
            context=min(settings.context, model.context_trained),
            threads=settings.threads,
            batch=BATCH_TOKENS,
            scored_rows=SCORED_ROWS,
        )
        self._model, self._context = model, context
        self._costs = self._step_costs(model, context)
        self.scheduler = Scheduler(model, context, self._costs, self._flush)
        identity = Identity(settings.deployment, settings.replica)
        self.inference = Inference(model, self.scheduler, context.length, identity, settings.seed)
        self.progress = 1.0
        if not self._advance("ready"):
            raise llama.LoadCancelled("a drain came while the model was loading")

    def _step_costs(self, model: llama.Model, context: llama.Context) -> costs.CostTable:
        settings = self.settings
        key = cost_memory.fingerprint(
            Path(settings.model_path), slots=settings.slots, context=context.length, threads=settings.threads,
            gpu_layers=self._gpu_layers,
        )  # fmt: skip
        file = Path(settings.costs_file) if settings.costs_file else None
        return cost_memory.recall_or_measure(file, key, lambda: costs.measure(context, max(model.vocabulary.bos, 0)))

    def _on_progress(self, fraction: float) -> bool:
        self.progress = round(min(fraction, 0.99), 2)  # 1.0 is said when requests are served
        return not self._stopping.is_set()

    def _free(self) -> None:
        if self._context is not None and self._model is not None:
            self._context.close()
            self._model.close()

    # What /health and /stats report

    def load_figures(self) -> dict[str, Any]:
        """Running, waiting and the age of the last progress; zeros while there is no scheduler."""
        scheduler = self.scheduler
        return {
            "running": scheduler.running if scheduler else 0,
            "waiting": scheduler.waiting if scheduler else 0,
            "last_progress_age_s": round(scheduler.last_progress_age_s, 3) if scheduler else 0.0,
        }

    def stats(self) -> dict[str, Any]:
        scheduler, model, context = self.scheduler, self._model, self._context
        if scheduler is None or model is None or context is None or self._costs is None:
            raise Unavailable(f"this replica is {self.status}", retry_after_s=1.0)
        return {
            "slots": context.slots,
            **self.load_figures(),
            "kv_used_tokens": scheduler.kv_used_tokens,
            "kv_capacity_tokens": context.slots * context.length,
            "counters": scheduler.totals(),
            "model": self._model_facts(model, context),
            "device": {
                "kind": "gpu" if self._gpu_layers else "cpu",
                "gpu_layers": model.layers + 1 if self._gpu_layers < 0 else self._gpu_layers,
                "threads": self.settings.threads,
            },
            "step_cost_ms": {str(width): round(ms, 3) for width, ms in self._costs.step_ms.items()},
            "prefill_token_ms": round(self._costs.prefill_token_ms, 3),
        }

    def _model_facts(self, model: llama.Model, context: llama.Context) -> dict[str, Any]:
        return {
            "description": model.description,
            "parameters": model.parameters,
            "context_trained": model.context_trained,
            "context": context.length,
            "chat_template": self.inference is not None and self.inference.has_chat_template,
            "architecture": model.meta("general.architecture"),
            "vocabulary": model.vocabulary.size,
        }
