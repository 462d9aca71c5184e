"""`firedeck dashboard` (and bare `firedeck`): the dashboard, or the same fleet as text or JSON."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import click
import httpx

from client.cli.connection import context_of, profile_option
from client.cli.examples import epilog
from client.config import Context
from client.errors import FiredeckError, InvalidArgument, PermissionDenied, Unauthenticated
from client.names import Name
from client.resources import Client
from tui import printed
from tui.core import keys, last_view
from tui.core.config import Config, config_path, load
from tui.core.last_view import LastViews
from tui.core.placed import SIGN, check, join
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
@profile_option
@click.option("--prometheus", metavar="URL", help="Read the charts' history from this Prometheus server.")
@click.option("--record", type=click.Path(path_type=Path), help="Also write all that is shown to this new file.")
@click.option("--replay", type=click.Path(path_type=Path), help="Show a recording instead of an engine.")
@click.option("--context", "named", metavar="NAME", multiple=True, help="A context of the config file; several as one.")
@click.option("--all-contexts", "every", is_flag=True, help="All contexts of the config file as one fleet.")
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
    named: tuple[str, ...],
    every: bool,
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
        found = _contexts(settings, named, base_url, api_key, account, every=every)
        make = _made(found, rehearse=rehearse, replay=replay, prometheus=prometheus)
        if len(found) > 1 and (record or replay or prometheus):
            raise InvalidArgument("--record, --replay and --prometheus are of one context", hint="name one")
        page = _page(deployment, found) if deployment else None
        answers, facts = asyncio.run(printed.first(make))
    except FiredeckError as error:
        _end(error)
    if lines:
        with suppress(KeyboardInterrupt):
            asyncio.run(printed.watch(make, in_json=as_json, tell=sentence))
    elif as_json or once or not _has_screen():
        click.echo(printed.as_json(answers) if as_json else printed.as_text(answers, facts))
        sys.exit(any(isinstance(one, FiredeckError) for one in answers.values()))
    else:
        _run(_with_record(_whole(make), record), settings, readonly=readonly, page=page, symbols=symbols)


def _contexts(
    settings: Config, named: Sequence[str], base_url: str | None, api_key: str | None, account: str | None, *,
    every: bool,
) -> list[Context]:  # fmt: skip
    """Those that are named, or all of the file; without any the one that is meant anyway."""
    names = list(settings.contexts) if every else list(named)
    if every and not names:
        raise InvalidArgument("there are no contexts in the config file", hint="write [contexts.NAME]: see the manual")
    if len(names) < 2:
        return [_context(settings, names[0] if names else None, base_url, api_key, account)]
    if base_url or api_key or account:
        raise InvalidArgument("--base-url, --api-key and --account are of one context", hint="write them in the file")
    check(names)
    return [settings.context_of(name) for name in names]


def _made(
    found: Sequence[Context], *, rehearse: bool, replay: Path | None, prometheus: str | None
) -> dict[str, MakeSource]:
    """How each is made, by their names; one alone has an empty one."""
    if len(found) > 1:
        return {one.name: partial(RehearsalSource, context=one) if rehearse else _engine(one, None) for one in found}
    return {"": RehearsalSource if rehearse else _played(replay) if replay else _engine(found[0], prometheus)}


def _whole(make: Mapping[str, MakeSource]) -> MakeSource:
    if "" in make:
        return make[""]
    from tui.sources.joined import joined

    return lambda: joined({name: one() for name, one in make.items()})


def _page(deployment: str, found: Sequence[Context]) -> str:
    """The full name of what is to be opened: `chat`, of several contexts `eu:chat`."""
    if len(found) == 1:
        return str(Name.of(deployment, "deployments", found[0].account, "--deployment"))
    name, sign, rest = deployment.partition(SIGN)
    of = next((one for one in found if one.name == name), None)
    if of is None or not sign:
        raise InvalidArgument(
            f"--deployment {deployment}: of which context?", hint=f"write {found[0].name}:{deployment}"
        )
    return join(name, str(Name.of(rest, "deployments", of.account, "--deployment")))


def _context(
    settings: Config, named: str | None, base_url: str | None, api_key: str | None, account: str | None
) -> Context:
    """The context that is named, here or in the file; one that is pointed at by its URL is nobody else's."""
    name = named or ("" if base_url else settings.context)
    found = settings.context_of(name) if name else context_of(base_url, api_key, account)
    return replace(found, api_key=api_key or found.api_key, account=account or found.account)


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
