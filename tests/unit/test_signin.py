"""`firedeck signin`: an engine and a key for commands that are given no others, kept for that engine alone."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from client.cli.main import main
from client.config import DEFAULT_BASE_URL, KEY_VARIABLES, SIGN_IN_FILE, Context, SignIn

FAR = "https://llm.example.com"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (*KEY_VARIABLES, "FIREWORKS_BASE_URL", "FIREWORKS_ACCOUNT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FIREDECK_DATA_DIR", str(tmp_path))
    (tmp_path / "admin.key").write_text("the-local-key\n")
    return tmp_path


def test_what_was_kept_is_used_where_nobody_says_otherwise(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Context.resolve() == Context(DEFAULT_BASE_URL, "the-local-key")
    file = SignIn(FAR, "far-key", "acme").write()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Context.resolve() == Context(FAR, "far-key", "acme")
    assert Context.resolve(api_key="given").api_key == "given"
    assert Context.resolve(account="other").account == "other"
    monkeypatch.setenv("FIREWORKS_API_KEY", "of-the-environment")
    assert Context.resolve().api_key == "of-the-environment"
    assert SignIn.forget()
    assert not SignIn.forget()
    assert Context.resolve().base_url == DEFAULT_BASE_URL


def test_its_key_goes_to_its_engine_alone_and_the_local_one_nowhere_else() -> None:
    SignIn(FAR, "far-key", "acme").write()
    assert Context.resolve("https://elsewhere.example.com").api_key == ""
    here = Context.resolve(DEFAULT_BASE_URL)
    assert (here.api_key, here.account) == ("the-local-key", "local")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"base_url": "x"}', "null"])
def test_a_file_that_is_none_is_as_if_nobody_had_signed_in(folder: Path, text: str) -> None:
    (folder / SIGN_IN_FILE).write_text(text)
    assert Context.resolve().base_url == DEFAULT_BASE_URL


def test_a_key_that_is_refused_is_not_kept(folder: Path) -> None:
    refused = CliRunner().invoke(main, ["signin", "--base-url", "http://127.0.0.1:1", "--api-key", "k"])
    assert refused.exit_code == 1
    assert not (folder / SIGN_IN_FILE).exists()
    assert CliRunner().invoke(main, ["signout"]).output == "nobody was signed in\n"
    assert CliRunner().invoke(main, ["version"]).output.startswith("firedeck ")


def test_nothing_shown_of_it_has_the_key() -> None:
    assert "far-key" not in repr(SignIn(FAR, "far-key", "acme"))
    assert json.loads(SignIn(FAR, "far-key", "acme").write().read_text())["api_key"] == "far-key"
