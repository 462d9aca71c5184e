"""The adapters of one deployment's replicas: loaded before a replica takes requests, and kept as declared after that.

Talks to each replica's own `/adapters` (see engine.replica.adapter_routes). Level-triggered: what a replica holds is
compared with what is wanted, again and again; which steps that takes is decided by `engine.control.addons`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from client.errors import FiredeckError, Unavailable, from_response
from engine.control import addons
from engine.control.addons import Do, Held, Step
from engine.control.reconcile import Stage
from engine.fleet.replica import Replica

log = logging.getLogger(__name__)

LOAD_TIMEOUT_S = 300.0  # a replica reads the whole file, maybe from a slow disk
CHANGED = "its file has changed since the model was made: make the model again"


@dataclass(frozen=True, slots=True)
class Addon:
    """An adapter's file and the digest of what it held when its model was made."""

    file: Path
    digest: str


class Addons:
    """What is wanted by model name, and what each replica holds.

    `tell(kind, reason, message, replica)` writes an event; `look_soon()` lets the keeper look again.
    """

    def __init__(self, tell: Callable[..., Awaitable[None]], look_soon: Callable[[], None]) -> None:
        self.wanted: dict[str, Addon] = {}
        self._held: dict[str, dict[str, Held]] = {}  # by replica
        self._tasks: dict[str, asyncio.Task[None]] = {}  # by replica
        self._tell, self._look_soon = tell, look_soon

    async def bring(self, replica: Replica) -> None:
        """Before a replica is ready: let it hold just what is wanted. What it refuses keeps it from nothing else, and
        what it did not answer is asked again by `sync`."""
        self._held.pop(replica.id, None)
        if not self.wanted and not replica.taken_over:
            return
        self._held[replica.id] = {}
        try:
            listed = await _ask(replica, "GET", "/adapters")
            self._held[replica.id] = {one["name"]: Held(one["digest"]) for one in listed["adapters"]}
            while todo := self._steps(replica):
                for step in todo:
                    await self._do(replica, step)
        except FiredeckError as error:
            log.warning("%s: adapters not in order yet: %s", replica.id, error.text)

    def sync(self, replicas: Iterable[Replica]) -> None:
        """Start what brings the replicas that take requests to what is wanted, and those that drain, which may be kept
        after all; never waits."""
        if not (self.wanted or self._held):
            return
        living = {r.id: r for r in replicas}
        for gone in self._held.keys() - living.keys():
            del self._held[gone]
            self._tasks.pop(gone, None)
        for replica in living.values():
            busy = replica.id in self._tasks and not self._tasks[replica.id].done()
            if replica.stage in (Stage.READY, Stage.DRAINING) and not busy and self._steps(replica):
                self._tasks[replica.id] = asyncio.create_task(self._catch_up(replica))

    def state(self, name: str, replicas: Iterable[Replica], *, settled: bool) -> tuple[str, str]:
        """How far an adapter is, as `control.addons.state` has it."""
        ready = [self._held.get(r.id, {}) for r in replicas if r.stage == Stage.READY]
        return addons.state(name, self.wanted[name].digest, ready, settled=settled)

    def refused_by_all(self, name: str, replicas: Iterable[Replica]) -> str:
        """Why no replica that takes requests could load it, "" where one could or has not tried."""
        ready = [self._held.get(r.id, {}) for r in replicas if r.stage == Stage.READY]
        return addons.refused_by_all(name, self.wanted[name].digest, ready)

    def holds(self, name: str, replicas: Iterable[Replica]) -> bool:
        """Whether any replica that takes requests still has it."""
        held = (self._held.get(r.id, {}).get(name) for r in replicas if r.stage == Stage.READY)
        return any(one is not None and not one.refusal for one in held)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _steps(self, replica: Replica) -> list[Step]:
        wanted = {name: addon.digest for name, addon in self.wanted.items()}
        return addons.steps(wanted, self._held.get(replica.id, {}))

    async def _catch_up(self, replica: Replica) -> None:
        """All steps of one replica; what failed on the way there is tried again at the next look."""
        try:
            for step in self._steps(replica):
                await self._do(replica, step)
        except FiredeckError as error:
            log.warning("%s: adapters not in order yet: %s", replica.id, error.text)
        finally:
            self._look_soon()

    async def _do(self, replica: Replica, step: Step) -> None:
        held = self._held.setdefault(replica.id, {})
        if step.do is Do.UNLOAD:
            await _unload(replica, step.name)
            held.pop(step.name, None)
            return
        addon = self.wanted.get(step.name)
        if addon is None:
            return  # it was withdrawn while an earlier step was being done
        try:
            loaded = await _ask(replica, "PUT", _path(step.name), {"path": str(addon.file)})
        except Unavailable:
            raise
        except FiredeckError as error:
            await self._refused(replica, held, step.name, addon, error.text)
            return
        if loaded["digest"] != addon.digest:
            await _unload(replica, step.name)
            await self._refused(replica, held, step.name, addon, CHANGED)
            return
        held[step.name] = Held(addon.digest)
        await self._tell("Normal", "AddonLoaded", f"{step.name}, rank {loaded['rank']}", replica.id)

    async def _refused(self, replica: Replica, held: dict[str, Held], name: str, addon: Addon, why: str) -> None:
        held[name] = Held(addon.digest, why)
        await self._tell("Warning", "AddonFailed", f"{name}: {why}", replica.id)


def _path(name: str) -> str:
    return f"/adapters/{quote(name)}"


async def _unload(replica: Replica, name: str) -> None:
    try:
        await _ask(replica, "DELETE", _path(name))
    except FiredeckError as error:
        if error.status != 404:  # gone is what was wanted
            raise


async def _ask(replica: Replica, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The replica's answer. Raises the error that it answers, Unavailable when it does not."""
    if replica.http is None:
        raise Unavailable(f"replica {replica.id} has not been started")
    try:
        response = await replica.http.request(method, path, json=body, timeout=LOAD_TIMEOUT_S)
        answer = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise Unavailable(f"replica {replica.id} did not answer: {error or type(error).__name__}") from error
    if response.status_code >= 400 or not isinstance(answer, dict):
        raise from_response(response.status_code, answer)
    return answer
