"""Options that every command shares, and the way from them to an open client."""

from __future__ import annotations

import asyncio
import functools
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import click

from client.cli.output import QUIET, note_simulated, tell
from client.config import Context
from client.errors import FiredeckError
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
    "numPeftDeviceCached": "--num-peft-device-cached",
}  # fmt: skip
_TERM = re.compile("|".join(rf"(?<![\w./-]){re.escape(term)}(?![\w-])" for term in _OWN_TERMS))

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
    for option in _SHARED:
        command = option(command)
    return command


def names_argument(metavar: str = "NAME...") -> Callable[[F], F]:
    """One thing or several of a kind; the command gets them as `names`."""
    return click.argument("names", nargs=-1, required=True, metavar=metavar)


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


def dry_run_option(text: str) -> Callable[[F], F]:
    """firectl's `--dry-run`."""
    return click.option("--dry-run", is_flag=True, help=text)


Work = Callable[[Client], Awaitable[None]]


def run(work: Work, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """Do `work` with an open client; a FiredeckError ends the process with one sentence and exit code 1."""

    async def main() -> None:
        async with Client(Context.resolve(base_url, api_key, account)) as client:
            try:
                await work(client)
            finally:
                if client.transport.simulated:
                    note_simulated()

    try:
        asyncio.run(main())
    except FiredeckError as error:
        _tell(error)
        sys.exit(1)


async def each(items: Iterable[T], act: Callable[[T], Awaitable[R]]) -> list[R]:
    """What came of all that did not fail, whatever became of the others: their errors are told as they come."""
    done = []
    for item in items:
        try:
            done.append(await act(item))
        except FiredeckError as error:
            _tell(error)
    return done


async def delete_each(names: Sequence[str], delete: Callable[[str], Awaitable[None]], output: str) -> None:
    """Every one of them; exit status 1 when one could not be."""

    async def gone(name: str) -> None:
        await delete(name)
        tell(f"deleted {name}", output)

    if len(await each(names, gone)) < len(names):
        sys.exit(1)


def _tell(error: FiredeckError) -> None:
    click.echo(f"error: {in_own_terms(error.text)}", err=True)


def in_own_terms(text: str) -> str:
    """An engine's sentence with the options of this command line in place of the API's fields."""
    return _TERM.sub(lambda found: _OWN_TERMS[found.group()], text)
