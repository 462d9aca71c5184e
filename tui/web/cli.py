"""`firedeck web`: serves the dashboard to a browser on this machine until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from client.cli import exits
from client.cli.examples import epilog
from client.errors import FiredeckError
from tui import sought
from tui.core.config import config_path, load
from tui.web.child import KEYS, SETTINGS

FIREWORKS_TABS = 3  # each asks for metrics twice a minute, of the six times that the account may


@click.command(epilog=epilog("firedeck web", "firedeck web --port 8080 --writable", "firedeck web --all-contexts"))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of loopback; default any that is free.")
@click.option("--writable", is_flag=True, help="Allow changes: whoever has the address may make them.")
@click.option("--tabs", type=click.IntRange(1, 64), default=4, show_default=True, help="Dashboards at once.")
@sought.fleet_options
@click.option("--record", type=click.Path(path_type=Path), hidden=True)
def web(port: int, writable: bool, tabs: int, record: Path | None, **asked: Any) -> None:
    """Show the dashboard in a browser on this machine, read-only unless asked."""
    if record is not None:
        told = f"every tab of a browser would write a recording of its own: firedeck --watch --record {record}"
        raise click.UsageError(told)
    try:
        settings = load(config_path())
    except FiredeckError as error:
        _end(error)
    try:
        fleet = sought.sought(settings, sought.Options(**asked))
        fleet.made()  # what is wrong with a recording is told here
        asyncio.run(_serve(handed_on(fleet, readonly=not writable), port, most_tabs(fleet, tabs)))
    except FiredeckError as error:
        _end(error, asked=False)
    except OSError as error:
        click.echo(f"firedeck web: port {port} cannot be had: {error.strerror} (take another with --port)", err=True)
        sys.exit(1)


def _end(error: FiredeckError, *, asked: bool = True) -> NoReturn:
    click.echo(f"firedeck web: {error.text}", err=True)
    sys.exit(exits.status_of(error, asked=asked))


def handed_on(fleet: sought.Sought, *, readonly: bool) -> dict[str, str]:
    """The environment of each child."""
    return {
        SETTINGS: json.dumps({"sought": fleet.to_wire(), "readonly": readonly}),
        KEYS: json.dumps([one.context.api_key for one in fleet.places]),
    }


def most_tabs(fleet: sought.Sought, wanted: int) -> int:
    return min(wanted, FIREWORKS_TABS) if any(one.is_fireworks for one in fleet.places) else wanted


async def _serve(settings: dict[str, str], port: int, tabs: int) -> None:
    """Until SIGINT or SIGTERM; every child has ended when this returns."""
    from tui.web import server  # aiohttp: not needed to complete or to show help

    server.assets()
    from aiohttp import web as http

    deck = server.WebDeck(settings, tabs)
    runner = http.AppRunner(deck.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = http.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        bound = runner.addresses[0][1]
        click.echo(f"the dashboard is at http://127.0.0.1:{bound}/?token={deck.token}")
        click.echo("whoever has this address can see the fleet; Ctrl-C ends it and every dashboard")
        await _ended()
    finally:
        await runner.cleanup()


async def _ended() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
