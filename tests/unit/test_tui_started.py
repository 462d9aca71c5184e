"""The first moments of the dashboard: what is imported and parsed for them, and what follows where nobody answers."""

from __future__ import annotations

import ast
import fcntl
import importlib
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from textual.css.stylesheet import Stylesheet
from textual.pilot import Pilot

from client.errors import FiredeckError, Unauthenticated, Unavailable
from client.fleet_types import FleetSnapshot
from tests.processes import environment
from tui import screens
from tui.app import Deck
from tui.core.journal import Journal
from tui.sources.base import FleetSource
from tui.sources.joined import joined
from tui.sources.rehearsal import RehearsalSource

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ESCAPED = re.compile(rb"\x1b\[[0-9;?<>=]*[A-Za-z]")


class Silent(RehearsalSource):
    """Nobody answers."""

    def __init__(self, name: str, error: Exception) -> None:
        super().__init__()
        self.context, self._error = type(self.context)(base_url=f"http://{name}", name=name), error

    async def watch(self) -> AsyncIterator[FleetSnapshot]:
        raise self._error
        yield  # an async generator


def deck(source: FleetSource, *, patient: bool) -> Deck:
    return Deck(source, journal=Journal(None), patient=patient)


def lost(app: Deck, context: str = "") -> bool:
    return app.picture_of(context).link.lost_at is not None


async def until(pilot: Pilot[FiredeckError], holds: Callable[[], bool]) -> None:
    for _ in range(500):
        await pilot.pause()
        if holds():
            return


async def test_where_nobody_answers_from_the_start_on_the_run_ends_with_the_error() -> None:
    error = Unavailable("no answer from http://a")
    app = deck(Silent("a", error), patient=False)
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.return_value is not None)
    assert app.return_value is error


async def test_of_several_contexts_the_run_ends_where_none_answers_and_names_them_all() -> None:
    silent = {name: Silent(name, Unauthenticated(f"not known to {name}")) for name in ("eu", "us")}
    app = deck(joined(silent), patient=False)
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.return_value is not None)
    assert app.return_value is not None
    assert app.return_value.text == "eu: not known to eu; us: not known to us"


async def test_one_context_that_answers_keeps_the_others_company() -> None:
    source = joined({"eu": Silent("eu", Unavailable("gone")), "us": RehearsalSource()})
    app = deck(source, patient=False)
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.picture.snapshot is not None and lost(app, "eu"))
        assert app.picture.rows
        assert lost(app, "eu")
        assert app.return_value is None


async def test_who_is_patient_waits_for_the_engine() -> None:
    app = deck(Silent("a", Unavailable("gone")), patient=True)
    async with app.run_test() as pilot:
        await until(pilot, lambda: lost(app))
        assert lost(app)
        assert app.return_value is None


def on_a_terminal(home: Path, *words: str) -> tuple[int, str]:
    """The exit status of `firedeck` with these words, and all that it has written, escape sequences left out."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "client.cli", *words], stdin=slave, stdout=slave, stderr=slave,
        env=environment({"TERM": "xterm-256color", "HOME": str(home)}), start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    written = b"".join(_read(master))
    os.close(master)
    return process.wait(), ESCAPED.sub(b"", written.rpartition(b"\x1b[?1049l")[2]).decode()


def _read(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            yield os.read(terminal, 1 << 16)
        except OSError:  # it has ended
            return


@pytest.mark.parametrize(
    ("url", "status", "told"),
    [("http://127.0.0.1:9", 1, "is the engine running? `firedeck serve`"), ("http://127.0.0.1:99999", 2, "no such")],
)
def test_the_terminal_is_given_back_before_the_reason_is_told(url: str, status: int, told: str, tmp_path: Path) -> None:
    ended, text = on_a_terminal(tmp_path, "--base-url", url, "--api-key", "k")
    assert ended == status
    assert len(text.strip().splitlines()) == 1
    assert told in text
    assert not list(tmp_path.rglob("views.json")), "who has not answered has no last view"


def test_the_first_page_needs_no_other_page_no_dialog_no_charts_and_no_wire() -> None:
    others = "httpx plotext pydantic tui.executor tui.screens.dialog tui.screens.listing tui.screens.obey"
    code = f"import client.cli.main, tui.cli, tui.app, sys; print(*sorted(set({others.split()!r}) & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "\n"


def test_every_page_and_dialog_is_where_its_name_leads() -> None:
    """For the type checker the same is written a second time."""
    tree = ast.parse(Path(screens.__file__).read_text())
    (block,) = (one for one in tree.body if isinstance(one, ast.If))
    known = [(one.module, alias.name) for one in block.body if isinstance(one, ast.ImportFrom) for alias in one.names]
    classes = {name: str(module).rpartition(".")[2] for module, name in known if module != "tui.screens"}
    assert classes == screens.HOMES
    assert {name for module, name in known if module == "tui.screens"} == screens.MODULES
    for name, home in classes.items():
        assert getattr(screens, name) is getattr(importlib.import_module(f"tui.screens.{home}"), name)
    with pytest.raises(AttributeError, match="has no attribute 'NoScreen'"):
        _ = screens.NoScreen  # type: ignore[attr-defined]


async def test_no_style_sheet_is_parsed_twice_until_the_colours_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    original = Stylesheet._parse_rules

    def noted(self: Stylesheet, css: str, read_from: tuple[str, str], *args: object, **options: object) -> object:
        if (css, read_from, *args, *options.values()) not in self._parse_cache:
            parsed.append(Path(read_from[0]).name)
        return original(self, css, read_from, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Stylesheet, "_parse_rules", noted)
    app = deck(RehearsalSource(), patient=True)
    async with app.run_test() as pilot:
        await pilot.pause()
        assert parsed.count("app.tcss") == parsed.count("fleet.tcss") == 1
        assert "help.tcss" not in parsed
        await pilot.press("f1")
        await pilot.pause()
        assert parsed.count("help.tcss") == parsed.count("app.tcss") == 1
        background = app.screen.styles.background
        app.theme = "firedeck-light"
        await pilot.pause()
        assert parsed.count("app.tcss") == 2
        assert app.screen.styles.background != background
