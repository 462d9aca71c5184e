"""How many tokens are drafted, and that finding out never costs more than it may."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.replica.job import DraftCounts
from engine.replica.speculation import SharedSpeculation, SpeculationSettings
from engine.replica.speculation.ledger import FIRST_WAIT_TOKENS, TRIAL_DRAFTS, Ledger, Trials
from engine.replica.speculation.pricing import DEPTHS, Acceptance, Curve, best_length, expected_tokens, pays_to_wait
from tests.unit.speculation_simulation import (
    MEASURED,
    NGRAM,
    OracleDrafter,
    Workload,
    edited,
    natural,
    ngram_workloads,
    predicted_workloads,
    speculated_ms,
    table,
)

PROBABILITIES = st.floats(0.0, 1.0)


@st.composite
def cost_tables(draw: st.DrawFn):
    """Any cost that does not fall with the width: flat, steep, or with steps."""
    milliseconds = [draw(st.floats(0.5, 50.0))]
    for _ in range(5):
        milliseconds.append(milliseconds[-1] * draw(st.floats(1.0, 4.0)))
    return table(milliseconds)


@st.composite
def traces(draw: st.DrawFn, tokens: int = 400) -> list[bool]:
    """Whether the source is right at each token: runs of any length, adversarial ones among them."""
    trace: list[bool] = []
    right = draw(st.booleans())
    while len(trace) < tokens:
        trace += [right] * draw(st.integers(1, 60))
        right = not right
    return trace[:tokens]


def free(_tokens: int) -> float:
    return 0.0


# The price


@given(PROBABILITIES, cost_tables(), st.floats(0.0, 20.0), st.integers(0, 31))
def test_the_length_is_the_best_of_all_or_none(chance, cost, draft_ms, limit) -> None:
    expected = expected_tokens(Curve(chance, chance), 0, limit)
    limit = len(expected) - 1
    plain_ms = cost(1)
    k = best_length(expected, cost, lambda n: n * draft_ms, plain_ms, limit)
    assert 0 <= k <= limit
    rates = [expected[n] / (cost(n + 1) + n * draft_ms) for n in range(limit + 1)]
    if k:
        assert rates[k] == max(rates[1:])
        assert rates[k] > 1.05 / plain_ms
    else:
        assert all(rate <= 1.05 / plain_ms for rate in rates[1:])


def test_a_source_that_is_always_right_drafts_long_on_bf16_and_not_on_q4_1_beyond_what_pays() -> None:
    always = [float(k + 1) for k in range(17)]
    lengths = {name: best_length(always, table(ms), free, ms[0], 16) for name, ms in MEASURED.items()}
    assert lengths == {"BF16": 16, "Q4_0": 16, "Q8_0": 16, "Q4_1": 16}
    assert best_length(always, table(MEASURED["Q4_1"]), free, 6.1, 4) == 0


@pytest.mark.parametrize("plain_ms", [0.0, 0.01])
def test_beside_a_step_that_costs_nothing_more_no_draft_pays(plain_ms) -> None:
    assert best_length([1.0, 2.0, 3.0], table(MEASURED["BF16"]), free, plain_ms, 2) == 0


@given(PROBABILITIES, PROBABILITIES, st.integers(0, 40), st.integers(0, 31))
def test_expected_tokens_grow_with_the_draft_and_are_at_most_one_more_than_it(first, last, run, limit) -> None:
    expected = expected_tokens(Curve(first, last), run, limit)
    assert 1 <= len(expected) <= limit + 1
    assert expected[0] == 1.0
    assert all(a <= b <= a + 1 for a, b in itertools.pairwise(expected))


# Experience


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans())), st.integers(0, 100))
def test_a_chance_is_a_probability_whatever_was_seen(seen, run) -> None:
    acceptance = Acceptance(Curve(0.4, 0.9), decay=0.9, weight=2.0)
    for at, right in seen:
        acceptance.observe(at, right)
    assert 0.0 <= acceptance.chance(run) <= 1.0


def test_experience_after_a_miss_says_nothing_about_long_runs() -> None:
    acceptance = Acceptance(Curve(0.5, 0.9), decay=0.97, weight=4.0)
    before = acceptance.chance(DEPTHS[-1])
    for _ in range(50):
        acceptance.observe(0, False)
    assert acceptance.chance(0) < 0.1
    assert acceptance.chance(DEPTHS[-1]) == before


def test_what_one_request_learned_is_where_the_next_one_starts() -> None:
    shared = Acceptance(Curve(0.5, 0.9), decay=0.998, weight=8.0)
    for _ in range(200):
        shared.observe(0, False)
    assert Acceptance(shared, decay=0.97, weight=4.0).chance(0) < 0.1


# The ledger and the trials


@given(st.lists(st.tuples(st.floats(0.0, 30.0), st.floats(0.0, 30.0))))
def test_a_ledger_that_is_asked_first_never_goes_below_nothing(steps) -> None:
    ledger = Ledger()
    for loss_ms, gain_ms in steps:
        if ledger.affords(loss_ms, 1.0):
            ledger.spend(loss_ms, 1.0)
        assert ledger.affords(0.0, 1.0)
        ledger.earn(gain_ms, 1.0)


def test_gains_over_the_bound_are_handed_on() -> None:
    ledger = Ledger(grant_steps=4.0, most_steps=10.0)
    assert ledger.earn(50.0, 5.0) == 20.0
    assert ledger.affords(50.0, 5.0)
    assert not ledger.affords(50.1, 5.0)


def test_trials_come_at_once_then_after_64_tokens_then_ever_later() -> None:
    trials, waits = Trials(), []
    for _ in range(3):
        for _draft in range(TRIAL_DRAFTS):
            trials.tried(pays=False)
        waits.append(0)
        while not trials.due:
            trials.pass_token()
            waits[-1] += 1
    assert waits == [FIRST_WAIT_TOKENS, 2 * FIRST_WAIT_TOKENS, 4 * FIRST_WAIT_TOKENS]


# Never slower than off


def wrong_unless(trace: list[bool]) -> tuple[list[int], list[int]]:
    """A prediction that is right at just the tokens of the trace, each replaced otherwise; and the output."""
    output = list(range(100, 100 + len(trace)))
    return [token if right else 1 for token, right in zip(output, trace, strict=True)], output


@settings(deadline=None, max_examples=150)
@given(traces(), cost_tables(), st.integers(200, 400))
def test_predictions_never_take_three_percent_longer_than_none_whatever_they_are_worth(trace, cost, tokens) -> None:
    prediction, output = wrong_unless(trace[:tokens])
    taken_ms = speculated_ms(Workload([], prediction, output), cost, SpeculationSettings())
    assert taken_ms <= 1.03 * cost(1) * tokens


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 3), min_size=200, max_size=300), cost_tables())
def test_n_grams_never_take_three_percent_longer_than_none_whatever_the_text(output, cost) -> None:
    assert speculated_ms(Workload([], [], output), cost, NGRAM) <= 1.03 * cost(1) * len(output)


@settings(deadline=None, max_examples=150)
@given(traces(), cost_tables(), st.floats(0.1, 20.0), st.integers(0, 8))
def test_a_draft_model_never_takes_three_percent_longer_than_none_but_for_its_first_prompt(
    trace, cost, step_ms, limit
) -> None:
    work = Workload([5] * 40, [], list(range(100, 100 + len(trace))))
    oracle = OracleDrafter(work, trace, step_ms)
    taken_ms = speculated_ms(work, cost, SpeculationSettings("draft.gguf", 0, limit), drafter=oracle)
    first_prompt_ms = (len(work.prompt) + 2) * oracle.prefill_token_ms
    assert taken_ms <= 1.03 * cost(1) * len(trace) + first_prompt_ms


@settings(deadline=None, max_examples=30)
@given(st.lists(traces(60), min_size=10, max_size=20), cost_tables())
def test_many_short_requests_lose_no_more_together_than_one_long_one(short, cost) -> None:
    shared, spent_ms, tokens = SharedSpeculation(cost), 0.0, 0
    for trace in short:
        prediction, output = wrong_unless(trace)
        spent_ms += speculated_ms(Workload([], prediction, output), cost, SpeculationSettings(), shared)
        tokens += len(output)
    assert spent_ms <= 1.03 * cost(1) * tokens


@pytest.mark.parametrize("precision", list(MEASURED))
@pytest.mark.parametrize("name", ["as predicted", "5% edits", "20% edits", "phrases", "middle, twice", "unrelated"])
def test_on_measured_costs_no_prediction_is_three_percent_slower_than_off(precision, name) -> None:
    cost = table(MEASURED[precision])
    work = predicted_workloads(random.Random(1))[name]
    assert speculated_ms(work, cost, SpeculationSettings()) <= 1.03 * cost(1) * len(work.output)


@pytest.mark.parametrize("name", ["code-like", "copies prompt", "prose"])
def test_on_measured_costs_no_n_gram_is_three_percent_slower_than_off(name) -> None:
    for milliseconds in MEASURED.values():
        cost = table(milliseconds)
        work = ngram_workloads(random.Random(1))[name]
        assert speculated_ms(work, cost, NGRAM) <= 1.03 * cost(1) * len(work.output)


# Worth having


def test_a_prediction_with_one_token_in_twenty_edited_is_more_than_twice_as_fast_on_bf16() -> None:
    cost, off, on = table(MEASURED["BF16"]), 0.0, 0.0
    for seed in range(5):
        rng = random.Random(seed)
        prediction = natural(rng, 400)
        output = edited(rng, prediction, 0.05)
        off += cost(1) * len(output)
        on += speculated_ms(Workload([], prediction, output), cost, SpeculationSettings())
    assert off / on > 2.3


def test_a_draft_model_that_is_cheap_and_often_right_is_found_out_and_used() -> None:
    cost, off, on, counts = table(MEASURED["BF16"]), 0.0, 0.0, DraftCounts()
    for seed in range(5):
        rng = random.Random(seed)
        work = Workload(natural(rng, 20), [], natural(rng, 400))
        oracle = OracleDrafter(work, [rng.random() < 0.85 for _ in work.output], 1.0)
        on += speculated_ms(work, cost, SpeculationSettings("d.gguf", 0, 4), drafter=oracle, counts=counts)
        off += cost(1) * len(work.output)
    assert off / on > 1.3
    assert counts.accepted > 0.6 * counts.drafted


def test_a_draft_model_that_could_not_pay_even_if_always_right_is_never_asked() -> None:
    cost, rng = table(MEASURED["Q4_1"]), random.Random(4)
    work = Workload(natural(rng, 20), [], natural(rng, 400))
    oracle = OracleDrafter(work, [True] * 400, 4.0)
    assert speculated_ms(work, cost, SpeculationSettings("d.gguf", 0, 4), drafter=oracle) == pytest.approx(
        cost(1) * 400
    )
    assert oracle.computed == oracle.prefilled == 0


@pytest.mark.parametrize(("first", "waits"), [(0.1, True), (0.3, True), (0.9, False)])
def test_after_a_miss_a_plain_step_shows_first_whether_the_source_is_right_again(first: float, waits: bool) -> None:
    chances, cost = Curve(first, 0.97), table(MEASURED["BF16"])
    expected = expected_tokens(chances, 0, 16)
    assert pays_to_wait(chances, 0, expected, 16 if len(expected) > 16 else len(expected) - 1, cost, cost(1)) == waits


def test_a_source_that_was_right_for_long_is_not_waited_for() -> None:
    chances, cost = Curve(0.3, 0.97), table(MEASURED["BF16"])
    assert not pays_to_wait(chances, 16, expected_tokens(chances, 16, 16), 16, cost, cost(1))
