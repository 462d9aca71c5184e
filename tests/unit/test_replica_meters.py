"""What a replica counts tells small models' tokens apart, and each token of a verified draft its share of the time."""

from __future__ import annotations

from itertools import pairwise

from engine.replica.costs import CostTable
from engine.replica.meters import INTER_TOKEN_S, Meters
from tests.unit.replica_fakes import finish, job, new_scheduler, reference, serving


def test_tokens_of_2_to_10_milliseconds_are_told_apart_to_a_factor_of_two() -> None:
    meters = Meters()
    for ms in (1.5, 3, 5, 7, 9):
        meters.inter_token_s.observe(ms / 1e3)
    assert max(meters.inter_token_s.counts) == 1
    fine = [bound for bound in INTER_TOKEN_S if bound <= 0.03]
    assert all(upper <= 2 * lower for lower, upper in pairwise(fine))


def test_every_token_after_the_first_has_a_time_drafted_or_not() -> None:
    scheduler = new_scheduler(costs=CostTable({1: 10.0, 8: 10.5}, 1.0, {8: 10.5, 32: 11.0}))
    one = job([1, 2, 3], 40, prediction=reference([1, 2, 3], 40))
    with serving(scheduler):
        finish(scheduler, [one])
    assert scheduler.meters.counters.accepted_tokens_total > 20
    assert sum(scheduler.meters.inter_token_s.counts) == 39


def test_prompts_that_are_read_are_progress() -> None:
    scheduler = new_scheduler()
    seen: list[float] = []
    told = scheduler.progressed
    scheduler.progressed = lambda: (told(), seen.append(scheduler.meters.progress_tokens))[0]  # type: ignore[method-assign, func-returns-value]
    with serving(scheduler):
        finish(scheduler, [job([1 + i % 6 for i in range(40)], 1)])
    assert len(seen) >= 3  # a chunk has 16 tokens at most
    assert seen == sorted(set(seen))
    assert seen[-1] == 40
