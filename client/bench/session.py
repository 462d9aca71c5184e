"""A bench session: settings measured one after the other against one endpoint, with prompts that never repeat."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from client.bench.figures import Figures, Objective, figures, span_of
from client.bench.load import DEFAULT_TIMEOUT_S, Limit, Run
from client.bench.prompts import Workload
from client.bench.wire import Endpoint, Wire


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the report: so many clients in a closed loop, or so many requests a second in an open one."""

    concurrency: int | None = None
    rate: float | None = None

    @property
    def label(self) -> str:
        if self.rate is not None:
            return f"{self.rate:.3g} req/s"
        return "1 client" if self.concurrency == 1 else f"{self.concurrency} clients"


@dataclass(frozen=True, slots=True)
class Measured:
    """A setting with its figures; `whole` is False when the run was interrupted."""

    setting: Setting
    figures: Figures
    whole: bool = True


@dataclass
class Session:
    """Measures settings. `stop` may be set at any time: what was seen until then is still reported."""

    endpoint: Endpoint
    workload: Workload
    limit: Limit
    objective: Objective = field(default_factory=Objective)
    warmup: int = 2
    timeout_s: float = DEFAULT_TIMEOUT_S
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    measured: list[Measured] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def plan(self, setting: Setting) -> str:
        """What measuring this setting will take: warm-up, then the limit, then what is still running."""
        limit, parts = self.limit, list[str]()
        if limit.requests is not None:
            # An open loop sends them at a known pace, a closed one as fast as they are answered.
            pace = f" in about {limit.requests / setting.rate:.3g} s" if setting.rate is not None else ""
            parts.append(f"{limit.requests} request{'s' * (limit.requests != 1)}{pace}")
        if limit.seconds is not None:
            parts.append(f"{limit.seconds:.3g} s" if not parts else f"at most {limit.seconds:.3g} s")
        warmup = f"{self.warmup} warm-up request{'s' * (self.warmup != 1)}, then " if self.warmup else ""
        return f"{setting.label}: {warmup}{', '.join(parts)}, and until the last answer ends"

    async def measure(self, setting: Setting) -> Measured:
        """Warm up, run one setting, remember and return its figures; those of the warm-up where all of it failed, so
        that a wrong name is not asked for ten thousand times."""
        wire = Wire(self.endpoint)
        try:
            run, whole = self._run(wire, Limit(requests=self.warmup)), True
            if self.warmup:
                whole = await self._until_stopped(run.closed(min(self.warmup, setting.concurrency or 1)))
            if not run.samples or not all(sample.error for sample in run.samples):
                run = self._run(wire, self.limit)
                whole = await self._until_stopped(self._loop(run, setting))
        finally:
            wire.close()
        self.measured.append(Measured(setting, figures(run.samples, span_of(run.samples), self.objective), whole))
        return self.measured[-1]

    def _run(self, wire: Wire, limit: Limit) -> Run:
        return Run(wire, self.workload.path, self._body, limit, self.timeout_s)

    def _body(self, _: int) -> Mapping[str, Any]:
        """Numbered across settings: a prompt of an earlier one would be in the server's prefix cache."""
        return self.workload.body(next(self._numbers))

    def _loop(self, run: Run, setting: Setting) -> Coroutine[Any, Any, None]:
        if setting.rate is not None:
            return run.open(setting.rate, self.workload.seed)
        return run.closed(setting.concurrency or 1)

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do the work; when `stop` is set before it ends, leave it at that. Whether it ended by itself."""
        task, stopped = asyncio.create_task(work), asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
            return task.done()
        finally:
            for one in (task, stopped):
                one.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)
