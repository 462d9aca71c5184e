"""`firedeck signin`: an engine and a key for commands that are given no others, kept for that engine alone."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from client import profiles
from client.cli.main import main
from client.config import DEFAULT_BASE_URL, KEY_VARIABLES, PROFILE_VARIABLE, Context
from client.errors import FailedPrecondition, InvalidArgument
from client.profiles import Profile

FAR = "https://llm.example.com"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    others = ("FIREDECK_CONTEXT", "FIREWORKS_BASE_URL", "FIREWORKS_ACCOUNT_ID")
    for name in (*KEY_VARIABLES, PROFILE_VARIABLE, *others):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FIREDECK_DATA_DIR", str(tmp_path))
    (tmp_path / "admin.key").write_text("the-local-key\n")
    return tmp_path


def test_what_was_kept_is_used_where_nobody_says_otherwise(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Context.resolve() == Context(DEFAULT_BASE_URL, "the-local-key")
    file = profiles.write(folder, Profile("default", FAR, "far-key", "acme"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Context.resolve() == Context(FAR, "far-key", "acme")
    assert Context.resolve(api_key="given").api_key == "given"
    assert Context.resolve(account="other").account == "other"
    monkeypatch.setenv("FIREWORKS_API_KEY", "of-the-environment")
    assert Context.resolve().api_key == "of-the-environment"
    assert profiles.forget(folder, "default")
    assert not profiles.forget(folder, "default")
    assert Context.resolve().base_url == DEFAULT_BASE_URL


def test_its_key_goes_to_its_engine_alone_and_the_local_one_nowhere_else(folder: Path) -> None:
    profiles.write(folder, Profile("default", FAR, "far-key", "acme"))
    assert Context.resolve("https://elsewhere.example.com").api_key == ""
    here = Context.resolve(DEFAULT_BASE_URL)
    assert (here.api_key, here.account) == ("the-local-key", "local")


@pytest.mark.parametrize("text", ["", "{", "[default]", "[default]\napi_key = k", "[default]\n[default]", "a = b"])
def test_a_file_that_is_none_is_as_if_nobody_had_signed_in(folder: Path, text: str) -> None:
    (folder / profiles.FILE).write_text(text)
    assert Context.resolve().base_url == DEFAULT_BASE_URL


def _keep_as_formerly(folder: Path) -> Path:
    file = folder / "signin.json"
    file.write_text(json.dumps({"base_url": FAR, "api_key": "50%-old-key", "account": "acme"}))
    return file


def test_what_was_kept_before_there_were_profiles_is_the_default_one(folder: Path) -> None:
    file, former = _keep_as_formerly(folder), Profile("default", FAR, "50%-old-key", "acme")
    assert Context.resolve() == Context(FAR, "50%-old-key", "acme")
    us = Profile("us", FAR, "k", "acme")
    profiles.write(folder, us)
    assert profiles.read(folder) == {"default": former, "us": us}
    assert CliRunner().invoke(main, ["signout", "-p", "us"]).output == "signed out of us\n"
    assert file.exists()
    assert CliRunner().invoke(main, ["signout"]).output == "signed out of default\n"
    assert (file.exists(), profiles.read(folder)) == (False, {})


def test_signout_leaves_no_former_key_behind(folder: Path) -> None:
    file = _keep_as_formerly(folder)
    assert CliRunner().invoke(main, ["signout"]).output == "signed out of default\n"
    assert (file.exists(), Context.resolve().base_url) == (False, DEFAULT_BASE_URL)


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "{}", '{"base_url": 1, "api_key": "k", "account": "a"}'])
def test_a_former_file_that_is_none_is_as_if_nobody_had_signed_in(folder: Path, text: str) -> None:
    (folder / "signin.json").write_text(text)
    assert Context.resolve().base_url == DEFAULT_BASE_URL
    assert profiles.forget(folder, "default")
    assert not (folder / "signin.json").exists()


@pytest.mark.parametrize("slip", ["[default", "api_key", "[us]", "\xff"])
def test_a_file_with_a_slip_in_it_is_never_written_over(folder: Path, slip: str) -> None:
    file = profiles.write(folder, Profile("us", FAR, "far-key", "acme"))
    file.write_bytes(file.read_bytes() + slip.encode("latin-1") + b"\n")
    was = file.read_bytes()
    assert profiles.read(folder) == {}
    with pytest.raises(FailedPrecondition, match=re.escape(str(file))) as refused:
        profiles.write(folder, Profile("default", FAR, "k", "acme"))
    assert "mend that file" in refused.value.text
    assert "far-key" not in refused.value.text
    shown = CliRunner().invoke(main, ["signout", "-p", "us"])
    assert (shown.exit_code, str(file) in shown.stderr, file.read_bytes() == was) == (1, True, True)


def test_a_file_that_cannot_be_read_is_never_written_over(folder: Path) -> None:
    (folder / profiles.FILE).mkdir()
    assert profiles.read(folder) == {}
    with pytest.raises(FailedPrecondition, match="cannot be read: Is a directory"):
        profiles.write(folder, Profile("default", FAR, "k", "acme"))
    with pytest.raises(FailedPrecondition):
        profiles.forget(folder, "default")


def test_a_key_that_is_refused_is_not_kept(folder: Path) -> None:
    refused = CliRunner().invoke(main, ["signin", "--base-url", "http://127.0.0.1:1", "--api-key", "k"])
    assert refused.exit_code == 1
    assert not (folder / profiles.FILE).exists()
    assert CliRunner().invoke(main, ["signout"]).output == "nobody was signed in as default\n"
    assert CliRunner().invoke(main, ["version"]).output.startswith("firedeck ")


def test_nothing_shown_of_it_has_the_key(folder: Path) -> None:
    kept = Profile("default", FAR, "far-key", "acme")
    assert "far-key" not in repr(kept)
    profiles.write(folder, kept)
    shown = CliRunner().invoke(main, ["list", "profiles"]).output
    assert [FAR in shown, "far-key" in shown, shown.endswith("Total size: 1\n")] == [True, False, True]
    assert "Page" not in shown, "it is a list without pages"


def test_a_profile_that_is_named_goes_before_the_environment_and_others_stay(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles.write(folder, Profile("default", "https://usual.example.com", "usual", "acme"))
    profiles.write(folder, Profile("prod-eu", FAR, "50%-far-key", "acme-eu"))
    monkeypatch.setenv("FIREWORKS_API_KEY", "of-the-environment")
    monkeypatch.setenv("FIREWORKS_BASE_URL", "http://env")
    named = Context.resolve(profile="prod-eu")
    assert (named.base_url, named.api_key, named.account) == (FAR, "50%-far-key", "acme-eu")
    assert (named.name, named.prod) == ("prod-eu", True)
    assert Context.resolve("http://other", profile="prod-eu").api_key == "of-the-environment"
    assert Context.resolve(api_key="given", profile="prod-eu").api_key == "given"
    monkeypatch.setenv(PROFILE_VARIABLE, "prod-eu")
    assert Context.resolve() == named
    assert Context.resolve(profile="default").base_url == "http://env"
    assert profiles.forget(folder, "prod-eu")
    assert list(profiles.read(folder)) == ["default"]


def test_either_name_that_starts_with_prod_makes_it_read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("prod-eu", "test"):
        profiles.write(folder, Profile(name, FAR, "far-key", "acme"))
    monkeypatch.setenv("FIREDECK_CONTEXT", "eu")
    assert [Context.resolve(profile=name).prod for name in ("prod-eu", "test", None)] == [True, False, False]
    assert Context.resolve(profile="prod-eu").name == "eu"
    monkeypatch.setenv("FIREDECK_CONTEXT", "prod")
    assert [Context.resolve(profile=name).prod for name in ("prod-eu", "test", None)] == [True, True, True]


def test_a_profile_that_is_not_there_is_refused_with_those_that_are(folder: Path) -> None:
    with pytest.raises(InvalidArgument) as refused:
        Context.resolve(profile="eu")
    assert "firedeck signin --profile eu makes it" in refused.value.text
    profiles.write(folder, Profile("us", FAR, "k", ""))
    shown = CliRunner().invoke(main, ["-p", "eu", "list", "deployments"])
    assert (shown.exit_code, "there are us" in shown.output) == (2, True)
    shown = CliRunner().invoke(main, ["signin", "-p", "[x]", "--api-key", "k"])
    assert (shown.exit_code, "no name for a profile" in shown.output) == (2, True)


def test_a_command_asks_the_engine_of_its_profile(folder: Path) -> None:
    profiles.write(folder, Profile("dead", "http://127.0.0.1:9", "k", ""))
    for words in (["-p", "dead", "list", "models"], ["model", "list", "--profile=dead"], ["whoami", "-p", "dead"]):
        assert "no answer from http://127.0.0.1:9" in CliRunner().invoke(main, words).output


@pytest.mark.parametrize("words", [["model", "list"], ["model", "delete", "m", "--dry-run"]])
def test_a_command_without_an_answer_tells_of_the_simulated_fleet_of_the_same_folder(
    folder: Path, words: list[str]
) -> None:
    (folder / "simulated").mkdir()
    (folder / "simulated" / "engine.url").write_text("http://127.0.0.1:9700\n")
    (folder / "engine.url").write_text("http://127.0.0.1:9\n")
    shown = CliRunner().invoke(main, words)
    assert f"http://127.0.0.1:9700: FIREDECK_DATA_DIR={folder}/simulated" in shown.stderr
