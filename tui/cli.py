"""`firedeck dashboard` (and bare `firedeck`): the dashboard, or the same fleet as text or JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import click
import httpx

from client.cli.examples import epilog
from client.config import Context
from client.errors import FiredeckError, PermissionDenied, Unauthenticated
from client.fleet_types import FleetSnapshot
from client.names import Name
from client.resources import Client
from tui.core import keys, last_view
from tui.core.config import Config, config_path, load
from tui.core.facts import Facts
from tui.core.last_view import LastViews
from tui.core.plain import fleet_text
from tui.core.retry import wait_s
from tui.core.series import Symbols
from tui.core.ticker import changes
from tui.sources.base import FleetSource
from tui.sources.engine import EngineSource
from tui.sources.fireworks import HOST, FireworksSource
from tui.sources.rehearsal import RehearsalSource

MakeSource = Callable[[], FleetSource]
KEY_HINT = "pass --api-key, set FIREDECK_API_KEY, or start the engine as this user"


@click.command(
    epilog=epilog(
        "firedeck",
        "firedeck --deployment chat --readonly",
        "firedeck --once --base-url http://127.0.0.1:8701",
        "firedeck --json",
    )
)
@click.option("--base-url", metavar="URL", help="The engine; default FIREWORKS_BASE_URL or the local one.")
@click.option("--api-key", metavar="KEY", help="Default FIREDECK_API_KEY, FIREWORKS_API_KEY or the local engine's key.")
@click.option("-a", "--account-id", "--account", "account", metavar="ID", help="The account that bare ids mean.")
@click.option("--prometheus", metavar="URL", help="Read the charts' history from this Prometheus server.")
@click.option("--record", type=click.Path(path_type=Path), help="Also write all that is shown to this new file.")
@click.option("--replay", type=click.Path(path_type=Path), help="Show a recording instead of an engine.")
@click.option("--context", metavar="NAME", help="A context of the config file.")
@click.option("--watch", "lines", is_flag=True, help="Print a line whenever something changes, until Ctrl-C.")
@click.option("--once", is_flag=True, help="Print the fleet as plain text and end.")
@click.option("--json", "as_json", is_flag=True, help="Print the fleet as JSON and end.")
@click.option("--readonly", is_flag=True, help="Refuse every change.")
@click.option("--deployment", metavar="ID", help="Open the page of this deployment.")
@click.option("--ascii", "symbols", flag_value="ascii", help="Draw with ASCII characters only.")
@click.option("--braille", "symbols", flag_value="braille", help="Draw curves with braille dots (finer).")
@click.option("--rehearse", is_flag=True, hidden=True, help="A simulated fleet in memory, no engine.")
def dashboard(
    base_url: str | None,
    api_key: str | None,
    account: str | None,
    prometheus: str | None,
    record: Path | None,
    replay: Path | None,
    context: str | None,
    lines: bool,
    once: bool,
    as_json: bool,
    readonly: bool,
    deployment: str | None,
    symbols: Symbols | None,
    rehearse: bool,
) -> None:
    """Watch and operate a fleet of deployments in the terminal; where output is none, print it once as text."""
    try:
        settings = load(config_path())
        keys.remapped(settings.keys)
        here = _context(settings, context, base_url, api_key, account)
        make = RehearsalSource if rehearse else _played(replay) if replay else _engine(here, prometheus)
        page = str(Name.of(deployment, "deployments", here.account, "--deployment")) if deployment else None
        snapshot, facts = asyncio.run(_first_snapshot(make))
    except FiredeckError as error:
        _end(error)
    if lines:
        with suppress(KeyboardInterrupt):
            asyncio.run(_watch(make, as_json=as_json))
    elif as_json:
        click.echo(json.dumps(snapshot.to_wire(), indent=2))
    elif once or not _has_screen():
        click.echo(fleet_text(snapshot, snapshot.time, facts))
    else:
        _run(_with_record(make, record), settings, readonly=readonly, page=page, symbols=symbols)


def _context(
    settings: Config, named: str | None, base_url: str | None, api_key: str | None, account: str | None
) -> Context:
    """The context that is named, here or in the file; one that is pointed at by its URL is nobody else's."""
    name = named or ("" if base_url else settings.context)
    found = settings.context_of(name) if name else Context.resolve(base_url, api_key, account)
    return replace(found, api_key=api_key or found.api_key, account=account or found.account)


async def _watch(make: MakeSource, *, as_json: bool) -> None:
    """Until Ctrl-C, or until a pipe is closed. A broken connection is told and tried again."""
    source = make()
    before: FleetSnapshot | None = None
    attempt = 0
    while True:
        try:
            async for snapshot in source.watch():
                attempt = 0
                for line in [json.dumps(snapshot.to_wire())] if as_json else changes(before, snapshot):
                    click.echo(line)
                before = snapshot
        except FiredeckError as error:
            attempt += 1
            click.echo(f"firedeck: {sentence(error)}; trying again in {wait_s(attempt):.0f}s", err=True)
            await asyncio.sleep(wait_s(attempt))


def _end(error: FiredeckError) -> NoReturn:
    click.echo(f"firedeck: {sentence(error)}", err=True)
    sys.exit(1)


def _has_screen() -> bool:
    """A pipe, a file or a dumb terminal gets the fleet as text: they cannot show a screen."""
    every = (sys.stdin, sys.stdout, sys.stderr)  # keys, the screen's size, and what Textual draws on
    return all(stream.isatty() for stream in every) and os.environ.get("TERM") != "dumb"


def _played(file: Path) -> MakeSource:
    from tui.sources.recording import replayed

    tape = replayed(file)
    return lambda: tape


def _with_record(make: MakeSource, file: Path | None) -> MakeSource:
    from tui.sources.recording import recorded

    return make if file is None else lambda: recorded(make(), file)


def _engine(context: Context, prometheus: str | None) -> MakeSource:
    def make() -> FleetSource:
        if httpx.URL(context.base_url).host == HOST:
            return FireworksSource(Client(context))
        if prometheus is None:
            return EngineSource(Client(context))
        from tui.sources.prometheus import PrometheusHistory  # slow to import, seldom asked for

        return EngineSource(Client(context), PrometheusHistory(prometheus))

    return make


async def _first_snapshot(make: MakeSource) -> tuple[FleetSnapshot, Facts]:
    """One picture: proof that the engine answers and takes the key, before the screen is taken over."""
    source = make()
    try:
        return await source.snapshot(), source.facts
    finally:
        await source.close()


def _run(make: MakeSource, settings: Config, *, readonly: bool, page: str | None, symbols: Symbols | None) -> None:
    from tui.app import Deck  # Textual: not needed for --once and --json

    try:
        source = make()
    except FiredeckError as error:
        _end(error)
    deck = Deck(
        source,
        readonly=readonly,
        deployment=page,
        symbols=symbols or settings.symbols,
        config=settings,
        last_views=LastViews(last_view.default_path()) if settings.remember else None,
    )
    deck.run(mouse=settings.mouse)


def sentence(error: FiredeckError) -> str:
    """The error with its remedy, in one line."""
    text = " ".join(error.text.split())
    refused = isinstance(error, Unauthenticated | PermissionDenied)
    return f"{text} ({KEY_HINT})" if refused and not text.endswith(")") else text  # the server's remedy comes first
