"""firectl's `--wait` and `--wait-timeout`: a command that returns when what it asked for has come about."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import click

from client import durations
from client.cli import deployment_text, router_text
from client.cli.durations import DURATION
from client.cli.output import known
from client.errors import DeadlineExceeded, FailedPrecondition, NotFound, Unavailable
from client.fleet_types import ROLLOUT_STOPPED, DeploymentStatus
from client.resources import Client
from client.router_types import ABORTED, COMPLETED, ROLLED_BACK, Router
from client.types import DELETED, FAILED, READY

POLL_S = 0.5
SETTLING_S = 2.0  # after a change, within which a look may still find the state before it
Command = Callable[..., None]
Look = Callable[[], Awaitable[tuple[str, bool]]]  # how far it is, and whether that is all


def wait_options(event: str, default: str = "1h") -> Callable[[Command], Command]:
    """The command gets them as one argument, `patience`: for how long to wait, None for not at all."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def gathered(*, wait: bool, wait_timeout: timedelta, **rest: Any) -> None:
            command(patience=wait_timeout if wait else None, **rest)

        limit = click.option("--wait-timeout", default=default, show_default=True, type=DURATION)
        wrapped: Command = click.option("--wait", is_flag=True, help=f"Return {event}.")(limit(gathered))
        return wrapped

    return decorate


async def until(look: Look, patience: timedelta, unmet: str, hint: str, *, quiet: bool = False) -> None:
    """Look, once at least, until that is all, telling each new stage on standard error unless `quiet`.

    DeadlineExceeded, with `unmet`, the last stage and `hint`, when `patience` ends before.
    """
    told, end = "", time.monotonic() + patience.total_seconds()
    while True:
        stage, done = await look()
        if stage != told and not quiet:
            click.echo(stage, err=True)
        told = stage
        if done:
            return
        if time.monotonic() >= end:
            raise DeadlineExceeded(
                f"{unmet} within {durations.to_go(patience)}: {stage}", hint=f"it is not given up; {hint}"
            )
        await asyncio.sleep(POLL_S)


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

    async def look(self) -> DeploymentStatus:
        """Raises as `_check_living` does."""
        self.settled = time.monotonic() - self._since >= SETTLING_S  # when asked: the answer may be late, and old
        status = await self._client.fleet.status(self._name)
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
        raise NotFound(
            f"{name} was deleted meanwhile", hint=f"bring it back with firedeck undelete deployment {_id(name)}"
        )


async def until_ready(client: Client, name: str, patience: timedelta, *, quiet: bool = False) -> None:
    """Unavailable when the deployment has FAILED, NotFound when it was deleted meanwhile."""
    changed = _Changed(client, name)

    async def look() -> tuple[str, bool]:
        status = await changed.look()
        return deployment_text.progress(status), status.deployment.state == READY

    await until(look, patience, f"{name} was not READY", _see_events(name), quiet=quiet)


async def until_scaled(client: Client, name: str, count: int, patience: timedelta, *, quiet: bool = False) -> None:
    """There are just `count` replicas, all of them ready. Raises as `until_ready` does, and FailedPrecondition when
    another number is wanted meanwhile."""
    changed = _Changed(client, name)

    async def look() -> tuple[str, bool]:
        status = await changed.look()
        now, stats = status.deployment, status.deployment.replica_stats
        ready, wanted = stats.ready_replica_count if stats else 0, now.desired_replica_count or 0
        done = ready == (now.replica_count or 0) == count
        if wanted != count and changed.settled and not done:
            why = "; ".join(reason.text for reason in status.autoscaler.reasons) if status.autoscaler else ""
            raise FailedPrecondition(
                f"{name}: the number of replicas wanted is {wanted} meanwhile, not {count}"
                + (f": {why}" if why else ""),
                hint=_see_events(name),
            )
        return deployment_text.progress(status), done

    await until(look, patience, f"{name} had not {count} ready replicas", _see_events(name), quiet=quiet)


async def until_settled(client: Client, name: str, patience: timedelta, *, quiet: bool = False) -> None:
    """The last change has come about: it is READY, with as many replicas as wanted. Raises as `until_ready` does, and
    Unavailable when its roll-out was stopped."""

    async def look() -> tuple[str, bool]:
        status = await client.fleet.status(name)
        if not status.seen_as_declared:  # what is shown is that of the settings before
            return "the engine takes over the change", False
        _check_living(status, name)
        stopped = next((one.message for one in status.conditions if one.type == ROLLOUT_STOPPED), None)
        if stopped is not None:
            raise Unavailable(f"the roll-out of {name} was stopped: {stopped}", hint=_see_events(name))
        now, stats = status.deployment, status.deployment.replica_stats
        ready = stats.ready_replica_count if stats else 0
        settled = now.state == READY and ready == (now.replica_count or 0) == (now.desired_replica_count or 0)
        return deployment_text.progress(status), settled

    await until(look, patience, f"{name} was not as declared", _see_events(name), quiet=quiet)


