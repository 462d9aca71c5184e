"""The replay simulator: its replicas, its gateway, the policies of others by their documents, traces."""

from __future__ import annotations

import csv
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.control.autoscale_state import Policy as Rules
from engine.fleet.lobby import QUEUE_MAX
from engine.replica.planner import Limits, Prefilling, plan_chunks
from engine.replica.scheduler import ALONE_CHUNK_MS, SHARED_CHUNK_MS
from tests.bench.autoscaling import traces
from tests.bench.autoscaling.oracle import Oracle
from tests.bench.autoscaling.ours import Ours
from tests.bench.autoscaling.peers import Fixed, Knative, RayServe
from tests.bench.autoscaling.replica_model import MEASURED, Model
from tests.bench.autoscaling.simulator import Outcome, Simulation, View

MODEL = Model((0.0, 0.1, 0.1, 0.2, 0.2), prefill_token_s=0.01, start_s=10.0, slots=4, shared_s=0.1)


def replay(rows, policy=None, model=MODEL, **more) -> tuple[Outcome, Simulation]:
    simulation = Simulation(model, policy or Fixed(1), rows, **more)
    return simulation.run(), simulation


def spread(count: int, seconds: float, seed: int = 0) -> list[traces.Row]:
    dice = random.Random(seed)
    return sorted((dice.uniform(0, seconds), dice.randint(1, 200), dice.randint(1, 40)) for _ in range(count))


# -------------------------------------------------------------------------------------------- the replica


def test_one_request_alone_takes_its_prompt_and_then_a_round_a_token():
    outcome, _ = replay([(1.0, 100, 11)])
    assert outcome.ttft_p50_s == pytest.approx(1.0)


def test_a_prompt_beside_a_running_sequence_gets_its_share_of_the_rounds():
    # Rounds of 0.1 s decode and 0.1 s prompt: the second prompt takes twice as long as alone.
    rows = [(0.0, 1, 1000), (5.0, 100, 2)]
    _, simulation = replay(rows)
    assert [round(t, 3) for t in (0.01, 2.0)] == [round(t, 3) for t in simulation.ttfts_s]


def test_prompts_take_turns():
    # Each gets every other turn: the short one is done after twice its own second, the long one after both.
    _, simulation = replay([(0.0, 300, 1), (0.0, 100, 1)])
    assert [round(t, 3) for t in simulation.ttfts_s] == [2.0, 4.0]


@pytest.mark.parametrize(
    ("prompts", "running", "chunk_s"), [(1, 4, 0.2), (4, 4, 0.2), (3, 2, 0.3), (7, 1, 0.5), (1, 0, 0.5)]
)
def test_the_more_prompts_wait_the_more_of_a_round_is_theirs_as_in_a_real_replica(prompts, running, chunk_s):
    model = Model.of(MEASURED, 30.0)
    assert model.chunk_s(prompts, running) == pytest.approx(chunk_s)
    waiting = [Prefilling(i, None, 10**9, 10**9, (i,)) for i in range(prompts)]
    token_ms = 1000 * model.prefill_token_s
    limits = Limits(10**9, 1, token_ms, SHARED_CHUNK_MS, ALONE_CHUNK_MS)
    chunks = plan_chunks(waiting, running, None, limits)
    assert sum(c.tokens for c in chunks) * token_ms == pytest.approx(1000 * chunk_s, abs=token_ms)


def test_beyond_its_slots_and_one_more_requests_wait_at_the_gateway():
    outcome, _ = replay([(0.0, 10, 100)] * 6)
    assert (outcome.requests, outcome.refused) == (6, 0)


@given(st.integers(1, 60), st.integers(0, 1000), st.integers(1, 4), st.floats(0.0, 30.0))
@settings(max_examples=40, deadline=None)
def test_every_request_is_answered_once_and_every_token_made_once(count, seed, replicas, start_s):
    rows = spread(count, 120, seed)
    outcome, simulation = replay(rows, Fixed(replicas), replace(MODEL, start_s=start_s), initial=replicas)
    assert outcome.refused == 0
    made = simulation.totals()
    assert made[0] == pytest.approx(sum(prompt for _, prompt, _ in rows), abs=1e-3)
    assert made[1] == pytest.approx(sum(output - 1 for *_, output in rows), abs=1e-3)
    assert outcome.replica_s == pytest.approx(replicas * rows[-1][0])


