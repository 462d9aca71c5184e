"""`--wait`: each stage is told once, the end is told, and no wait is longer than it may be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner

from client import waiting
from client.cli.options import quiet_option, shared
from client.cli.waiting import teller, wait_options
from client.config import Context
from client.errors import Unavailable, WaitedTooLong
from client.http import Transport
from client.resources import Client
from client.waiting import until

LONG = timedelta(days=365)


class Stages:
    """What each look finds; the last one for ever."""

    def __init__(self, *stages: tuple[str, bool]) -> None:
        self._stages: Iterator[tuple[str, bool]] = iter(stages)
        self._now = ("", False)
        self.looks = 0

    async def look(self) -> tuple[str, bool]:
        self.looks += 1
        self._now = next(self._stages, self._now)
        return self._now


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "POLL_S", 0.0)


async def test_every_new_stage_is_told_once_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    stages = Stages(("a", False), ("a", False), ("b", False), ("a", False), ("done", True))
    await until(stages.look, LONG, "never", "look", teller())
    assert capsys.readouterr() == ("", "a\nb\na\ndone\n")
    assert stages.looks == 5


async def test_quiet_waits_as_long_and_tells_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    stages = Stages(("a", False), ("done", True))
    await until(stages.look, LONG, "never", "look", teller(quiet=True))
    assert capsys.readouterr() == ("", "")
    assert stages.looks == 2


async def test_the_end_of_patience_says_what_was_not_reached_and_how_far_it_was() -> None:
    stages = Stages(("half", False))
    with pytest.raises(WaitedTooLong, match=r"^it was not READY within 50ms: half$") as late:
        await until(stages.look, timedelta(milliseconds=50), "it was not READY", "look again")
    assert late.value.hint == "it is not given up; look again"


async def test_who_has_no_patience_looks_once() -> None:
    await until(Stages(("done", True)).look, timedelta(0), "never", "look")
    with pytest.raises(WaitedTooLong):
        await until(Stages(("a", False), ("done", True)).look, timedelta(0), "never", "look")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], (None, "text")), (["--wait"], (timedelta(minutes=30), "text")), (["--wait-timeout", "5s"], (None, "text")),
        (["--wait", "--wait-timeout", "1m30s", "-q"], (timedelta(seconds=90), "quiet")),
        (["-o", "json"], (None, "json")), (["--quiet"], (None, "quiet")),
    ],
)  # fmt: skip
def test_the_options_reach_the_command_as_patience_and_output(words: list[str], expected: tuple) -> None:
    seen = []

    @click.command()
    @wait_options("some day", "30m")
    @quiet_option("Little.")
    @shared
    def command(patience: timedelta | None, output: str, **rest: object) -> None:
        seen.append((patience, output))

    assert CliRunner().invoke(command, words).output == ""
    assert seen == [expected]
    for wrong, told in (
        (["--wait-timeout", "soon"], "is not a duration"),
        (["-q", "-o", "json"], "exclude each other"),
    ):
        refused = CliRunner().invoke(command, wrong)
        assert (refused.exit_code, told in refused.output) == (2, True)


BEFORE, CHANGED = "2026-11-20T12:00:00Z", "2026-11-20T12:00:05Z"


def looks_at(*seen: dict[str, Any]) -> Client:
    """A client of an engine that answers each look at a deployment, changed at `CHANGED`, with the next of these."""
    left = iter(seen)

    def answer(request: httpx.Request) -> httpx.Response:
        shown = {"observedUpdateTime": CHANGED, "wanted": 1, "ready": 1, "conditions": []} | next(left)
        deployment = {
            "name": "accounts/local/deployments/chat", "state": shown["state"], "updateTime": CHANGED,
            "desiredReplicaCount": shown["wanted"], "replicaCount": shown["ready"],
            "replicaStats": {"readyReplicaCount": shown["ready"]}, "baseModel": "m",
        }  # fmt: skip
        own = {key: shown[key] for key in ("observedUpdateTime", "conditions")}
        return httpx.Response(200, json={"deployment": deployment, "stats": {"windowS": 30}, **own})

    context = Context("http://engine", "k")
    return Client(context, Transport("http://engine", "k", transport=httpx.MockTransport(answer)))


@pytest.mark.parametrize("stale", ["READY", "FAILED"])
async def test_the_state_of_before_a_change_is_not_taken_for_the_one_after(
    stale: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client = looks_at(
        {"state": stale, "observedUpdateTime": BEFORE}, {"state": "UPDATING", "ready": 2},
        {"state": "READY", "wanted": 2}, {"state": "READY"},
    )  # fmt: skip
    found = await client.wait.settled("chat", LONG, teller())
    assert (found.state, found.replica_count) == ("READY", 1)
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "the engine takes over the change"
    assert [line.partition(":")[0] for line in told[1:]] == ["UPDATING", "READY", "READY"]


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ({"state": "FAILED"}, "failed"),
        (
            {"state": "READY", "conditions": [{"type": "RolloutStopped", "reason": "R", "message": "no start"}]},
            "no start",
        ),
    ],
)
async def test_a_change_that_cannot_come_about_ends_the_wait_with_the_reason(seen: dict[str, Any], why: str) -> None:
    with pytest.raises(Unavailable, match=why):
        await looks_at(seen).wait.settled("chat", LONG)
