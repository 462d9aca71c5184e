"""Makes models in other precisions, one after the other, each in a child process that gives way to replicas.

What is asked for is written down first: an engine that ended meanwhile, however it did, goes on with it when it is
started again, and whoever asks a second time finds it under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from client.errors import FiredeckError, Internal, ResourceExhausted
from client.types import Model, PrecisionReport, PreparedPrecision, Status
from engine.clock import Clock
from engine.precision import ANALOGUES, FAILED, PREPARING, READY, to_prepare
from engine.preparing import errand
from engine.preparing.errand import Limits
from engine.preparing.records import Record, Records

JOB = "engine.preparing.job"
SPARE_BYTES = 1 << 30  # left free on the disk
ATTEMPTS_MAX = 3  # of one that the engine itself ended in
BYTES_EACH = {
    "F16": 2.0,
    "BF16": 2.0,
    "Q8_0": 34 / 32,
    "Q4_0": 18 / 32,
    "IQ4_NL": 18 / 32,
    "MXFP4_MOE": 34 / 32,
}  # of a parameter
MARGIN = 1.3  # embeddings and output keep more bits in some types; header and vocabulary come besides
MEMORY_SLACK_BYTES = 4 << 30
CPU_S_BASE, CPU_S_PER_GIB = 900, 1200  # a hundred times what it takes, of IQ4_NL ten

Bring = Callable[[str], Awaitable[Path]]  # the file of a model, fetched first where it is not here


class Preparations:
    """Of one engine. `get` and `bring` are the library's; `threads` of the CPU are used for each; `gpu_layers` tells
    whether a model of so many bytes is measured on a GPU (-1) or not (0)."""

    def __init__(
        self, records: Records, get: Callable[[str], Model], bring: Bring, clock: Clock, *, threads: int,
        gpu_layers: Callable[[int], int] = lambda size: 0,
    ) -> None:  # fmt: skip
        self._records, self._get, self._bring, self._clock = records, get, bring, clock
        self._threads, self._gpu_layers = threads, gpu_layers
        self._tasks: defaultdict[str, set[asyncio.Task[None]]] = defaultdict(set)  # by model
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Go on with what an earlier engine was asked for."""
        for model, record in self._records.pending():
            if record.attempts < ATTEMPTS_MAX:
                await self._begin(model, [record])
                continue
            why = Internal(f"the engine ended {record.attempts} times while it was made", hint="ask for it again")
            await self._put(model, self._failed(record, why))

    async def close(self) -> None:
        """Break off what is being made; the next engine goes on with it."""
        await _ended([task for tasks in self._tasks.values() for task in tasks])

    async def ask(self, model: Model, precision: Any) -> None:
        """Make it in this precision, unless it is there or being made. Errors say why it cannot be."""
        wanted = to_prepare(model, precision)
        known = {one: self._records.get(model.name, one) for one in wanted}
        fresh = [one for one, record in known.items() if not record or not self._under_way(model, record)]
        self._check_room(model, fresh)
        now = self._clock.wall()
        blank = {"state": PREPARING, "create_time": now, "update_time": now}
        shown = [PreparedPrecision(precision=one, quantization=ANALOGUES[one], **blank) for one in fresh]
        await self._begin(model.name, [Record(shown=one, source_digest=_digest(model)) for one in shown])

    async def forget(self, name: str) -> None:
        """Remove all that was, or is being, prepared of a model."""
        await _ended(list(self._tasks.pop(name, ())))
        self._records.drop(name)
        await asyncio.to_thread(self._records.forget, name)

    def _under_way(self, model: Model, record: Record) -> bool:
        return record.source_digest == _digest(model) and record.shown.state == PREPARING

    def _check_room(self, model: Model, precisions: list[str]) -> None:
        wanted = sum(_file_bytes(model, ANALOGUES[one]) for one in precisions)
        if not wanted:
            return
        folder = self._records.path(model.name, "").parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if wanted + SPARE_BYTES > free:
            raise ResourceExhausted(
                f"{model.name} in {', '.join(precisions)} may take {wanted} bytes: {free} are free and {SPARE_BYTES} "
                "stay so", field="precision", hint="make room on the engine's disk, or prepare fewer precisions",
            )  # fmt: skip

    async def _begin(self, name: str, records: list[Record]) -> None:
        """Written down, so that it is made even if this engine ends; ResourceExhausted where the disk is full."""
        begun = [one.model_copy(update={"attempts": one.attempts + 1}) for one in records]
        for record in begun:  # in memory all at once: who asks meanwhile finds them under way
            self._records.keep(name, record)
        try:
            for record in begun:
                await asyncio.to_thread(self._records.write, name, record)
        except OSError as error:
            full = ResourceExhausted(f"it cannot be written down: {error.strerror}", field="precision")
            for record in begun:
                self._records.keep(name, self._failed(record, full))
            raise full from None
        for record in begun:
            task = asyncio.create_task(self._make(name, record), name=f"prepare {name} in {record.shown.precision}")
            self._tasks[name].add(task)
            task.add_done_callback(self._tasks[name].discard)

    async def _make(self, name: str, record: Record) -> None:
        async with self._turn:
            try:
                self._stage(name, record, "its own file is fetched")
                source = await self._bring(name)
                # Of a library's model the digest may not be known before its file is here.
                record = record.model_copy(update={"source_digest": _digest(self._get(name))})
                self._records.keep(name, record)
                done = await self._made(name, record, source)
            except FiredeckError as error:
                done = self._failed(record, error)
            except (OSError, ValueError) as error:
                done = self._failed(record, Internal(str(error)))
            if done.shown.state == FAILED:  # it may have been made, and not measured
                await asyncio.to_thread(self._records.path(name, done.shown.precision).unlink, missing_ok=True)
            await self._put(name, done)

    async def _put(self, name: str, record: Record) -> None:
        self._records.keep(name, record)
        with contextlib.suppress(OSError):  # a full disk: an engine that is started later makes it again
            await asyncio.to_thread(self._records.write, name, record)

    async def _made(self, name: str, record: Record, source: Path) -> Record:
        """The record of a file that is there and measured."""
        model = self._get(name)
        target = self._records.path(name, record.shown.precision)
        size = (await asyncio.to_thread(source.stat)).st_size
        layers = self._gpu_layers(size)
        limits = Limits(
            file_bytes=_file_bytes(model, record.shown.quantization),
            memory_bytes=0 if layers else 3 * size + MEMORY_SLACK_BYTES,
            cpu_s=CPU_S_BASE + (CPU_S_PER_GIB * size >> 30),
        )
        task = {
            "source": str(source), "target": str(target), "quantization": record.shown.quantization,
            "threads": self._threads, "gpu_layers": layers,
        }  # fmt: skip
        told = await errand.run(JOB, target, limits, task, lambda stage: self._stage(name, record, stage))
        report = PrecisionReport.model_validate(told)
        shown = record.shown.model_copy(
            update={"state": READY, "update_time": self._clock.wall(), "report": report, "stage": None}
        )
        return record.model_copy(update={"shown": shown, "size_bytes": target.stat().st_size})

    def _stage(self, name: str, record: Record, stage: str) -> None:
        shown = record.shown.model_copy(update={"stage": stage, "update_time": self._clock.wall()})
        self._records.keep(name, record.model_copy(update={"shown": shown}))

    def _failed(self, record: Record, error: FiredeckError) -> Record:
        status = Status(code=error.name, message=error.text)
        now = self._clock.wall()
        shown = record.shown.model_copy(update={"state": FAILED, "status": status, "update_time": now, "stage": None})
        return record.model_copy(update={"shown": shown})


def _digest(model: Model) -> str:
    return (model.firedeck.digest if model.firedeck else None) or ""


def _file_bytes(model: Model, quantization: str) -> int:
    """At most so many bytes has the model in this type."""
    details = model.base_model_details
    parameters = int(details.parameter_count) if details and details.parameter_count else 0
    own = (model.firedeck.size_bytes if model.firedeck else None) or 0
    return int(MARGIN * (parameters * BYTES_EACH[quantization] or 4 * own)) + (64 << 20)


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