def test_the_same_trace_and_policy_give_the_same_outcome():
    rows = spread(300, 600)
    assert replay(rows, Knative(4, least=1))[0] == replay(rows, Knative(4, least=1))[0]


def test_a_full_queue_and_a_wait_too_long_are_refusals():
    crowd = [(0.0, 1, 10_000)] * (QUEUE_MAX + 6)
    outcome, _ = replay(crowd)
    assert outcome.refused == len(crowd) - 4  # four have slots for longer than anybody waits


def test_what_comes_before_the_warm_up_ends_does_not_count():
    rows = [(0.0, 100, 1), (100.0, 100, 1)]
    outcome, _ = replay(rows, warm_up_s=40.0)
    assert (outcome.requests, outcome.replica_s) == (1, pytest.approx(60.0))


def test_a_replica_that_starts_is_paid_for_before_it_serves():
    class TwoFrom50(Fixed):
        def count(self, view: View) -> int:
            return 1 + (view.now >= 50)

    outcome, simulation = replay([(0.0, 1, 1), (100.0, 1, 1)], TwoFrom50(1, look_s=10.0))
    assert outcome.replica_s == pytest.approx(100 + 50)
    assert (outcome.starts - 1, simulation.counts) == (1, [(0.0, 1), (50.0, 2)])


def test_a_drained_replica_finishes_its_requests_and_is_kept_if_wanted_again():
    class Dip(Fixed):
        def count(self, view: View) -> int:
            return 0 if 10 <= view.now < 15 else 1

    outcome, simulation = replay([(9.0, 1, 100), (30.0, 1, 1)], Dip(1, look_s=1.0))
    assert outcome.refused == 0
    assert outcome.starts == 1
    assert [count for _, count in simulation.counts] == [1, 0, 1]


# ------------------------------------------------------------------------------------------------ policies


def view(now: float, load: float, ready: int = 1, held: int = 0) -> View:
    return View(now, ready, 0, round(load), held, 0.0, load, load, 0, 0.0, 0.0, now, ())


def counts(policy, steps) -> list[int]:
    return [policy.count(view(*step)) for step in steps]


def test_knative_aims_at_seventy_percent_of_the_target():
    assert counts(Knative(10), [(0, 100, 15), (2, 100, 15)]) == [15, 15]
    assert counts(Knative(10, by_rate=True), [(0, 100, 15), (2, 100, 15)]) == [15, 15]


def test_knative_panics_at_twice_what_is_ready_and_then_never_lowers_for_a_stable_window():
    policy = Knative(10)
    assert counts(policy, [(t, 7.0, 1) for t in range(0, 60, 2)])[-1] == 1
    burst = counts(policy, [(t, 35.0, 1) for t in range(60, 68, 2)])
    assert burst[-1] == 5
    calm = counts(policy, [(t, 7.0, 5) for t in range(68, 140, 2)])
    assert calm[0] == 5
    assert calm[25] == 5
    assert calm[-1] < 5


def test_knative_halves_at_most_and_reaches_zero_after_the_window_and_the_grace():
    policy = Knative(10)
    assert counts(policy, [(0, 70, 10), (2, 70, 10)])[-1] == 10
    falling = counts(policy, [(t, 0.0, 10) for t in range(4, 64, 2)])
    assert falling[-1] == 5
    ended = counts(policy, [(t, 0.0, 1) for t in range(64, 104, 2)])
    assert ended[0] == 1
    assert ended[-1] == 0
    assert counts(policy, [(104, 1.0, 0, 1)]) == [1]


def test_knative_keeps_the_most_that_was_wanted_in_its_scale_down_delay():
    policy = Knative(10, stable_s=6, down_delay_s=120)
    counts(policy, [(t, 35.0, 5) for t in range(0, 20, 2)])
    falling = counts(policy, [(t, 7.0, 5) for t in range(20, 200, 2)])
    assert (falling[0], falling[55], falling[-1]) == (5, 5, 2)  # at most halved
    assert 118 <= 2 * falling.index(2) <= 128


def test_ray_serve_waits_its_delays_and_starts_again_when_the_wish_turns():
    policy = RayServe(target=2)
    ups = counts(policy, [(t, 4.0) for t in range(70)])
    assert ups.index(2) == 30
    policy = RayServe(target=2)
    turning = counts(policy, [(t, 4.0 if t % 80 >= 65 else 1.0) for t in range(400)])
    assert set(turning) == {1}
    policy = RayServe(target=2)
    counts(policy, [(t, 8.0) for t in range(40)])
    downs = counts(policy, [(t, 2.0, 4) for t in range(40, 800)])
    assert downs[0] == 4
    assert 600 <= downs.index(1) <= 630


