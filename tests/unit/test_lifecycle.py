"""The state that a deployment shows: legal edges only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control.backoff import FAILURES_UNTIL_FAILED, Backoff
from engine.control.lifecycle import CREATING, DELETED, DELETING, FAILED, READY, UPDATING, Facts, state

EDGES = {
    CREATING: {CREATING, READY, FAILED, DELETING, DELETED},
    READY: {READY, UPDATING, FAILED, DELETING, DELETED},
    UPDATING: {UPDATING, READY, FAILED, DELETING, DELETED},
    # Somebody changed it: tried anew, or rolled out once more.
    FAILED: {FAILED, READY, CREATING, UPDATING, DELETING, DELETED},
    DELETING: {DELETING, DELETED, CREATING, READY, FAILED},  # undelete goes back through CREATING
    DELETED: {DELETED, DELETING, CREATING, READY, FAILED},
}


@st.composite
def facts(draw) -> Facts:
    living = draw(st.integers(0, 4))
    return Facts(
        deleted=draw(st.booleans()), desired=draw(st.integers(0, 4)), living=living,
        ready=draw(st.integers(0, living)), old=draw(st.integers(0, living)), **failed(draw(st.integers(0, 7))),
        stopped=draw(st.booleans()), may_rest=draw(st.booleans()),
    )  # fmt: skip


def failed(failures: int) -> dict[str, bool]:
    starts = Backoff(failures)
    return {"failing": starts.failing, "hopeless": starts.hopeless}


def given_facts(*, failures: int = 0, **known) -> Facts:
    return Facts(**{"deleted": False, "desired": 1, "living": 1, "ready": 1, "old": 0, **failed(failures), **known})


@given(st.sampled_from(sorted(EDGES)), st.lists(facts(), max_size=10))
def test_only_legal_edges_are_taken_whatever_happens(former, history):
    for now in history:
        shown = state(former, now)
        assert shown in EDGES[former]
        assert (shown in {DELETING, DELETED}) == now.deleted
        former = shown


@given(st.sampled_from(sorted(EDGES)), facts())
def test_the_state_settles_at_once_while_the_facts_stay(former, now):
    once = state(former, now)
    assert state(once, now) in {once, *([UPDATING] if once == READY else [])}


@pytest.mark.parametrize("former", [READY, UPDATING])
def test_a_deployment_scaled_to_zero_stays_ready(former):
    assert state(former, given_facts(desired=0, living=0, ready=0)) == READY


def test_scaling_alone_does_not_change_the_state():
    assert state(READY, given_facts(desired=4, living=2, ready=1)) == READY


def test_a_ready_deployment_whose_replicas_died_is_ready_until_starts_have_failed_five_times():
    for failures in range(FAILURES_UNTIL_FAILED):
        assert state(READY, given_facts(ready=0, failures=failures)) == READY
    assert FAILURES_UNTIL_FAILED == 5
    assert state(READY, given_facts(ready=0, failures=5)) == FAILED


def test_failed_starts_do_not_fail_a_deployment_that_still_has_a_ready_replica():
    assert state(READY, given_facts(desired=2, living=1, ready=1, failures=9)) == READY


def test_a_new_deployment_is_creating_until_its_first_replica_is_ready():
    assert state(CREATING, given_facts(ready=0)) == CREATING
    assert state(CREATING, given_facts(ready=1)) == READY


def test_a_deployment_created_with_no_replicas_is_ready_at_once():
    assert state(CREATING, given_facts(desired=0, living=0, ready=0)) == READY


def test_a_failed_deployment_goes_on_being_tried_and_may_become_ready():
    assert state(FAILED, given_facts(ready=0, failures=1)) == FAILED
    assert state(FAILED, given_facts(ready=1, failures=0)) == READY


def test_a_failed_deployment_whose_failures_were_forgotten_is_being_created_again():
    assert state(FAILED, given_facts(ready=0, failures=0)) == CREATING
    assert state(FAILED, given_facts(ready=0, failures=0, desired=0)) == READY
    assert state(FAILED, given_facts(ready=0, failures=0, desired=0, may_rest=False)) == FAILED


def test_what_has_never_answered_is_not_ready_because_nothing_is_wanted_of_it():
    for former in (CREATING, DELETED):
        assert state(former, given_facts(desired=0, living=0, ready=0, may_rest=False)) == CREATING
    assert state(CREATING, given_facts(desired=0, ready=1, may_rest=False)) == READY
    assert state(READY, given_facts(desired=0, living=0, ready=0, may_rest=False)) == READY


def test_a_roll_out_that_was_stopped_is_ready_while_the_former_settings_serve_and_updating_once_it_goes_on():
    assert state(UPDATING, given_facts(old=1, stopped=True)) == READY
    assert state(READY, given_facts(old=1, stopped=True)) == READY
    assert state(READY, given_facts(old=1)) == UPDATING


def test_a_stopped_roll_out_whose_former_settings_do_not_start_either_is_failed_like_any_other():
    assert state(READY, given_facts(ready=0, old=1, failures=4, stopped=True)) == READY
    assert state(READY, given_facts(ready=0, old=1, failures=5, stopped=True)) == FAILED
    assert state(FAILED, given_facts(old=1, failures=5, stopped=True)) == READY


def test_a_change_of_settings_shows_updating_until_the_old_replicas_are_gone():
    assert state(READY, given_facts(desired=2, living=3, ready=2, old=2)) == UPDATING
    assert state(UPDATING, given_facts(desired=2, living=2, ready=2, old=0)) == READY


@pytest.mark.parametrize("former", sorted(EDGES))
def test_deletion_wins_over_everything_and_is_done_when_nothing_lives(former):
    assert state(former, given_facts(deleted=True, living=1, failures=9)) == DELETING
    assert state(former, given_facts(deleted=True, living=0, ready=0, failures=9)) == DELETED
