"""`firedeck dashboard` (and bare `firedeck`): the dashboard, or the same fleet as text or JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
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
from tui.core import keys
from tui.core.config import Config, config_path, load
from tui.core.plain import fleet_text
from tui.core.series import Symbols
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
    once: bool,
    as_json: bool,
    readonly: bool,
    deployment: str | None,
    symbols: Symbols | None,
    rehearse: bool,
) -> None:
    """Watch and operate a fleet of deployments in the terminal; where output is none, print it once as text."""
    context = Context.resolve(base_url, api_key, account)
    try:
        make = RehearsalSource if rehearse else _played(replay) if replay else _engine(context, prometheus)
        settings = load(config_path())
        keys.remapped(settings.keys)
        page = str(Name.of(deployment, "deployments", context.account, "--deployment")) if deployment else None
        snapshot = asyncio.run(_first_snapshot(make))
    except FiredeckError as error:
        _end(error)
    if as_json:
        click.echo(json.dumps(snapshot.to_wire(), indent=2))
    elif once or not _has_screen():
        click.echo(fleet_text(snapshot, snapshot.time))
    else:
        _run(_with_record(make, record), settings, readonly=readonly, page=page, symbols=symbols)


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


async def _first_snapshot(make: MakeSource) -> FleetSnapshot:
    """One picture: proof that the engine answers and takes the key, before the screen is taken over."""
    source = make()
    try:
        return await source.snapshot()
    finally:
        await source.close()


def _run(make: MakeSource, settings: Config, *, readonly: bool, page: str | None, symbols: Symbols | None) -> None:
    from tui.app import Deck  # Textual: not needed for --once and --json

    try:
        source = make()
    except FiredeckError as error:
        _end(error)
    deck = Deck(source, readonly=readonly, deployment=page, symbols=symbols or settings.symbols, config=settings)
    deck.run(mouse=settings.mouse)


def sentence(error: FiredeckError) -> str:
    """The error with its remedy, in one line."""
    text = " ".join(error.text.split())
    refused = isinstance(error, Unauthenticated | PermissionDenied)
    return f"{text} ({KEY_HINT})" if refused and not text.endswith(")") else text  # the server's remedy comes first
