"""`firedeck web`: serves the dashboard to a browser on this machine until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

import click

from client.cli.connection import context_of, profile_option
from client.cli.examples import epilog
from client.config import Context
from client.errors import FiredeckError
from tui.sources.fireworks import HOST
from tui.web.child import KEY, SETTINGS

FIREWORKS_TABS = 3  # each asks for metrics twice a minute, of the six times that the account may


@click.command(epilog=epilog("firedeck web", "firedeck web --port 8080 --writable"))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of loopback; default any that is free.")
@click.option("--writable", is_flag=True, help="Allow changes: whoever has the address may make them.")
@click.option("--tabs", type=click.IntRange(1, 64), default=4, show_default=True, help="Dashboards at once.")
@click.option("--base-url", metavar="URL", help="The engine; default FIREWORKS_BASE_URL or the local one.")
@click.option("--api-key", metavar="KEY", help="Default FIREDECK_API_KEY, FIREWORKS_API_KEY or the local engine's key.")
@click.option("-a", "--account-id", "--account", "account", metavar="ID", help="The account that bare ids mean.")
@profile_option
@click.option("--rehearse", is_flag=True, hidden=True, help="A simulated fleet in memory, no engine.")
def web(
    port: int, writable: bool, tabs: int, base_url: str | None, api_key: str | None, account: str | None, rehearse: bool
) -> None:
    """Show the dashboard in a browser on this machine, read-only unless asked."""
    try:
        context = context_of(base_url, api_key, account)
        settings = {SETTINGS: settings_of(context, readonly=not writable, rehearse=rehearse), KEY: context.api_key}
        asyncio.run(_serve(settings, port, min(tabs, FIREWORKS_TABS) if HOST in context.base_url else tabs))
    except FiredeckError as error:
        click.echo(f"firedeck web: {error.text}", err=True)
        sys.exit(1)
    except OSError as error:
        click.echo(f"firedeck web: port {port} cannot be had: {error.strerror} (take another with --port)", err=True)
        sys.exit(1)


def settings_of(context: Context, *, readonly: bool, rehearse: bool = False) -> str:
    """What a child needs to know, but for the key."""
    return json.dumps(
        {
            "base_url": context.base_url, "account": context.account, "name": context.name, "prod": context.prod,
            "readonly": readonly, "rehearse": rehearse,
        }
    )  # fmt: skip


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
