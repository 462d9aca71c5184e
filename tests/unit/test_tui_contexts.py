"""Names over several contexts, their pictures as one, and the source that joins them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from client.config import Context
from client.errors import InvalidArgument, NotFound, Unavailable
from client.fleet_types import Event
from client.router_types import Router, RouterTarget, WeightedRoutes
from tests.unit.test_tui_core import snapshot, status
from tui import cli
from tui.core import commands, contexts, grouping, placed, placing
from tui.core import filter as filters
from tui.core.actions import ACTIONS
from tui.core.inbox import Inbox
from tui.core.inbox_file import InboxFile
from tui.core.journal import Entry
from tui.core.query import View
from tui.core.snapshot import Picture
from tui.fleets import Fleets
from tui.sources.joined import JoinedSource, joined
from tui.sources.rehearsal import RehearsalSource

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
CHAT = "accounts/local/deployments/chat"
NAMES = st.text(st.characters(blacklist_characters="/:"), min_size=1, max_size=12)
WIRE = st.from_regex(r"accounts/[a-z0-9-]{1,12}/(deployments|deployedModels|routers)/[a-z0-9-]{1,20}", fullmatch=True)


def rehearsals(*names):
    return {name: RehearsalSource(lambda: NOW, context=Context(f"http://{name}", name=name)) for name in names}


@given(NAMES, WIRE)
def test_a_name_that_is_held_comes_apart_into_what_it_was_made_of(context, name):
    held = placed.join(context, name)
    assert (placed.context_of(held), placed.plain(held)) == (context, name)
    assert placed.plain_model(f"accounts/fireworks/models/m#{held}") == f"accounts/fireworks/models/m#{name}"
    assert placed.short(held) == f"{context}:{name.rpartition('/')[2]}"
    placed.check([context])


@given(WIRE)
def test_in_one_context_alone_names_are_as_they_are_on_the_wire(name):
    assert placed.join("", name) == name == placed.plain(name)
    assert placed.context_of(name) == ""
    assert placed.short(name) == name.rpartition("/")[2]


@pytest.mark.parametrize("names", [["a/b"], ["a:b"], [""], ["eu", "eu"]])
def test_contexts_whose_names_cannot_tell_them_apart_are_refused(names):
    with pytest.raises(InvalidArgument):
        placed.check(names)


def test_every_deployment_in_a_record_is_called_as_it_is_held_and_nothing_else_is():
    routes = WeightedRoutes(targets=[RouterTarget(deployment=CHAT, weight=1.0)])
    router = Router(name="accounts/local/routers/canary", weighted=routes)
    held = placing.placed(router, "eu")
    assert held.name == "eu:accounts/local/routers/canary"
    assert held.weighted.targets[0].deployment == f"eu:{CHAT}"
    assert router.weighted.targets[0].deployment == CHAT, "what came is not changed"
    told = Event(seq=1, time=NOW, deployment=CHAT, kind="Normal", reason="R", message=f"{CHAT} was made")
    assert placing.placed(told, "eu").message == f"{CHAT} was made"


def pictures(*lost):
    found = {}
    for name in ("eu", "us"):
        seen = Picture().seen(placing.placed_snapshot(snapshot(status("chat"), status(f"own-{name}")), name), NOW)
        found[name] = seen.lost("gone", NOW, NOW, 1) if name in lost else seen
    return found


def test_the_picture_of_all_lives_while_any_does_and_says_how_old_the_rows_of_the_silent_are():
    parts, later = pictures("us"), NOW + timedelta(seconds=3)
    whole = contexts.whole(parts, later)
    assert whole.link.lost_at is None
    assert len(whole.rows) == len({row.name for row in whole.rows}) == 4
    assert [whole.status(row.name).deployment.name for row in whole.rows] == [row.name for row in whole.rows]
    assert {row.context: row.stale for row in contexts.aged(parts, later)} == {"eu": "", "us": "3s"}
    assert contexts.standing(parts["us"], later) == ("✖ LOST 3s", "failed")
    assert contexts.standing(parts["eu"], later) == ("● live", "healthy")
    assert contexts.standing(Picture(), later)[0] == "◐ connecting"
    assert contexts.whole(pictures("eu", "us"), later).link.lost_at == NOW


def test_rows_are_filtered_and_grouped_by_context():
    rows = contexts.whole(pictures(), NOW).rows
    assert [row.name.partition(":")[0] for row in filters.select(rows, View(text="context:us"))] == ["us", "us"]
    groups = [row.id for row in grouping.grouped(rows, "context") if row.state == grouping.GROUP]
    assert groups == ["eu (2)", "us (2)"]
    assert grouping.following("account", several=True) == "context"
    assert grouping.following("account") == ""


def test_a_command_may_call_by_its_id_alone_what_no_two_contexts_have():
    rows = contexts.whole(pictures(), NOW).rows
    found = contexts.targets(rows)
    assert set(found) == {"eu:chat", "us:chat", "own-eu", "eu:own-eu", "own-us", "us:own-us"}
    assert found["us:chat"].startswith("us:accounts/")
    assert commands.completions("context ", ACTIONS, list(found), ["eu", "us"]) == ("context eu", "context us")
    assert commands.completions("scale us:c", ACTIONS, sorted(found), ["eu"]) == ("scale us:chat",)


def test_alerts_of_a_context_that_has_not_answered_stay_seen_and_each_file_has_its_own(tmp_path):
    known = {"eu": "eu http://eu", "us": "us http://us"}
    file, alone = InboxFile(tmp_path / "inbox.json", known), InboxFile(tmp_path / "inbox.json", {"": "us http://us"})
    inbox = Inbox(seen={("FAILED", f"eu:{CHAT}"): None, ("FAILED", f"us:{CHAT}"): None})
    assert file.write(inbox) == ""
    assert file.read().seen == inbox.seen
    assert list(alone.read().seen) == [("FAILED", CHAT)], "the same, when this context is shown alone"
    after, _ = inbox.taken(snapshot(), NOW, "eu")
    assert list(after.seen) == [("FAILED", f"us:{CHAT}")], "eu says that it is over; us has not said anything yet"


def test_what_was_done_in_another_context_is_not_done_to_a_deployment_of_that_name_here():
    fleets = Fleets(joined(rehearsals("eu", "us")), readonly=False)
    done = Entry(NOW, "ada", "us http://us", "scale", CHAT, {}, {}, "ok")
    found = fleets.held([done, replace(done, context="elsewhere http://x")])
    assert [entry.target for entry in found] == [f"us:{CHAT}"]


async def test_what_is_asked_of_a_deployment_goes_to_its_own_context_alone():
    sources = rehearsals("eu", "us")
    whole = JoinedSource(sources)
    await whole.scale(f"us:{CHAT}", 2)
    assert sources["us"].fleet[CHAT].desired == 2
    assert "scale" not in sources["eu"].calls
    assert (await whole.get(f"eu:{CHAT}")).name == f"eu:{CHAT}"
    assert (await whole.history(f"eu:{CHAT}", 10)).deployment == f"eu:{CHAT}"
    loaded = await whole.load_adapter("accounts/local/models/support-tone", f"eu:{CHAT}")
    assert loaded.name.startswith("eu:accounts/local/deployedModels/")
    await whole.unload_adapter(loaded.name)
    assert "load_adapter" not in sources["us"].calls
    body = {"model": f"accounts/fireworks/models/m#us:{CHAT}", "messages": [{"role": "user", "content": "hello"}]}
    assert [chunk async for chunk in whole.chat(body)]
    with pytest.raises(NotFound, match="of none of the contexts"):
        await whole.get(CHAT)
    with pytest.raises(AttributeError, match="asked of a member"):
        await whole.nodes()


async def test_one_context_that_does_not_answer_keeps_no_other_back():
    sources = rehearsals("eu", "us")
    whole = JoinedSource(sources)
    for source in sources.values():
        await source.scale(CHAT, 2)
    sources["us"].fault = Unavailable("down")
    assert {one.deployment.name.partition(":")[0] for one in (await whole.snapshot()).deployments} == {"eu"}
    assert {event.deployment for event in await whole.events(None, 500)} >= {f"eu:{CHAT}"}
    sources["eu"].fault = Unavailable("down too")
    with pytest.raises(Unavailable, match=r"eu: down too; us: down"):
        await whole.snapshot()


@pytest.fixture
def _file(tmp_path, monkeypatch):
    path = tmp_path / "dashboard.toml"
    path.write_text('[contexts.eu]\nbase-url = "http://eu"\n[contexts.us]\nbase-url = "http://us"\n')
    monkeypatch.setenv("FIREDECK_DASHBOARD_CONFIG", str(path))


@pytest.mark.usefixtures("_file")
def test_scripts_get_all_contexts_in_one_table_or_object():
    ended = CliRunner().invoke(cli.dashboard, ["--rehearse", "--all-contexts", "--once"])
    assert ended.exit_code == 0, ended.output
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("firedeck, 2 of 2 contexts")
    assert lines[1].startswith("CONTEXT")
    assert [line.split()[0] for line in lines[2:6]] == ["eu", "us", "eu", "us"]
    ended = CliRunner().invoke(cli.dashboard, ["--rehearse", "--context", "eu", "--context", "us", "--json"])
    found = json.loads(ended.stdout)["contexts"]
    assert {one["deployments"][0]["deployment"]["name"] for one in found.values()} == {CHAT}


@pytest.mark.usefixtures("_file")
@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--deployment", "chat"], "write eu:chat"), (["--base-url", "http://x"], "each say which engine"),
        (["--api-key", "x"], "are of one context"),
        (["--prometheus", "http://x"], "of which context"), (["--context", "eu", "--all-contexts"], ""),
    ],
)  # fmt: skip
def test_options_of_one_context_are_refused_for_several(more, told):
    ended = CliRunner().invoke(cli.dashboard, ["--rehearse", "--all-contexts", "--once", *more])
    assert (ended.exit_code == 2) == bool(told)
    assert told in ended.stderr
