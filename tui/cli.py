"""`firedeck dashboard` (and bare `firedeck`): the dashboard, or the same fleet as text or JSON."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import click

from client import collector
from client.cli import exits
from client.cli.examples import epilog
from client.errors import FiredeckError, InvalidArgument, PermissionDenied, Unauthenticated
from tui import sought
from tui.core import keys, last_view
from tui.core.config import Config, config_path, load
from tui.core.last_view import LastViews
from tui.core.series import Symbols
from tui.sources.base import FleetSource

KEY_HINT = "pass --api-key, set FIREDECK_API_KEY, or start the engine as this user"


@click.command(
    epilog=epilog(
        "firedeck",
        "firedeck --deployment chat --readonly",
        "firedeck --once --base-url http://127.0.0.1:8701",
        "firedeck --json",
        "firedeck --all-contexts --record fleet.tape",
        "firedeck --replay fleet.tape",
    )
)
@sought.fleet_options
@click.option("--record", type=click.Path(path_type=Path), help="Also write all that is shown to this new file.")
@click.option("--watch", "lines", is_flag=True, help="Print a line whenever something changes, until Ctrl-C.")
@click.option("--once", is_flag=True, help="Print the fleet as plain text and end.")
@click.option("--json", "as_json", is_flag=True, help="Print the fleet as JSON and end.")
@click.option("--readonly", is_flag=True, help="Refuse every change.")
@click.option("--deployment", metavar="ID", help="Open the page of this deployment.")
@click.option("--ascii", "symbols", flag_value="ascii", help="Draw with ASCII characters only.")
@click.option("--braille", "symbols", flag_value="braille", help="Draw curves with braille dots (finer).")
def dashboard(
    record: Path | None,
    lines: bool,
    once: bool,
    as_json: bool,
    readonly: bool,
    deployment: str | None,
    symbols: Symbols | None,
    **asked: Any,
) -> None:
    """Watch and operate a fleet of deployments in the terminal; where output is none, print it once as text."""
    shown_once = not lines and (as_json or once or not _has_screen())
    settings = _settings()
    try:
        if record is not None and shown_once:
            raise InvalidArgument("one picture is no recording", hint="record with --watch, or in a terminal")
        fleet = sought.sought(settings, sought.Options(**asked))
        page = sought.page(deployment, fleet.contexts()) if deployment else None
        made = fleet.made()
    except FiredeckError as error:
        _end(error, asked=False)
    try:
        if shown_once:
            _print(made, as_json=as_json)
        sources = _opened(made, record, lines=lines)
    except FiredeckError as error:
        _end(error)
    if lines:
        _watch(sources, as_json=as_json)
    else:
        _run(sought.whole(sources), settings, readonly=readonly, page=page, symbols=symbols)


def _print(made: sought.Made, *, as_json: bool) -> NoReturn:
    from tui import printed  # with what the wire is made of, which the screen needs only when somebody has answered

    answers, facts = asyncio.run(printed.first(made))
    click.echo(printed.as_json(answers) if as_json else printed.as_text(answers, facts))
    sys.exit(any(isinstance(one, FiredeckError) for one in answers.values()))


def _watch(sources: dict[str, FleetSource], *, as_json: bool) -> None:
    from tui import printed

    with suppress(KeyboardInterrupt):
        asyncio.run(printed.watch(sources, in_json=as_json, tell=sentence))


def _opened(made: sought.Made, record: Path | None, *, lines: bool) -> dict[str, FleetSource]:
    """With what writes down all that they show. Raises where nobody answers, as lines tell it and before a file is
    written; the screen is there at once, and asks itself."""
    if lines or record is not None:
        from tui import printed

        asyncio.run(printed.first(made))
    sources = {name: make() for name, make in made.items()}
    if record is None:
        return sources
    from tui.sources.recording import recorded

    return recorded(sources, record)


def _settings() -> Config:
    """What the config file says; a slip in it ends the process."""
    try:
        settings = load(config_path())
        keys.remapped(settings.keys)
    except FiredeckError as error:
        _end(error)
    return settings


def _end(error: FiredeckError, *, asked: bool = True) -> NoReturn:
    click.echo(f"firedeck: {sentence(error)}", err=True)
    sys.exit(exits.status_of(error, asked=asked))


def _has_screen() -> bool:
    """A pipe, a file or a dumb terminal gets the fleet as text: they cannot show a screen."""
    every = (sys.stdin, sys.stdout, sys.stderr)  # keys, the screen's size, and what Textual draws on
    return all(stream.isatty() for stream in every) and os.environ.get("TERM") != "dumb"


def _run(source: FleetSource, settings: Config, *, readonly: bool, page: str | None, symbols: Symbols | None) -> None:
    with collector.paused():
        from tui.app import Deck  # Textual: not needed for --once and --json

    deck = Deck(
        source,
        readonly=readonly,
        deployment=page,
        symbols=symbols or settings.symbols,
        config=settings,
        last_views=LastViews(last_view.default_path()) if settings.remember else None,
        patient=False,
    )
    if (error := deck.run(mouse=settings.mouse)) is not None:
        _end(error)


def sentence(error: FiredeckError) -> str:
    """The error with its remedy, in one line."""
    text = " ".join(error.text.split())
    refused = isinstance(error, Unauthenticated | PermissionDenied)
    return f"{text} ({KEY_HINT})" if refused and not text.endswith(")") else text  # the server's remedy comes first
