"""What is read again and again stands in the audit log as a first record and numbers, every read counted once."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from engine.access.reads import OVER_AFTER_S, REMEMBERED_MAX, SUMMED_UP_EVERY_S, Reads
from engine.access.sweeping import SWEEP_EVERY_S
from engine.clock import FakeClock
from engine.telemetry.audit import TEXT_MAX, Seen

READ = Seen(
    change=False, account="local", principal="admin", method="GET", message="GetFleet", resource="accounts/local/fleet",
    code="OK", detail="", admin=False, key_id="admin", client_ip="127.0.0.1", user_agent="firedeck",
)  # fmt: skip


class Room:
    """Reads on a clock that stands still, and what they have put into the log."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.log: list[Seen] = []
        self.reads = Reads(self.log.append, self.clock)

    def later(self, seconds: float) -> None:
        """The clock goes on, with a look at it as often as the engine looks."""
        for _ in range(round(seconds / SWEEP_EVERY_S)):
            self.clock.advance(SWEEP_EVERY_S)
            self.reads.sweep()

    @property
    def details(self) -> list[str]:
        return [seen.detail for seen in self.log]

    def counted(self) -> int:
        """The reads that the records tell of."""
        return sum(int(text.split()[0]) if " more in " in text else 1 for text in self.details)


def test_the_first_is_recorded_at_once_and_the_others_as_one_number_when_they_have_stopped_for_a_minute() -> None:
    room = Room()
    for _ in range(38):
        room.reads.note(READ)
        room.later(SWEEP_EVERY_S)
    assert room.log == [READ]
    room.later(OVER_AFTER_S)
    assert room.log == [READ, replace(READ, detail="37 more in 185 s")]
    room.reads.note(READ)
    assert room.log[2:] == [READ], "a first one again"
    room.later(2 * OVER_AFTER_S)
    assert len(room.log) == 3, "there is no number of none"


def test_a_dashboard_left_open_for_half_a_day_is_a_few_records_an_hour() -> None:
    room, hours, asked = Room(), 12, ("GetFleet", "ListEvents", "ListModels")
    for _ in range(round(hours * 3600 / SWEEP_EVERY_S)):
        for message in asked * 5:  # once a second
            room.reads.note(replace(READ, message=message))
        room.later(SWEEP_EVERY_S)
    assert len(room.log) <= len(asked) * (1 + hours)
    room.later(OVER_AFTER_S)
    assert room.counted() == hours * 3600 * len(asked)
    assert room.reads._known == {}


@pytest.mark.parametrize(
    "other",
    [
        {"account": "elsewhere"}, {"key_id": "k7"}, {"principal": "ada"}, {"client_ip": "192.0.2.1"},
        {"method": "POST"}, {"message": "GetDeployment"}, {"resource": "accounts/local/deployments/chat"},
        {"user_agent": "curl"}, {"code": "NOT_FOUND", "detail": "deployment '...' does not exist"},
    ],
)  # fmt: skip
def test_who_reads_what_from_where_with_what_outcome_is_told_apart(other: dict[str, str]) -> None:
    room = Room()
    for _ in range(3):
        room.reads.note(READ)
        room.reads.note(replace(READ, **other))
    assert room.log == [READ, replace(READ, **other)]
    room.later(OVER_AFTER_S)
    assert [(s.code, s.detail) for s in room.log[2:]] == [(s.code, "2 more in 0 s") for s in room.log[:2]]


def test_ever_more_resources_take_no_more_memory_and_stand_in_the_log_each() -> None:
    room, many = Room(), 3 * REMEMBERED_MAX
    room.reads.note(READ)
    room.reads.note(READ)
    for number in range(many):
        room.reads.note(replace(READ, resource=f"accounts/local/models/{number}" + "x" * 10_000))
    assert len(room.reads._known) == REMEMBERED_MAX
    assert all(len(seen.resource) <= TEXT_MAX for seen in room.reads._known)
    assert len({seen.resource for seen in room.log}) == 1 + many
    assert room.counted() == 2 + many, "the one that was pushed out has been summed up"


def test_what_is_read_all_the_time_is_not_pushed_out_by_what_is_read_once() -> None:
    room = Room()
    for number in range(3 * REMEMBERED_MAX):
        room.reads.note(READ)
        room.reads.note(replace(READ, resource=f"accounts/local/models/{number}"))
    assert room.log.count(READ) == 1
    assert len(room.log) == 1 + 3 * REMEMBERED_MAX


@pytest.mark.parametrize("seed", range(5))
def test_whatever_comes_every_read_is_counted_once(seed: int) -> None:
    dice, room, sent = random.Random(seed), Room(), 0
    for _ in range(200):
        for _ in range(dice.randrange(200)):
            room.reads.note(replace(READ, resource=str(dice.randrange(dice.choice([1, 20, 3000])))))
            sent += 1
        room.later(dice.choice([0, SWEEP_EVERY_S, OVER_AFTER_S, SUMMED_UP_EVERY_S / 4]))
    room.later(OVER_AFTER_S)
    assert room.counted() == sent, f"seed {seed}"


async def test_numbers_are_written_while_the_engine_runs_and_the_rest_when_it_ends() -> None:
    room = Room()
    room.reads.open()
    for _ in range(5):
        room.reads.note(READ)
    while room.details[1:] != ["4 more in 0 s"]:
        await asyncio.sleep(0)
        room.clock.advance(SWEEP_EVERY_S)
    room.reads.note(READ)
    room.reads.note(READ)
    await room.reads.close()
    await room.reads.close()
    assert room.details[2:] == ["", "1 more in 0 s"]
