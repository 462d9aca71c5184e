"""Options that every command shares, and the way from them to an open client."""

from __future__ import annotations

import asyncio
import functools
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import click

from client.cli import exits, rehearsal
from client.cli.completing import Complete
from client.cli.connection import context_of, profile_option
from client.cli.output import QUIET, note_simulated, tell
from client.cli.rehearsal import dry_run_option as dry_run_option
from client.dry_run import DryRun, NotMade
from client.errors import FiredeckError
from client.http import Transport
from client.resources import Client

# What the engine's errors name in the API's terms, as the command line has it.
_OWN_TERMS = {
    "ignoreChecks=true": "--ignore-checks", "hard=true": "--hard", "its enableAddons to true": "--enable-addons on it",
    "enableAddons": "--enable-addons", "baseModel": "--base-model", "replicaCount": "--replica-count",
    "minReplicaCount": "--min-replica-count", "maxReplicaCount": "--max-replica-count",
    "maxContextLength": "--max-context-length", "maxBatchSize": "--max-batch-size",
    "acceleratorCount": "--accelerator-count", "acceleratorType": "--accelerator-type",
    "deploymentId": "--deployment-id", "draftModel": "--draft-model", "draftTokenCount": "--draft-token-count",
    "ngramSpeculationLength": "--ngram-speculation-length", "deploymentShape": "--deployment-shape",
    "skipShapeValidation=true": "--skip-shape-validation", "acceptShapelessRisk": "--accept-shapeless-risk",
    "autoTune.longPrompt": "--long-prompt", "enableHotReloadLatestAddon": "--enable-hot-reload-latest-addon",
    "numPeftDeviceCached": "--num-peft-device-cached", "replaceMergedAddon=true": "--replace-merged-addon",
    "placement.region": "--region", "multiRegion": "--region",
    "autoscalingPolicy.scaleUpWindow": "--scale-up-window", "pageToken": "--page-token", "orderBy": "--order-by",
    "autoscalingPolicy.scaleDownWindow": "--scale-down-window", "autoscalingPolicy.loadTargets": "--load-targets",
    "autoscalingPolicy.scaleToZeroWindow": "--scale-to-zero-window",
}  # fmt: skip
_TERM = re.compile("|".join(rf"(?<![\w./-]){re.escape(term)}(?![\w-])" for term in _OWN_TERMS))

_failed: ContextVar[list[FiredeckError]] = ContextVar("failed")  # of the command that runs

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
R = TypeVar("R")

_SHARED = (
    click.option("-o", "--output", type=click.Choice(["text", "json", "flag"]), default="text", show_default=True),
    click.option("-a", "--account-id", "account", help="Account.  [env: FIREWORKS_ACCOUNT_ID; default: local]"),
    click.option("--api-key", help="Key.  [env: FIREDECK_API_KEY, FIREWORKS_API_KEY; default: the local engine's]"),
    click.option("--base-url", help="Engine.  [env: FIREWORKS_BASE_URL; default: http://127.0.0.1:8700]"),
)


def shared(command: F) -> F:
    """The connection and output options."""
    for option in (*_SHARED, profile_option):
        command = option(command)
    return command


def names_argument(metavar: str = "NAME...", complete: Complete | None = None) -> Callable[[F], F]:
    """One thing or several of a kind; the command gets them as `names`."""
    return click.argument("names", nargs=-1, required=True, metavar=metavar, shell_complete=complete)


def quiet_option(text: str) -> Callable[[F], F]:
    """firectl's `--quiet`, saying what is left of the output; the command gets it as its `output`."""

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def gathered(*, quiet: bool, output: str, **rest: Any) -> Any:
            if quiet and output != "text":
                raise click.UsageError(f"--quiet and -o {output} exclude each other")
            return command(output=QUIET if quiet else output, **rest)

        return click.option("-q", "--quiet", is_flag=True, help=text)(cast("F", gathered))

    return decorate


def check_given(changes: Iterable[object]) -> None:
    """A command that is to change something needs to be told what."""
    if all(one is None or one == () for one in changes):
        raise click.UsageError("nothing to change was given")


Work = Callable[[Client], Awaitable[None]]


def run(work: Work, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """Do `work` with an open client, or with `--dry-run` show the change that it would make. What fails is told in one
    sentence, and the process ends with the exit status of `client.cli.exits`."""

    asked = changing = False

    async def main() -> None:
        nonlocal asked, changing
        context = context_of(base_url, api_key, account)
        kind = DryRun if rehearsal.is_wanted() else Transport
        transport = kind(context.base_url, context.api_key, key_note=context.key_note, absent_note=context.absent_note)
        async with Client(context, transport) as client:
            try:
                with _told():
                    await work(client)
            finally:
                asked = client.transport.asked
                changing = client.transport.changing and not rehearsal.is_wanted()
                if client.transport.simulated:
                    note_simulated()

    failed = _failed.set([])
    try:
        with _told():
            asyncio.run(main())
    except KeyboardInterrupt:
        click.echo(f"interrupted{': what was asked for is not taken back' if changing else ''}", err=True)
        sys.exit(exits.INTERRUPTED)
    rehearsal.finish()
    errors = _failed.get()
    _failed.reset(failed)
    if errors:
        sys.exit(exits.status_of(errors[0], asked=asked))


async def each(items: Iterable[T], act: Callable[[T], Awaitable[R]]) -> list[R]:
    """What came of all that did not fail, whatever became of the others: their errors are told as they come."""
    done = []
    for item in items:
        with _told():
            done.append(await act(item))
    return done


async def delete_each(names: Sequence[str], delete: Callable[[str], Awaitable[None]], output: str) -> None:
    """Every one of them; the process fails when one could not be."""

    async def gone(name: str) -> None:
        await delete(name)
        tell(f"deleted {name}", output)

    await each(names, gone)


@contextmanager
def _told() -> Iterator[None]:
    """What ends a piece of work is told: an error, which the process ends with, or what a dry run would change."""
    try:
        yield
    except NotMade as rehearsed:
        rehearsal.show(rehearsed.change, _output())
    except FiredeckError as error:
        click.echo(f"error: {in_own_terms(error.text)}", err=True)
        _failed.get().append(error)


def _output() -> str:
    """What the command that runs was told of its output."""
    params = click.get_current_context().params
    return QUIET if params.get("quiet") else str(params.get("output", "text"))


def in_own_terms(text: str) -> str:
    """An engine's sentence with the options of this command line in place of the API's fields."""
    return _TERM.sub(lambda found: _OWN_TERMS[found.group()], text)
