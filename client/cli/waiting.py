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
from client.cli import deployment_text
from client.cli.output import known
from client.errors import DeadlineExceeded, FailedPrecondition, FiredeckError, NotFound, Unavailable
from client.fleet_types import DeploymentStatus
from client.resources import Client
from client.types import DELETED, FAILED, READY

POLL_S = 0.5
Command = Callable[..., None]
Look = Callable[[], Awaitable[tuple[str, bool]]]  # how far it is, and whether that is all


def duration(ctx: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    """An option's value in Go's syntax."""
    try:
        return None if value is None else durations.parse(value, param.opts[0])
    except FiredeckError as error:
        raise click.BadParameter(error.text) from None


def wait_options(until: str, longest: str = "1h") -> Callable[[Command], Command]:
    """The command gets them as one argument, `patience`: for how long to wait, None for not at all."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def gathered(*, wait: bool, wait_timeout: timedelta, **rest: Any) -> None:
            command(patience=wait_timeout if wait else None, **rest)

        limit = click.option("--wait-timeout", default=longest, show_default=True, callback=duration)
        wrapped: Command = click.option("--wait", is_flag=True, help=f"Return {until}.")(limit(gathered))
        return wrapped

    return decorate


async def until(look: Look, patience: timedelta, unmet: str, *, quiet: bool = False) -> None:
    """Look, once at least, until that is all, telling each new stage on standard error unless `quiet`.

    DeadlineExceeded, with `unmet` and the last stage, when `patience` ends before.
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
                f"{unmet} within {durations.to_go(patience)}: {stage}", hint="it is not given up; look again with get"
            )
        await asyncio.sleep(POLL_S)


async def until_ready(client: Client, name: str, patience: timedelta, *, quiet: bool = False) -> None:
    """Unavailable when the deployment has FAILED, NotFound when it was deleted meanwhile."""

    async def look() -> tuple[str, bool]:
        status = await _living(client, name)
        return deployment_text.progress(status), status.deployment.state == READY

    await until(look, patience, f"{name} was not READY", quiet=quiet)


async def until_scaled(client: Client, name: str, patience: timedelta, *, quiet: bool = False) -> None:
    """There are as many replicas as are wanted, all of them ready. Raises as `until_ready` does."""

    async def look() -> tuple[str, bool]:
        status = await _living(client, name)
        now, stats = status.deployment, status.deployment.replica_stats
        ready = stats.ready_replica_count if stats else 0
        settled = ready == (now.replica_count or 0) == (now.desired_replica_count or 0)
        return deployment_text.progress(status), settled

    await until(look, patience, f"{name} had not as many replicas as wanted", quiet=quiet)


async def _living(client: Client, name: str) -> DeploymentStatus:
    status = await client.fleet.status(name)
    now = status.deployment
    if now.state == FAILED:
        raise Unavailable(f"{name} failed: {now.status.message if now.status else ''}")
    if now.delete_time is not None:
        raise NotFound(f"{name} was deleted meanwhile")
    return status


async def until_deleted(client: Client, name: str, patience: timedelta, *, quiet: bool = False) -> None:
    """All replicas have ended; a hard delete's deployment is gone."""

    async def look() -> tuple[str, bool]:
        try:
            now = await client.deployments.get(name)
        except NotFound:
            return "gone", True
        if now.delete_time is None:
            raise FailedPrecondition(f"{name} was brought back meanwhile")
        count = now.replica_count or 0
        return f"{known(now.state)}: {count} replica{'' if count == 1 else 's'} left", now.state == DELETED

    await until(look, patience, f"{name} was not DELETED", quiet=quiet)


async def until_loaded(client: Client, name: str, patience: timedelta, *, quiet: bool = False) -> None:
    """Every replica has the adapter; Unavailable when that FAILED, NotFound when it was unloaded meanwhile."""

    async def look() -> tuple[str, bool]:
        now = await client.deployed_models.get(name)
        if now.state == FAILED:
            raise Unavailable(f"{name} failed: {now.status.message if now.status else ''}")
        return known(now.state), now.state == "DEPLOYED"

    await until(look, patience, f"{name} was not DEPLOYED", quiet=quiet)


async def until_unloaded(client: Client, name: str, patience: timedelta, *, quiet: bool = False) -> None:
    """The deployed model is gone, and with it the adapter from every replica."""

    async def look() -> tuple[str, bool]:
        try:
            return known((await client.deployed_models.get(name)).state), False
        except NotFound:
            return "gone", True

    await until(look, patience, f"{name} was not unloaded", quiet=quiet)
