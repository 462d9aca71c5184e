"""What has no room is seen to be cut: a line ends in an ellipsis, or goes on below, wherever it stands."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from rich.segment import Segment

from client.fleet_types import AlertView, Condition, NodeView, Reason
from client.types import Status
from tests.tui.conftest import SIZES, START, open_deck
from tui.widgets.paint import within

CHAT = "accounts/local/deployments/chat"
LONG, SHORTER = (" ".join(["zzzz"] * words) + " END" for words in (160, 60))  # than any line
_RUN = re.compile(r"\bz{2,4}( z{1,4})*")
MOST_INDENT = 48  # of a first line, before its words: a name, a state and how long that has lasted
PAGES = ("fleet", "nodes", "events", "conditions", "alerts", "timeline", "audit")


def lose_words(stage, long=LONG):
    """Everything that a server says in words is longer than any screen."""
    source = stage.source
    for one in source.fleet.values():
        one.status = lengthened(one.status, long)
    chat = source.fleet[CHAT]
    chat.conditions = [Condition(type="RolloutStopped", reason="ROLLOUT_STOPPED", message=long, since=START)]
    source.alert_views = [
        AlertView(
            name="SlowFirstToken", deployment=CHAT, state="FIRING", severity="warning", value=0.9, threshold=0.2,
            text=long, summary=long, action=long, since=START, fired_at=START,
        )
    ]  # fmt: skip
    source._note(CHAT, "Warning", "ReplicaFailed", long, None)
    nodes = source.nodes
    source.nodes = lambda: closed(nodes)
    audit = source.audit_logs
    source.audit_logs = lambda *args, **options: refused(audit, *args, **options)


def lengthened(status, words):
    def long(*args):
        found = status(*args)
        if found.autoscaler is not None:
            found.autoscaler.reasons[:] = [Reason(code="HELD", text=words)]
        if found.deployment.status is not None:
            found.deployment.status.message = words
        return found

    return long


async def closed(nodes) -> list[NodeView]:
    return [one.model_copy(update={"closed": LONG}) for one in await nodes()]


async def refused(audit, *args, **options):
    found = await audit(*args, **options | {"reads": True})
    for one in found:
        one.status = Status(code="INTERNAL", message=LONG)
    return found


def cut_lines(text):
    """Lines that stop in the middle of words: neither an ellipsis, nor the end, nor more of it in the line below."""
    lines = [*text.splitlines(), ""]
    found = []
    for line, below in pairwise(lines):
        for run in _RUN.finditer(line):
            after, beneath = line[run.end() :].lstrip(), below[max(0, run.start() - MOST_INDENT) : run.end() + 1]
            if not after.startswith(("…", "END")) and not re.search(r"zz|END|…", beneath):
                found.append(line)
    return found


async def quiet(stage):
    """Without toasts, which lie over the lines."""
    stage.app.clear_notifications()
    await stage.settle()


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_what_has_no_room_ends_in_an_ellipsis_on_every_page(size):
    async with open_deck(size) as stage:
        lose_words(stage)
        await stage.later()
        stage.app.screen.table.choose(CHAT, by_user=True)
        for page in PAGES:
            if page == "timeline":
                stage.app.show_timeline(CHAT)
            else:
                stage.app.visit(page)
            await stage.settle()
            await stage.later(11)
            await quiet(stage)
            assert cut_lines(stage.text) == [], page
            assert "zz" in stage.text, f"{page} has words that can be cut"


@pytest.mark.parametrize("size", SIZES, ids=str)
async def test_the_page_of_a_deployment_tells_its_reasons_whole_and_its_events_with_an_ellipsis(size):
    async with open_deck(size, deployment=CHAT) as stage:
        lose_words(stage, SHORTER)
        await stage.later()
        await quiet(stage)
        assert cut_lines(stage.text) == []
        stage.app.screen.query_one("#body").scroll_end(animate=False)
        await stage.settle()
        assert "zz" in stage.text
        assert cut_lines(stage.text) == []


def test_a_line_is_cut_for_words_and_not_for_the_blanks_behind_them():
    def shown(text, width):
        return within([Segment(text[:3]), Segment(text[3:])], width).text

    assert shown("abcdef", 6) == "abcdef"
    assert shown("abcdef", 5) == "abcd…"
    assert shown("abcde   ", 5) == "abcde"
    assert shown("abcdef", 1) == "…"
    assert within([Segment("日本語")], 5).cell_length <= 5
    assert within([], 5).text == ""
