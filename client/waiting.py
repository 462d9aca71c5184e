"""Waiting for what was asked for: `Client.wait.ready("chat")` returns when it has come about.

    data   Tell, Look  who is told each new stage; one look at how far it is
    verbs  until       look again and again until that is all, or patience ends
           Waits       ready, scaled, settled, deleted: deployments; prepared: models;
                       loaded, unloaded: adapters; shifted: routers
    near   `client.stages` has the words, the command line's `--wait` tells them on standard error

Each looks once at least, raises WaitedTooLong when `patience` ends before, and gives nothing up by that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from client import durations, stages
from client.addon_types import DeployedModel
from client.conditions import ROLLOUT_STOPPED
from client.enums import AUTO, AUTO_PRECISIONS
from client.errors import FailedPrecondition, NotFound, Unavailable, WaitedTooLong
from client.fleet_types import DeploymentStatus
from client.router_types import ABORTED, COMPLETED, ROLLED_BACK, Router
from client.types import DELETED, FAILED, READY, Deployment, Model

if TYPE_CHECKING:
    from client.resources import Client

POLL_S = 0.5
SETTLING_S = 2.0  # after a change, within which a look may still find the state before it
PATIENCE, ADAPTER_PATIENCE = timedelta(hours=1), timedelta(minutes=30)
Look = Callable[[], Awaitable[tuple[str, bool]]]  # how far it is, and whether that is all
Tell = Callable[[str], object]


def untold(stage: str) -> None:
    """For who wants no stage told."""


async def until(look: Look, patience: timedelta, unmet: str, hint: str, tell: Tell = untold) -> None:
    """Look, once at least, until that is all, telling each new stage.

    WaitedTooLong, with `unmet`, the last stage and `hint`, when `patience` ends before.
    """
    told, end = "", time.monotonic() + patience.total_seconds()
    while True:
        stage, done = await look()
        if stage != told:
            tell(stage)
        told = stage
        if done:
            return
        if time.monotonic() >= end:
            raise WaitedTooLong(
                f"{unmet} within {durations.to_go(patience)}: {stage}", hint=f"it is not given up; {hint}"
            )
        await asyncio.sleep(POLL_S)


class Waits:
    """What each returns is as it was found at the end."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ready(self, deployment: str, patience: timedelta = PATIENCE, tell: Tell = untold) -> Deployment:
        """READY after it was created. Unavailable when it has FAILED, NotFound when it was deleted meanwhile."""
        changed = _Changed(self._client, deployment)

        async def look() -> tuple[str, bool]:
            status = await changed.look()
            return stages.progress(status), status.deployment.state == READY

        await until(look, patience, f"{deployment} was not READY", _see_events(deployment), tell)
        return changed.found

    async def scaled(
        self, deployment: str, count: int, patience: timedelta = PATIENCE, tell: Tell = untold
    ) -> Deployment:
        """There are just `count` replicas, all of them ready. Raises as `ready` does, and FailedPrecondition when
        another number is wanted meanwhile."""
        changed = _Changed(self._client, deployment)

        async def look() -> tuple[str, bool]:
            status = await changed.look()
            now, wanted = status.deployment, status.deployment.desired_replica_count or 0
            done = stages.counts(now)[0] == (now.replica_count or 0) == count
            if wanted != count and changed.settled and not done:
                why = "; ".join(reason.text for reason in status.autoscaler.reasons) if status.autoscaler else ""
                raise FailedPrecondition(
                    f"{deployment}: the number of replicas wanted is {wanted} meanwhile, not {count}"
                    + (f": {why}" if why else ""),
                    hint=_see_events(deployment),
                )
            return stages.progress(status), done

        unmet = f"{deployment} had not {count} ready replicas"
        await until(look, patience, unmet, _see_events(deployment), tell)
        return changed.found

    async def settled(self, deployment: str, patience: timedelta = PATIENCE, tell: Tell = untold) -> Deployment:
        """The last change has come about: it is READY, with as many replicas as wanted. Raises as `ready` does, and
        Unavailable when its roll-out was stopped."""
        found = Deployment()

        async def look() -> tuple[str, bool]:
            nonlocal found
            status = await self._client.fleet.status(deployment)
            found = status.deployment
            if not status.seen_as_declared:  # what is shown is that of the settings before
                return "the engine takes over the change", False
            _check_living(status, deployment)
            stopped = next((one.message for one in status.conditions if one.type == ROLLOUT_STOPPED), None)
            if stopped is not None:
                raise Unavailable(f"the roll-out of {deployment} was stopped: {stopped}", hint=_see_events(deployment))
            ready = stages.counts(found)[0]
            done = found.state == READY and ready == (found.replica_count or 0) == (found.desired_replica_count or 0)
            return stages.progress(status), done

        await until(look, patience, f"{deployment} was not as declared", _see_events(deployment), tell)
        return found

    async def deleted(self, deployment: str, patience: timedelta = PATIENCE, tell: Tell = untold) -> None:
        """All replicas have ended; a hard delete's deployment is gone."""

        async def look() -> tuple[str, bool]:
            try:
                now = await self._client.deployments.get(deployment)
            except NotFound:
                return "gone", True
            if now.delete_time is None:
                raise FailedPrecondition(f"{deployment} was brought back meanwhile", hint=_see_events(deployment))
            count = now.replica_count or 0
            left = f"{stages.known(now.state)}: {count} replica{'' if count == 1 else 's'} left"
            return left, now.state == DELETED

        hint = "its replicas go on ending: see firedeck list deployments --show-deleted"
        await until(look, patience, f"{deployment} was not DELETED", hint, tell)

    async def loaded(
        self, name: str, deployment: str, patience: timedelta = ADAPTER_PATIENCE, tell: Tell = untold
    ) -> DeployedModel:
        """Every replica has the adapter; Unavailable when that FAILED, NotFound when it was unloaded meanwhile. What
        `deployment` has failed of ends the wait too."""
        changed, found = _Changed(self._client, deployment), DeployedModel()

        async def look() -> tuple[str, bool]:
            nonlocal found
            await changed.look()
            found = await self._client.deployed_models.get(name)
            if found.state == FAILED:
                raise Unavailable(
                    f"{name} failed: {found.status.message if found.status else ''}",
                    hint=f"take it off with firedeck unload-lora {found.model} --deployment {stages.short(deployment)}",
                )
            return stages.known(found.state), found.state == "DEPLOYED"

        hint = f"look again with firedeck deployed-model get {stages.short(name)}"
        await until(look, patience, f"{name} was not DEPLOYED", hint, tell)
        return found

    async def unloaded(self, name: str, patience: timedelta = ADAPTER_PATIENCE, tell: Tell = untold) -> None:
        """The deployed model is gone, and with it the adapter from every replica."""

        async def look() -> tuple[str, bool]:
            try:
                return stages.known((await self._client.deployed_models.get(name)).state), False
            except NotFound:
                return "gone", True

        hint = f"it is gone when firedeck deployed-model get {stages.short(name)} finds nothing"
        await until(look, patience, f"{name} was not unloaded", hint, tell)

    async def prepared(
        self, model: str, precision: str | None = None, patience: timedelta = PATIENCE, tell: Tell = untold
    ) -> Model:
        """The model is there in this precision, in all that AUTO stands for, or unless one is named in all that were
        ever asked for. Unavailable when one FAILED."""
        found = Model()
        wanted = AUTO_PRECISIONS if precision == AUTO else (precision,)

        async def look() -> tuple[str, bool]:
            nonlocal found
            found = await self._client.models.get(model)
            asked = (found.firedeck.prepared if found.firedeck else None) or []
            mine = [one for one in asked if precision is None or one.precision in wanted]
            if failed := next((one for one in mine if one.state == FAILED), None):
                why = failed.status.message if failed.status else ""
                raise Unavailable(f"{found.name} was not prepared in {failed.precision}: {why}", hint="ask again")
            at_work = [one for one in mine if one.state != READY]
            return ", ".join(f"{one.precision}: {one.stage or one.state}" for one in at_work) or READY, not at_work

        hint = f"see firedeck model get {model}"
        await until(look, patience, f"{model} was not prepared", hint, tell)
        return found

    async def shifted(self, begun: Router, patience: timedelta = PATIENCE, tell: Tell = untold) -> Router:
        """The router with its shift COMPLETED; Unavailable when that was rolled back or aborted, FailedPrecondition
        when another was begun meanwhile."""
        mine, found = begun.shift.start_time if begun.shift else None, begun
        hint = f"see firedeck router get {begun.id}"

        async def look() -> tuple[str, bool]:
            nonlocal found
            found = await self._client.routers.get(begun.name)
            if found.shift is None or found.shift.start_time != mine:
                raise FailedPrecondition(f"another shift of {begun.id} was begun meanwhile", hint=hint)
            stage = stages.shift_stage(found.shift)
            if found.shift.state in (ROLLED_BACK, ABORTED):
                raise Unavailable(f"{stage}: {found.shift.reason}", hint=hint)
            return stage, found.shift.state == COMPLETED

        await until(look, patience, f"the shift of {begun.id} was not COMPLETED", hint, tell)
        return found