def test_ours_is_the_engines_own_decision_and_wakes_by_event():
    rules = Rules(0, 9, 30, 60, 300, {"requests_per_second": 1.0}, 4, panic=False)
    quiet = [(t, 10, 2) for t in (0.0, 1000.0, 1001.0)]
    outcome, simulation = replay(quiet, Ours(rules))
    assert [count for _, count in simulation.counts] == [1, 0, 1]
    assert simulation.counts[1][0] == pytest.approx(300, abs=2)
    assert simulation.counts[2][0] == 1000.0
    assert outcome.ttft_p99_s == pytest.approx(10.1, abs=0.1)  # held while the replica starts


def test_the_oracle_has_replicas_ready_when_the_load_comes_and_ends_them_when_it_has_gone():
    rows = [(100 + 0.1 * i, 10, 1) for i in range(200)] + [(200.0, 1, 1)]  # 1.5 s of work a second for 20 s
    oracle = Oracle(MODEL, rows, share=0.3, around_s=0.0)
    outcome, simulation = replay(rows, oracle)
    assert simulation.counts == [(0.0, 1), (90.0, 5), (120.0, 1)]
    assert outcome.ttft_p99_s < 0.3
    assert outcome.replica_s == pytest.approx(200 + 4 * 30, abs=8)


def test_the_oracle_keeps_what_would_be_needed_again_before_another_could_start():
    busy = [0.05 + 0.1 * i for i in range(100)]
    rows = [(at, 20, 1) for at in busy] + [(at + gap, 20, 1) for gap in (20, 60) for at in busy]
    plans = [count for _, count in replay(rows, Oracle(MODEL, rows, 1.0, 0.0))[1].counts]
    assert plans == [1, 3, 1, 3], "one pause as long as a start, and one of 30 s"


def test_the_oracle_with_a_window_keeps_the_most_that_was_wanted_in_it():
    rows = [(100 + 0.1 * i, 10, 1) for i in range(200)] + [(400.0, 1, 1)]
    plain, patient = (replay(rows, Oracle(MODEL, rows, 0.3, 0.0, down_s))[1].counts for down_s in (0.0, 60.0))
    assert plain == [(0.0, 1), (90.0, 5), (120.0, 1)]
    assert patient == [(0.0, 1), (90.0, 5), (180.0, 1)]


# -------------------------------------------------------------------------------------------------- traces


def test_a_published_file_is_read(tmp_path):
    with (tmp_path / "az_conv.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["TIMESTAMP", "ContextTokens", "GeneratedTokens"])
        rows.writerow(["2023-11-16 18:15:46.6805900", "374", "44"])
        rows.writerow(["2023-11-16 18:15:50.9951690", "396", "109"])
    trace = traces.load("conv", tmp_path, seed=1)
    assert not trace.made
    assert trace.rows[0] == (0.0, 374, 44)
    assert trace.rows[1] == (pytest.approx(4.314579), 396, 109)
    assert traces.load("code", tmp_path, seed=1).made


@pytest.mark.parametrize("name", list(traces.FITTED))
def test_the_stand_in_has_the_statistics_it_was_fitted_to(name):
    fitted, made = traces.FITTED[name], traces.generate(name, 3500, seed=1)
    prompts, outputs = sorted(p for _, p, _ in made.rows), sorted(o for *_, o in made.rows)
    assert len(made.rows) / 3500 == pytest.approx(fitted.rate, rel=0.1)
    assert prompts[len(prompts) // 2] == pytest.approx(fitted.prompt_median, rel=0.1)
    assert outputs[len(outputs) // 2] == pytest.approx(fitted.output_median, rel=0.1)
    minutes = [sum(60 * m <= at < 60 * m + 60 for at, *_ in made.rows) for m in range(58)]
    assert max(minutes) > 1.3 * sum(minutes) / 58
    assert (min(minutes) == 0) == (fitted.lull > 0)
    assert traces.generate(name, 3500, seed=1).rows == made.rows
    assert traces.generate(name, 3500, seed=2).rows != made.rows
