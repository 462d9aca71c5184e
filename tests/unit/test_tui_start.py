"""How the dashboard is started: contexts of the config file, the lines of --watch, the last view."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner

from client.errors import InvalidArgument
from tests.unit.test_tui_core import snapshot, status
from tui import cli, printed, sought
from tui.core import config
from tui.core.last_view import LastView, LastViews
from tui.core.query import View
from tui.core.ticker import changes
from tui.sources.rehearsal import RehearsalSource

FILE = """
context = "staging"
[contexts.production]
base-url = "https://firedeck.example.com"
account = "acme"
api-key-env = "PROD_KEY"
[contexts.staging]
base-url = "http://127.0.0.1:1"
api-key-file = "KEYFILE"
colour = "orange"
[contexts.eu]
prod = true
colour = "violet"
"""


@pytest.fixture
def settings(tmp_path, monkeypatch):
    for name in ("FIREDECK_API_KEY", "FIREWORKS_API_KEY", "FIREWORKS_BASE_URL", "FIREWORKS_ACCOUNT_ID"):
        monkeypatch.delenv(name, raising=False)
    key, file = tmp_path / "key", tmp_path / "dashboard.toml"
    key.write_text("secret\n")
    file.write_text(FILE.replace("KEYFILE", str(key)))
    monkeypatch.setenv(config.CONFIG_VARIABLE, str(file))
    return config.load(file)


def test_a_context_has_its_engine_its_key_and_its_lock(settings, monkeypatch):
    monkeypatch.setenv("PROD_KEY", "p")
    found = settings.context_of("production")
    assert (found.base_url, found.account, found.api_key) == ("https://firedeck.example.com", "acme", "p")
    assert found.prod
    assert settings.context_of("staging").api_key == "secret"


def test_a_context_without_its_key_or_without_a_place_in_the_file_is_told(settings, monkeypatch):
    monkeypatch.delenv("PROD_KEY", raising=False)
    with pytest.raises(InvalidArgument, match="PROD_KEY is not set"):
        settings.context_of("production")
    with pytest.raises(InvalidArgument, match="no context is called dev") as refused:
        settings.context_of("dev")
    assert "staging" in refused.value.hint


def test_a_context_has_a_colour_of_its_own_and_production_is_red(settings, monkeypatch):
    monkeypatch.setenv("PROD_KEY", "p")
    tones = {name: settings.tone_of(settings.context_of(name)) for name in settings.contexts}
    assert tones == {"production": "failed", "staging": "attention", "eu": "neutral"}


def meant(settings, **asked):
    (place,) = sought.sought(settings, sought.Options(**asked)).places
    return place.context


def test_the_command_line_goes_before_the_files_context(settings):
    assert meant(settings).name == "staging"
    assert meant(settings, named=["eu"], account="mine").account == "mine"
    assert meant(settings, base_url="http://127.0.0.1:9").base_url == "http://127.0.0.1:9"


def test_a_slip_in_the_file_is_one_sentence_and_exit_code_1(settings, tmp_path):
    (tmp_path / "dashboard.toml").write_text("[keys]\nscale = 'ctrl+b'\n")
    ended = CliRunner().invoke(cli.dashboard, ["--rehearse", "--once"])
    assert ended.exit_code == 1
    assert "ctrl+b does not reach programs in every terminal" in ended.stderr


def test_a_line_is_printed_for_what_changed_alone():
    first = snapshot(status("a"), status("b"))
    second = snapshot(status("a", ready=0, desired=1), status("b", requests_per_second=3.0))
    third = snapshot(status("a", ready=0, desired=1))
    assert [line.split()[1] for line in changes(None, first)] == ["a", "b"]
    (line,) = changes(first, second)
    assert "a WAKING 0 to 1: 0 of 1 replicas ready" in line
    assert [line.split(maxsplit=1)[1] for line in changes(second, third)] == ["b is gone"]


async def test_watching_prints_lines_and_tells_of_a_loss(monkeypatch, capsys):
    class Ends(RehearsalSource):
        async def watch(self):
            yield await self.snapshot()
            raise asyncio.CancelledError

    for as_json in (False, True):
        with pytest.raises(asyncio.CancelledError):
            await printed.watch({"": Ends()}, in_json=as_json, tell=str)
        out = capsys.readouterr().out
        if as_json:
            assert len(json.loads(out)["deployments"]) == 5
        else:
            assert len(out.splitlines()) == 5
            assert "judge FAILED" in out


def test_the_last_view_is_kept_by_context_and_whatever_is_in_the_file_breaks_nothing(tmp_path):
    views = LastViews(tmp_path / "deep" / "views.json")
    assert views.of("eu") == LastView()
    tables = {"fleet": View("state:ready", "queue", True, ("id", "state"), "model"), "nodes": View()}
    kept = LastView(page="nodes", show_deleted=True, theme="firedeck-light", tables=tables)
    views.keep("eu", kept)
    views.keep("us", LastView(deployment="accounts/a/deployments/chat"))
    assert views.of("eu") == kept
    assert views.path.stat().st_mode & 0o077 == 0
    slips = '{"fleet": {"text": 3, "columns": "id", "sort": "queue"}, "users": 1}'
    tables = f'{{"eu": {{"page": "nodes", "tables": {slips}}}}}'
    for text in ("", "[]", '{"eu": 3}', '{"eu": {"tables": 3, "theme": 1}}', tables):
        views.path.write_text(text)
        assert views.of("eu").theme == ""
    assert views.of("eu").tables == {"fleet": View(sort="queue"), "users": View()}
    assert views.of("eu").page == "nodes"


def test_a_view_that_cannot_be_written_is_not_kept_and_ends_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    views = LastViews(tmp_path / "file" / "views.json")
    views.keep("eu", LastView(theme="light"))
    assert views.of("eu") == LastView()
