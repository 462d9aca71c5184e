"""The scheduler's inbox: commands in their order, jobs counted until they are over, and an end."""

from __future__ import annotations

from typing import Any

import pytest

from client.errors import ResourceExhausted, Unavailable
from engine.replica.inbox import MAX_JOBS, Inbox
from tests.unit.replica_fakes import job, new_scheduler


def broken() -> None:
    raise RuntimeError("a bug")


def test_commands_are_carried_out_in_their_order_those_too_that_come_meanwhile() -> None:
    inbox, done = Inbox(), []  # type: tuple[Inbox, list[int]]
    inbox.put(lambda: inbox.put(lambda: done.append(3)))
    inbox.take_in(2, lambda: done.append(1))
    inbox.put(lambda: done.append(2))
    inbox.obey(wait=True)
    assert done == [1, 2, 3]


def test_at_the_end_a_command_that_raises_keeps_none_from_being_carried_out() -> None:
    inbox, done = Inbox(), []  # type: tuple[Inbox, list[int]]
    for command in (broken, lambda: done.append(1), broken, lambda: done.append(2)):
        inbox.put(command)
    inbox.obey_all()
    assert done == [1, 2]


def test_jobs_count_until_they_are_over_and_no_part_of_a_request_is_taken_in() -> None:
    inbox = Inbox()
    inbox.take_in(MAX_JOBS - 1, broken)
    with pytest.raises(ResourceExhausted):
        inbox.take_in(2, broken)
    assert inbox.jobs == MAX_JOBS - 1
    inbox.ended()
    inbox.take_in(2, broken)
    assert inbox.jobs == MAX_JOBS


def test_a_closed_one_takes_in_no_jobs() -> None:
    inbox = Inbox()
    inbox.close()
    with pytest.raises(Unavailable):
        inbox.take_in(1, broken)
    assert inbox.jobs == 0


def test_work_that_comes_after_a_long_pause_is_not_late_already() -> None:
    scheduler: Any = new_scheduler()
    scheduler._progress_at = scheduler._inbox.busy_since = -1e9
    scheduler.submit([job([1, 2])])
    assert scheduler.last_progress_age_s < 1e6
