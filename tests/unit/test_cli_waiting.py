"""`--wait`: each stage is told once, the end is told, and no wait is longer than it may be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import click
import pytest
from click.testing import CliRunner

from client.cli import waiting
from client.cli.options import quiet_option, shared
from client.cli.waiting import until, wait_options
from client.errors import DeadlineExceeded

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
    await until(stages.look, LONG, "never", "look")
    assert capsys.readouterr() == ("", "a\nb\na\ndone\n")
    assert stages.looks == 5


async def test_quiet_waits_as_long_and_tells_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    stages = Stages(("a", False), ("done", True))
    await until(stages.look, LONG, "never", "look", quiet=True)
    assert capsys.readouterr() == ("", "")
    assert stages.looks == 2


async def test_the_end_of_patience_says_what_was_not_reached_and_how_far_it_was() -> None:
    stages = Stages(("half", False))
    with pytest.raises(DeadlineExceeded, match=r"^it was not READY within 50ms: half$") as late:
        await until(stages.look, timedelta(milliseconds=50), "it was not READY", "look again")
    assert late.value.hint == "it is not given up; look again"


async def test_who_has_no_patience_looks_once() -> None:
    await until(Stages(("done", True)).look, timedelta(0), "never", "look")
    with pytest.raises(DeadlineExceeded):
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