async def until_deleted(client: Client, name: str, patience: timedelta, *, quiet: bool = False) -> None:
    """All replicas have ended; a hard delete's deployment is gone."""

    async def look() -> tuple[str, bool]:
        try:
            now = await client.deployments.get(name)
        except NotFound:
            return "gone", True
        if now.delete_time is None:
            raise FailedPrecondition(f"{name} was brought back meanwhile", hint=_see_events(name))
        count = now.replica_count or 0
        return f"{known(now.state)}: {count} replica{'' if count == 1 else 's'} left", now.state == DELETED

    hint = "its replicas go on ending: see firedeck list deployments --show-deleted"
    await until(look, patience, f"{name} was not DELETED", hint, quiet=quiet)


async def until_loaded(client: Client, name: str, deployment: str, patience: timedelta, *, quiet: bool = False) -> None:
    """Every replica has the adapter; Unavailable when that FAILED, NotFound when it was unloaded meanwhile. What
    `deployment` has failed of ends the wait too."""
    changed = _Changed(client, deployment)

    async def look() -> tuple[str, bool]:
        await changed.look()
        now = await client.deployed_models.get(name)
        if now.state == FAILED:
            raise Unavailable(
                f"{name} failed: {now.status.message if now.status else ''}",
                hint=f"take it off with firedeck unload-lora {now.model} --deployment {_id(deployment)}",
            )
        return known(now.state), now.state == "DEPLOYED"

    hint = f"look again with firedeck deployed-model get {_id(name)}"
    await until(look, patience, f"{name} was not DEPLOYED", hint, quiet=quiet)


async def until_unloaded(client: Client, name: str, patience: timedelta, *, quiet: bool = False) -> None:
    """The deployed model is gone, and with it the adapter from every replica."""

    async def look() -> tuple[str, bool]:
        try:
            return known((await client.deployed_models.get(name)).state), False
        except NotFound:
            return "gone", True

    hint = f"it is gone when firedeck deployed-model get {_id(name)} finds nothing"
    await until(look, patience, f"{name} was not unloaded", hint, quiet=quiet)


async def until_prepared(
    client: Client, name: str, precision: str | None, patience: timedelta, *, quiet: bool = False
) -> None:
    """The model is there in this precision, or (None) in all that were asked for; Unavailable when one FAILED."""

    async def look() -> tuple[str, bool]:
        found = await client.models.get(name)
        asked = (found.firedeck.prepared if found.firedeck else None) or []
        mine = [one for one in asked if precision in (None, one.precision)]
        if failed := next((one for one in mine if one.state == FAILED), None):
            why = failed.status.message if failed.status else ""
            raise Unavailable(f"{found.name} was not prepared in {failed.precision}: {why}", hint="ask for it again")
        at_work = [one for one in mine if one.state != READY]
        return ", ".join(f"{one.precision}: {one.stage or one.state}" for one in at_work) or READY, not at_work

    hint = f"see firedeck model get {name}"
    await until(look, patience, f"{name} was not prepared", hint, quiet=quiet)


async def until_shifted(client: Client, begun: Router, patience: timedelta) -> Router:
    """The router with its shift COMPLETED; Unavailable when that was rolled back or aborted, FailedPrecondition when
    another was begun meanwhile."""
    mine, found = begun.shift.start_time if begun.shift else None, begun

    async def look() -> tuple[str, bool]:
        nonlocal found
        found = await client.routers.get(begun.name)
        if found.shift is None or found.shift.start_time != mine:
            raise FailedPrecondition(f"another shift of {begun.id} was begun meanwhile", hint=hint)
        if found.shift.state in (ROLLED_BACK, ABORTED):
            raise Unavailable(f"{router_text.shift_stage(found.shift)}: {found.shift.reason}", hint=hint)
        return router_text.shift_stage(found.shift), found.shift.state == COMPLETED

    hint = f"see firedeck router get {begun.id}"
    await until(look, patience, f"the shift of {begun.id} was not COMPLETED", hint)
    return found


def _see_events(name: str) -> str:
    return f"see firedeck event list --deployment {_id(name)}"


def _id(name: str) -> str:
    return name.rpartition("/")[2]
