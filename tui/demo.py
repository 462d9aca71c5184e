"""`firedeck demo`: a private engine with two small models, labelled synthetic traffic, and the dashboard on it.

Where standard output is no terminal it runs for a minute without the screen: a status line every few seconds, a closing
report, exit code 0 - or 1 with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from client.cli.examples import epilog
from client.config import ADMIN_KEY_FILE, URL_FILE, Context
from client.errors import FiredeckError, Unavailable
from client.resources import Client
from client.traffic import Traffic
from tui.demo_report import Watcher

ENGINE_START_S = 60.0
ENGINE_END_S = 25.0
POLL_S = 0.1
LOG_FILE = "engine.log"
LOG_LINES_SHOWN = 15


@click.command(epilog=epilog("firedeck demo", "firedeck demo --no-screen --seconds 30"))
@click.option("--seconds", default=60, show_default=True, help="How long to run without a terminal.")
@click.option("--no-screen", is_flag=True, help="Status lines and a report even in a terminal.")
@click.option("--keep", is_flag=True, help="Keep the demo's data folder.")
def demo(seconds: int, no_screen: bool, keep: bool) -> None:
    """A private engine with two small models, synthetic traffic and the dashboard."""
    data_dir = Path(tempfile.mkdtemp(prefix="firedeck-demo-"))
    try:
        with engine(data_dir) as context:
            if sys.stdout.isatty() and not no_screen:
                _with_screen(context)
            else:
                asyncio.run(_without_screen(context, seconds))
    except FiredeckError as error:
        click.echo(f"firedeck demo: {error.text}", err=True)
        sys.exit(1)
    finally:
        if keep:
            click.echo(f"the demo's data folder is {data_dir}", err=True)
        else:
            shutil.rmtree(data_dir, ignore_errors=True)


@contextlib.contextmanager
def engine(data_dir: Path) -> Iterator[Context]:
    """A running engine on `data_dir`, as a process of its own; it ends with us, even if we are killed."""
    command = [
        sys.executable, "-m", "client.cli", "serve",
        "--demo", "--port", "0", "--data-dir", str(data_dir), "--until-eof",
    ]  # fmt: skip
    with (data_dir / LOG_FILE).open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
    try:
        yield _wait_for(process, data_dir)
    finally:
        process.terminate()
        try:
            process.wait(ENGINE_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], data_dir: Path) -> Context:
    """The way to the engine, once it serves."""
    click.echo("starting an engine ...", err=True)
    until = time.monotonic() + ENGINE_START_S
    while time.monotonic() < until and process.poll() is None:
        url, key = _line(data_dir / URL_FILE), _line(data_dir / ADMIN_KEY_FILE)
        if url and key:
            return replace(Context(), base_url=url, api_key=key, name="demo")
        time.sleep(POLL_S)
    words = (data_dir / LOG_FILE).read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
    raise Unavailable("the engine did not start:\n  " + "\n  ".join(words))


def _line(file: Path) -> str:
    try:
        text = file.read_text()
    except OSError:
        return ""
    return text.strip() if text.endswith("\n") else ""


def _with_screen(context: Context) -> None:
    from tui.app import Deck  # Textual: not needed without a screen
    from tui.sources.engine import EngineSource

    # Traffic in a process of its own: reading hundreds of events a second must not cost the screen a frame.
    environment = {"FIREWORKS_BASE_URL": context.base_url, "FIREDECK_API_KEY": context.api_key}
    traffic = subprocess.Popen(
        [sys.executable, "-m", "client.traffic"], env={**os.environ, **environment}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        Deck(EngineSource(context)).run()
    finally:
        traffic.terminate()
        traffic.wait()


async def _without_screen(context: Context, seconds: int) -> None:
    """A minute of traffic, told in lines. Raises Unavailable when the demo did not show what it should."""
    async with Client(context) as client:
        traffic = Traffic(client)
        watcher = Watcher(client, traffic)
        running = asyncio.create_task(traffic.run())
        try:
            await watcher.watch(seconds)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        click.echo(await watcher.report())
        problem = watcher.problem()
        if problem:
            raise Unavailable(problem)
