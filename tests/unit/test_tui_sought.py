"""Which fleet is meant: contexts, their charts' history, recordings; what does not go together is told."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner

from client import profiles
from client.errors import InvalidArgument
from client.profiles import Profile
from tests.unit.test_tui_tape import snapshots, together
from tui import cli, sought
from tui.core import config
from tui.sources.prometheus import promql
from tui.sources.recording import recorded
from tui.sources.rehearsal import RehearsalSource
from tui.sources.replay import replayed
from tui.web import cli as web

FILE = """
context = "eu"
[contexts.eu]
base-url = "http://127.0.0.1:1"
api-key-env = "EU_KEY"
prometheus = "http://127.0.0.1:9090"
[contexts.us]
base-url = "http://127.0.0.1:2"
api-key-env = "US_KEY"
prometheus = "http://127.0.0.1:9090"
prometheus-labels = { job = "us" }
[contexts.fireworks]
base-url = "https://api.fireworks.ai"
"""
CHAT = "accounts/local/deployments/chat"


@pytest.fixture
def settings(tmp_path, monkeypatch):
    for name in ("FIREDECK_API_KEY", "FIREWORKS_API_KEY", "FIREWORKS_BASE_URL", "FIREWORKS_ACCOUNT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EU_KEY", "e")
    monkeypatch.setenv("US_KEY", "u")
    file = tmp_path / "dashboard.toml"
    file.write_text(FILE)
    monkeypatch.setenv(config.CONFIG_VARIABLE, str(file))
    return config.load(file)


def find(settings, **asked):
    return sought.sought(settings, sought.Options(**asked))


def histories(fleet):
    return {one.context.name: (one.prometheus, dict(one.labels)) for one in fleet.places}


def test_each_context_has_its_own_prometheus_server_or_its_own_series_on_one(settings):
    both = find(settings, named=["eu", "us"])
    assert histories(both) == {"eu": ("http://127.0.0.1:9090", {}), "us": ("http://127.0.0.1:9090", {"job": "us"})}
    given = find(settings, named=["eu", "us"], prometheus=["eu=http://h:1/p?a=b"])
    assert histories(given)["eu"] == ("http://h:1/p?a=b", {})
    assert histories(given)["us"] == ("http://127.0.0.1:9090", {"job": "us"})
    assert histories(find(settings, prometheus=["http://h:1"])) == {"eu": ("http://h:1", {})}


def test_the_labels_of_a_context_are_asked_for_with_every_series():
    asked = promql("queue", CHAT, {"job": 'u"s\\'})
    assert asked == f'sum(firedeck_requests_held{{deployment="{CHAT}",job="u\\"s\\\\"}})'
    assert 'job="us"' in promql("ready", CHAT, {"job": "us"})


@pytest.mark.parametrize(
    ("asked", "told", "remedy"),
    [
        ({"named": ["eu", "us"], "prometheus": ["http://h:1"]}, "of which context", "eu=http://h:1"),
        ({"named": ["eu", "us"], "prometheus": ["uk=http://h:1"]}, "no context that is shown", None),
        ({"prometheus": ["us=http://h:1"]}, "no context that is shown", None),
        ({"named": ["eu", "us"], "api_key": "k"}, "are of one context", "in the file"),
        ({"replay": "x", "named": ["eu"]}, "has its own contexts", "nothing beside"),
        ({"replay": "x", "prometheus": ["http://h:1"]}, "has its own contexts", "nothing beside"),
        ({"replay": "x", "api_key": "k"}, "has its own contexts", "no engine, key"),
        ({"replay": "x", "account": "mine"}, "has its own contexts", "no engine, key"),
        ({"named": ["eu"], "base_url": "http://h:1"}, "--context and --base-url each say", "one of them"),
        ({"every": True, "base_url": "http://h:1"}, "--all-contexts and --base-url each say", "one of them"),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_to_write(settings, asked, told, remedy):
    with pytest.raises(InvalidArgument, match=told) as refused:
        find(settings, **asked)
    assert remedy is None or remedy in refused.value.hint


@pytest.mark.parametrize(
    ("words", "told"),
    [(("--context", "eu"), "--context and --profile each say"), (("--replay", os.devnull), "has its own contexts")],
)
def test_a_profile_beside_what_names_a_fleet_already_is_refused(settings, words, told):
    ended = run(*words, "--profile", "far", "--once")
    assert (ended.exit_code, told in ended.stderr) == (2, True), ended.output


def test_a_profile_of_the_environment_goes_before_the_files_own_context(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("FIREDECK_DATA_DIR", str(tmp_path))
    profiles.write(tmp_path, Profile("far", "http://127.0.0.1:3", "f", ""))
    for variable, engine in (
        ("far", "http://127.0.0.1:3"),
        ("default", "http://127.0.0.1:1"),
        ("", "http://127.0.0.1:1"),
    ):
        monkeypatch.setenv("FIREDECK_PROFILE", variable)
        assert find(settings).places[0].context.base_url == engine
    monkeypatch.setenv("FIREDECK_PROFILE", "far")
    assert find(settings, named=["us"]).places[0].context.name == "us"


def test_two_contexts_whose_series_cannot_be_told_apart_are_refused(settings):
    same = "http://127.0.0.1:9090"
    with pytest.raises(InvalidArgument, match="cannot be told apart") as refused:
        find(settings, named=["eu", "fireworks"], prometheus=[f"fireworks={same}"])
    assert "prometheus-labels" in refused.value.hint


def run(*words):
    return CliRunner().invoke(cli.dashboard, words)


def test_a_recording_of_a_fleet_is_told_like_the_fleet(settings, tmp_path):
    file = tmp_path / "fleet.tape"
    file.write_text("".join(together(eu=snapshots(3), us=snapshots(3, seed=9))))
    shown = json.loads(run("--replay", str(file), "--json").stdout)
    names = {
        name: [one["deployment"]["name"] for one in found["deployments"]] for name, found in shown["contexts"].items()
    }
    first = {"eu": snapshots(1)[0], "us": snapshots(1, seed=9)[0]}
    assert names == {name: [one.deployment.name for one in found.deployments] for name, found in first.items()}
    assert "CONTEXT" in run("--replay", str(file), "--once").stdout


def test_the_page_that_is_opened_may_be_of_one_context_of_a_recording(tmp_path):
    file = tmp_path / "fleet.tape"
    file.write_text("".join(together(eu=snapshots(3), us=snapshots(3))))
    contexts = {name: one.context for name, one in replayed(file).items()}
    assert sought.page("us:d1", contexts) == "us:accounts/local/deployments/d1"
    with pytest.raises(InvalidArgument, match="of which context"):
        sought.page("d1", contexts)


def test_one_picture_is_no_recording(settings, tmp_path):
    ended = run("--rehearse", "--json", "--record", str(tmp_path / "t"))
    assert ended.exit_code == 2
    assert "record with --watch" in ended.stderr
    assert not (tmp_path / "t").exists()


async def test_the_lines_of_watch_may_be_recorded_besides(tmp_path):
    sources = recorded({"": RehearsalSource()}, tmp_path / "t")
    pictures = sources[""].watch()
    await anext(pictures)
    await pictures.aclose()
    await sources[""].close()
    tape = replayed(tmp_path / "t")[""].tape
    assert tape.first == tape.last, "one picture"


# In a browser.


def test_a_tab_is_told_the_whole_fleet_and_its_keys_apart_from_it(settings):
    fleet = find(settings, named=["eu", "us"])
    given = web.handed_on(fleet, readonly=True)
    told = json.loads(given[web.SETTINGS])
    assert '"e"' not in given[web.SETTINGS]
    again = sought.Sought.from_wire(told["sought"], json.loads(given[web.KEYS]))
    assert histories(again) == histories(fleet)
    assert [one.context.api_key for one in again.places] == ["e", "u"]
    assert set(again.made()) == {"eu", "us"}


def test_fireworks_among_others_bounds_the_tabs(settings):
    assert web.most_tabs(find(settings, named=["eu", "fireworks"]), 9) == web.FIREWORKS_TABS
    assert web.most_tabs(find(settings), 9) == 9


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--record", "t"), "firedeck --watch --record t"),
        (("--context", "eu", "--context", "us", "--prometheus", "http://h:1"), "eu=http://h:1"),
        (("--replay", os.devnull), "no recording of a fleet"),
    ],
)
def test_a_browser_is_refused_what_makes_no_sense_there_with_a_remedy(settings, words, told):
    ended = CliRunner().invoke(web.web, words)
    assert ended.exit_code == 2
    assert told in ended.stderr
