"""One decision at a time: every rule, every reason, every bound of `engine.control.autoscale`."""

from dataclasses import replace

import pytest

from engine.control.autoscale import LoadHistory, LoadSample, Memory, Observed, begin, decide, scale_to, wake
from tests.unit.test_autoscale_traces import policy

IDLE = Observed(ready=1, idle_since=0.0)


def steady(level: float, *, until: float = 0.0, **rates: float) -> LoadHistory:
    """A minute of one sample a second, the last at `until`."""
    history = LoadHistory(60)
    for i in range(61):
        history.add(LoadSample(until - 60 + i, level, **rates))
    return history


def run(spec, memory, observed, level, seconds):
    """Decide at each of `seconds` under a constant load; the decisions and the last memory."""
    decisions = []
    for now in seconds:
        decision, memory = decide(spec, memory, steady(level, until=now), observed, now)
        decisions.append(decision)
    return decisions, memory


def codes(decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


# ------------------------------------------------------------------------------------------------ targets (rule 1)


@pytest.mark.parametrize(
    ("targets", "sample", "wanted"),
    [
        ({}, {"level": 6.4}, 1),  # 0.8 x 8 slots
        ({}, {"level": 6.5}, 2),
        ({"default": 0.5}, {"level": 9}, 3),
        ({"concurrent_requests": 3}, {"level": 9}, 3),
        ({"requests_per_second": 2}, {"level": 0, "requests": 5}, 3),
        ({"tokens_generated_per_second": 150}, {"level": 0, "generated_tokens": 300}, 2),
        ({"prompt_tokens_per_second": 1000}, {"level": 0, "prompt_tokens": 3500}, 4),
    ],
)
def test_each_target_wants_its_own_count(targets, sample, wanted):
    decision, _ = decide(policy(targets=targets), Memory(), steady(**sample), IDLE, 0)
    assert [reading.wanted for reading in decision.targets] == [wanted]


def test_with_several_targets_the_one_that_wants_most_wins():
    spec = policy(up_window_s=0, targets={"concurrent_requests": 3, "requests_per_second": 1})
    decision, _ = decide(spec, begin(spec, 1, 0), steady(3, requests=4), IDLE, 0)
    assert [(r.name, r.wanted) for r in decision.targets] == [("concurrent_requests", 1), ("requests_per_second", 4)]
    assert decision.desired == 4


def test_a_target_that_is_not_measured_is_unknown_and_not_zero():
    history = LoadHistory(60)
    history.add(LoadSample(0, 2))
    spec = policy(targets={"requests_per_second": 1}, down_window_s=0)
    decision, _ = decide(spec, begin(spec, 3, -100), history, replace(IDLE, ready=3, running=2), 0)
    assert (decision.targets[0].observed, decision.targets[0].wanted) == (None, None)
    assert decision.desired == 3
    assert "METRICS_MISSING" in codes(decision)


@pytest.mark.parametrize(
    "wrong",
    [
        {"targets": {"default": 0}}, {"targets": {"qps": 1}}, {"targets": {"default": float("nan")}},
        {"slots_per_replica": 0}, {"min_replicas": -1}, {"up_window_s": float("nan")}, {"zero_window_s": -1},
    ],
)  # fmt: skip
def test_an_unusable_policy_is_refused_when_made(wrong):
    with pytest.raises(ValueError, match=r"."):
        policy(**wrong)


# ------------------------------------------------------------------------------------------------ windows (2, 4)


def test_the_sentence_for_an_operator_at_3_am():
    observed = Observed(ready=2, running=6)
    [*_, decision], _ = run(policy(), begin(policy(), 2, 0), observed, 6.1, range(0, 19))
    assert decision.text == (
        "6.1 concurrent requests over 15s, target 3 per replica: 3 wanted; "
        "waits until the load has lasted 30s (12s left)"
    )
    assert codes(decision) == ["LOAD_ABOVE_TARGET", "WAITING_SCALE_UP_WINDOW"]
    assert (decision.next_change_at, decision.next_change) == (30, "scales up from 2 to 3")


def test_up_at_the_end_of_the_window_to_the_least_that_was_wanted_in_it():
    spec = policy(panic=False, max_replicas=9)
    _, memory = run(spec, begin(spec, 1, 0), IDLE, 12, range(0, 10))
    _, memory = run(spec, memory, IDLE, 8, range(10, 20))
    [*_, before, at], _ = run(spec, memory, IDLE, 15, range(20, 31))
    assert (before.desired, at.desired) == (1, 3)
    assert codes(at)[:2] == ["LOAD_ABOVE_TARGET", "SCALED_UP"]


def test_a_single_low_reading_restarts_the_scale_up_window():
    spec = policy(panic=False)
    _, memory = run(spec, begin(spec, 1, 0), IDLE, 5, range(0, 25))
    _, memory = run(spec, memory, IDLE, 3, [25])
    decisions, _ = run(spec, memory, IDLE, 5, range(26, 57))
    assert [d.desired for d in decisions] == [1] * 30 + [2]


def test_a_scale_up_window_of_zero_acts_at_once():
    spec = policy(up_window_s=0)
    [decision], _ = run(spec, begin(spec, 1, 0), IDLE, 9, [0])
    assert decision.desired == 3


def test_down_at_the_end_of_the_window_and_to_no_less_than_half():
    spec = policy(max_replicas=9, min_replicas=1)
    observed = Observed(ready=8, running=3)
    decisions, _ = run(spec, begin(spec, 8, 0), observed, 3, [0, 1, 599, 600, 601, 1199, 1200, 1800, 2400])
    assert [d.desired for d in decisions] == [8, 8, 8, 4, 4, 4, 2, 1, 1]
    assert codes(decisions[1]) == ["LOAD_BELOW_TARGET", "WAITING_SCALE_DOWN_WINDOW"]
    assert (decisions[1].next_change_at, decisions[1].next_change) == (600, "scales down from 8 to 4")
    assert "SCALED_DOWN" in codes(decisions[3])
    assert decisions[4].next_change_at == 1200


def test_two_calls_at_one_instant_halve_once():
    spec = policy(max_replicas=9)
    decisions, _ = run(spec, begin(spec, 8, 0), Observed(ready=8, running=1), 1, [0, 600, 600, 600])
    assert [d.desired for d in decisions] == [8, 4, 4, 4]


def test_the_count_asked_for_survives_a_crash_and_a_stockout():
    spec = policy()
    decisions, _ = run(spec, begin(spec, 3, 0), Observed(ready=1, running=8), 8, range(0, 60))
    assert {d.desired for d in decisions} == {3}


def test_a_fresh_memory_takes_what_it_finds_and_waits_full_windows():
    decisions, _ = run(policy(), Memory(), Observed(ready=2, starting=1, running=1), 1, [0, 599, 600])
    assert [d.desired for d in decisions] == [3, 3, 2]


# ------------------------------------------------------------------------------------------------ panic (3)


def test_twice_the_load_of_what_is_ready_does_not_wait_and_is_not_lowered_for_a_window():
    spec = policy(down_window_s=0, max_replicas=9)
    [decision], memory = run(spec, begin(spec, 1, 0), IDLE, 7, [0])
    assert decision.desired == 3
    assert "PANIC" in codes(decision)
    after, _ = run(spec, memory, Observed(ready=3, running=1), 1, [1, 29, 30])
    assert [d.desired for d in after] == [3, 3, 1]
    assert "no scale-down for 1s after a burst" in after[1].text


def test_less_than_twice_the_load_is_no_burst_though_it_wants_twice_the_replicas():
    [decision], _ = run(policy(), begin(policy(), 1, 0), IDLE, 5.9, [0])
    assert (decision.desired, decision.targets[0].wanted) == (1, 2)


@pytest.mark.parametrize("changes", [{"panic": False}, {"up_window_s": 6}])
def test_no_panic_when_switched_off_or_the_window_is_short(changes):
    [decision], _ = run(policy(**changes), begin(policy(), 1, 0), IDLE, 30, [0])
    assert decision.desired == 1


def test_a_request_held_too_long_is_reason_to_panic():
    held = Observed(ready=1, running=3, held=2, oldest_held_s=10.1)
    [decision], _ = run(policy(), begin(policy(), 1, 0), held, 5, [0])
    assert decision.desired == 2
    assert "a request has been held for 10s: the last 6s want 2" in decision.text


# ------------------------------------------------------------------------------------------------ zero (5)


def test_a_count_set_by_hand_begins_the_window_and_not_the_time_without_requests():
    memory = scale_to(policy(), begin(policy(), 1, 0), 1, 40)
    [decision], _ = run(policy(), memory, replace(IDLE, last_request_at=0.0), 0, [44.5])
    [idle] = [reason.text for reason in decision.reasons if reason.code == "IDLE"]
    assert idle == "no requests for 44s, of which the last 4.5s count, since the count was set or a replica started"
    assert decision.next_change_at == 40 + 3600


def test_to_zero_exactly_when_the_idle_window_is_over():
    decisions, _ = run(policy(), begin(policy(), 1, 0), IDLE, 0, [0, 3599.9, 3600, 3601])
    assert [d.desired for d in decisions] == [1, 1, 0, 0]
    assert codes(decisions[0]) == ["IDLE", "WAITING_SCALE_TO_ZERO"]
    assert decisions[0].next_change == "scales from 1 to zero"
    assert decisions[2].text == "no requests for 1h: scaled from 1 to zero"
    assert decisions[3].next_change == "the next request starts a replica"


@pytest.mark.parametrize("busy", [{"running": 1}, {"held": 1}, {"missing": True}])
def test_never_to_zero_with_work_or_in_the_dark(busy):
    decisions, _ = run(policy(), begin(policy(), 1, 0), replace(IDLE, **busy), 0, [0, 9999])
    assert decisions[-1].desired == 1


def test_a_minimum_above_zero_ignores_the_idle_window():
    spec = policy(min_replicas=1)
    decisions, _ = run(spec, begin(spec, 1, 0), IDLE, 0, [0, 99999])
    assert decisions[-1].desired == 1
    assert "AT_MIN" in codes(decisions[-1])


def test_idle_is_counted_from_the_last_request_not_from_the_first_decision():
    observed = Observed(ready=1, idle_since=1000)
    decisions, _ = run(policy(), begin(policy(), 1, 0), observed, 0, [4599, 4600])
    assert [d.desired for d in decisions] == [1, 0]


def test_without_any_idle_date_it_is_counted_from_the_first_decision():
    decisions, _ = run(policy(), Memory(), Observed(ready=1), 0, [500, 4099, 4100])
    assert [d.desired for d in decisions] == [1, 1, 0]


def test_a_held_request_starts_one_at_once_even_when_the_event_was_lost():
    [decision], _ = run(policy(), begin(policy(), 0, 0), Observed(ready=0, held=1), 1, [5])
    assert decision.desired == 1
    assert codes(decision)[-1] == "WOKEN"
    assert "1 request held at zero replicas: 1 started at once" in decision.text


def test_many_held_requests_start_as_many_as_they_need():
    [decision], _ = run(policy(), begin(policy(), 0, 0), Observed(ready=0, held=9), 9, [5])
    assert decision.desired == 3


def test_load_that_is_only_remembered_does_not_start_a_replica():
    decisions, _ = run(policy(), begin(policy(), 0, 0), Observed(ready=0), 9, [0, 60])
    assert [d.desired for d in decisions] == [0, 0]


def test_wake_is_idempotent_and_only_from_zero():
    spec, asleep = policy(), begin(policy(), 0, 0)
    awake = wake(spec, asleep, 5)
    assert awake.count == 1
    assert wake(spec, awake, 6) == awake
    assert wake(spec, begin(spec, 3, 0), 5).count == 3
    assert wake(policy(max_replicas=0), asleep, 5).count == 0


def test_a_wake_up_whose_client_went_away_lasts_one_idle_window():
    memory = wake(policy(), begin(policy(), 0, 0), 9000)
    decisions, _ = run(policy(), memory, Observed(ready=0, starting=1, idle_since=10), 0, [9001, 12599, 12600])
    assert [d.desired for d in decisions] == [1, 1, 0]


def test_held_requests_keep_saying_that_nothing_has_started():
    [decision], _ = run(policy(), begin(policy(), 1, 0), Observed(ready=0, held=2), 2, [5])
    assert "2 requests held, no replica started yet of 1 asked for" in decision.text


# ------------------------------------------------------------------------------------------------ bounds


def test_bounds_are_honoured_at_once():
    _, memory = run(policy(), begin(policy(), 3, 0), Observed(ready=3, running=8), 8, [0])
    [lower], _ = run(policy(max_replicas=2), memory, Observed(ready=3, running=8), 8, [1])
    [higher], _ = run(policy(min_replicas=4), memory, Observed(ready=3, running=8), 8, [1])
    [off], _ = run(policy(max_replicas=0), memory, Observed(ready=3, running=8, held=3), 8, [1])
    assert (lower.desired, higher.desired, off.desired) == (2, 4, 0)
    assert [codes(d)[-1] for d in (lower, off)] == ["AT_MAX", "AT_MAX"]
    assert "the minimum is 4: raised from 3 to 4 at once" in higher.text


def test_at_the_maximum_it_says_so():
    spec = policy(max_replicas=1)
    decisions, _ = run(spec, begin(spec, 1, 0), replace(IDLE, running=9), 9, [0, 100])
    assert decisions[-1].text.endswith("3 wanted; the maximum is 1; no scale-down for 30s after a burst")
    assert decisions[-1].next_change_at is None


def test_a_maximum_raised_under_lasting_load_acts_at_once():
    decisions, memory = run(policy(max_replicas=1), begin(policy(), 1, 0), replace(IDLE, running=5), 5, range(0, 60))
    assert decisions[-1].desired == 1
    [raised], _ = run(policy(max_replicas=4), memory, replace(IDLE, running=5), 5, [60])
    assert raised.desired == 2


# ------------------------------------------------------------------------------------------------ missing (6), by hand


def test_missing_figures_hold_the_count_and_may_still_raise_it():
    spec, silent = policy(panic=False), Observed(ready=2, running=1, missing=True)
    low, _ = run(spec, begin(spec, 2, 0), silent, 0, range(0, 1200, 5))
    high, _ = run(spec, begin(spec, 2, 0), silent, 9, range(0, 60))
    assert {d.desired for d in low} == {2}
    assert "a ready replica has not reported" in low[-1].text
    assert high[-1].desired == 3


def test_scale_by_hand_is_clamped_and_remembered():
    spec = policy(min_replicas=1)
    assert [scale_to(spec, Memory(), n, 0).count for n in (0, 2, 9)] == [1, 2, 4]
    [decision], memory = run(spec, scale_to(spec, Memory(), 2, 0), Observed(ready=1, starting=1, running=4), 4, [40])
    assert decision.text.startswith("set to 2 by hand 40s ago; ")
    assert decision.text.endswith("2 wanted")
    assert memory.by_hand


def test_after_scale_by_hand_panic_and_windows_wait_their_full_time():
    memory = scale_to(policy(), begin(policy(), 4, 0), 1, 100)
    decisions, _ = run(policy(), memory, replace(IDLE, running=12), 12, [100, 101, 129, 130])
    assert [d.desired for d in decisions] == [1, 1, 1, 4]


def test_a_decision_leaves_the_former_memory_and_the_history_as_they_were():
    memory, history = begin(policy(), 2, 0), steady(5)
    first = decide(policy(), memory, history, IDLE, 0)
    assert decide(policy(), memory, history, IDLE, 0) == first
    assert memory == begin(policy(), 2, 0)
