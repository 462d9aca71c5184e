"""What tells a wedged replica from one that is only busy: progress, seen twice."""

from __future__ import annotations

from engine.control.backoff import Backoff
from engine.control.reconcile import LOAD_STALLED_AFTER_S, STALLED_AFTER_S, Declared, Do, Observed, Stage, steps
from engine.fleet.vitals import Vitals

DECLARED = Declared(1, "g")
CALM = Backoff()


def told(vitals: Vitals, now: float) -> list[Do]:
    seen = Observed(
        "r", Stage.READY, "g", alive=True, in_flight=1, call_s=vitals.call_s, **vitals.ages(now)._asdict()
    )  # fmt: skip
    return [step.do for step in steps(DECLARED, [seen], CALM, now)]


def report(age_s: float, tokens: int, **more: float) -> dict[str, float]:
    return {"running": 1, "waiting": 0, "last_progress_age_s": age_s, "progress_tokens": tokens, **more}


def test_a_long_prompt_is_no_wedge_however_long_it_takes():
    vitals = Vitals(0)
    for second in range(600):
        vitals.take(report(second % 20, 512 * (second // 20)), second)
        assert told(vitals, second) == []


def test_work_without_progress_is_a_wedge_although_every_look_is_answered():
    vitals = Vitals(0)
    for second in range(40):
        vitals.take(report(second, 7), second)
        assert (told(vitals, second) == []) == (second <= STALLED_AFTER_S)


def test_a_model_whose_single_call_takes_long_has_the_time_of_several():
    vitals = Vitals(0)
    for second in range(100):
        vitals.take(report(second, 7, longest_call_ms=20_000), second)
        assert (told(vitals, second) == []) == (second <= 80)


def test_embeddings_count_no_generated_tokens_and_are_no_wedge_while_their_own_age_is_small():
    vitals = Vitals(0)
    for second in range(200):
        vitals.take(report(1.0, 0), second)
        assert told(vitals, second) == []


def test_a_replica_that_says_it_is_idle_while_a_request_waits_in_it_has_lost_that_request():
    vitals = Vitals(0)
    vitals.asked(0)
    for second in range(40):
        vitals.take({"running": 0, "waiting": 0, "last_progress_age_s": 0.0, "progress_tokens": 3}, second)
        assert (told(vitals, second) == []) == (second <= STALLED_AFTER_S)


def test_a_request_whose_answer_has_begun_is_owed_nothing_however_slowly_its_client_reads():
    vitals = Vitals(0)
    vitals.answered(vitals.asked(0))
    for second in range(200):
        vitals.take({"running": 0, "waiting": 0}, second)
        assert told(vitals, second) == []


def test_a_request_that_waited_its_turn_is_not_lost_when_the_replica_has_only_just_become_idle():
    vitals = Vitals(0)
    vitals.asked(0)
    for second in range(100):
        vitals.take(report(0.1, second), second)
    vitals.take({"running": 0, "waiting": 0, "last_progress_age_s": 0.0}, 100)
    assert told(vitals, 100.5) == []


def starting(vitals: Vitals, now: float) -> list[str]:
    seen = Observed("r", Stage.INITIALIZING, "g", alive=True, call_s=vitals.call_s, **vitals.ages(now)._asdict())
    return [step.why for step in steps(DECLARED, [seen], CALM, now)]


def test_a_loader_that_goes_on_now_and_then_is_left_alone_and_one_that_does_not_is_given_up_after_a_minute():
    vitals = Vitals(0)
    for second in range(400):
        vitals.take({"status": "loading", "last_progress_age_s": float(second % 50)}, second)
        assert starting(vitals, second) == []
    for second in range(400, 480):
        vitals.take({"status": "loading", "last_progress_age_s": second - 399.0}, second)
        given_up = second - 399 > LOAD_STALLED_AFTER_S
        assert bool(starting(vitals, second)) == given_up
    assert starting(vitals, 479)[0].endswith("while it started")


def test_one_that_fell_silent_while_it_loads_is_given_up_and_one_that_has_not_answered_yet_is_waited_for():
    vitals = Vitals(0)
    assert starting(vitals, 500) == []
    vitals.take({"status": "loading", "last_progress_age_s": 0.0}, 500)
    assert starting(vitals, 500 + LOAD_STALLED_AFTER_S) == []
    assert starting(vitals, 501 + LOAD_STALLED_AFTER_S) == ["no answer for 61s while it started"]


def test_time_that_nobody_looked_proves_nothing():
    vitals = Vitals(0)
    vitals.take(report(0.1, 7), 1)
    vitals.asked(1)
    vitals.spare(1000)
    assert told(vitals, 1000) == []
    vitals.take(report(999, 7), 1001)
    assert told(vitals, 1001) == []
    assert told(vitals, 1001 + STALLED_AFTER_S) == [Do.TERMINATE]