class _Changed:
    """A deployment that was changed just now, as it is at each look.

    The first looks may find what was there before: a FAILED counts once another state was seen, or after `SETTLING_S`.
    """

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name
        self._since = time.monotonic()
        self._moved = False
        self.settled = False  # what the last look found is no longer from before the change
        self.found = Deployment()

    async def look(self) -> DeploymentStatus:
        """Raises as `_check_living` does."""
        self.settled = time.monotonic() - self._since >= SETTLING_S  # when asked: the answer may be late, and old
        status = await self._client.fleet.status(self._name)
        self.found = status.deployment
        self._moved = self._moved or status.deployment.state != FAILED
        if self._moved or self.settled:
            _check_living(status, self._name)
        return status


def _check_living(status: DeploymentStatus, name: str) -> None:
    """Unavailable when it has FAILED, NotFound when it was deleted meanwhile."""
    now = status.deployment
    if now.state == FAILED:
        raise Unavailable(f"{name} failed: {now.status.message if now.status else ''}", hint=_see_events(name))
    if now.delete_time is not None:
        again = f"bring it back with firedeck undelete deployment {stages.short(name)}"
        raise NotFound(f"{name} was deleted meanwhile", hint=again)


def _see_events(name: str) -> str:
    return f"see firedeck event list --deployment {stages.short(name)}"
