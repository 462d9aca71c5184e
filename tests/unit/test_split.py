"""The split of a weighted router: shares are kept, keys stay, and a shift moves them one way only."""

from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from engine.control.split import BUCKETS, Table, draw, table, wanted

A, B, C = "accounts/local/deployments/a", "accounts/local/deployments/b", "accounts/local/deployments/c"
SEED = "accounts/local/routers/r"
NAMES = (A, B, C, "d", "e")
WEIGHTS = st.lists(st.floats(0, 100, allow_subnormal=False), min_size=1, max_size=5).filter(lambda w: sum(w) > 0.01)


def everybody(name: str) -> bool:
    return True


def drawn(split: Table, count: int, seed: str = SEED, lives=everybody) -> Counter[str]:
    found = (draw(split, seed, f"key {n}", lives) for n in range(count))
    return Counter(one.target for one in found if one is not None)


def weighted(weights: list[float]) -> Table:
    return table(list(zip(NAMES, weights, strict=False)))


def test_ten_thousand_requests_split_as_they_should_to_a_hundredth() -> None:
    for seed in (SEED, "accounts/local/routers/other", "accounts/elsewhere/routers/r"):
        assert abs(drawn(table([(A, 90), (B, 10)]), 10_000, seed)[A] / 10_000 - 0.90) <= 0.01


def test_two_routers_do_not_send_the_same_tenth_to_their_canaries() -> None:
    split = table([(A, 90), (B, 10)])
    chosen = [{n for n in range(5_000) if draw(split, seed, f"key {n}", everybody).target == B} for seed in ("r", "s")]
    assert 0.005 < len(chosen[0] & chosen[1]) / 5_000 < 0.015, "as much as chance would have it"


@given(WEIGHTS, st.text(max_size=30))
def test_a_key_stays_and_nothing_goes_where_the_weight_is_zero(weights, key) -> None:
    split = weighted(weights)
    first = draw(split, SEED, key, everybody)
    assert first is not None
    assert draw(split, SEED, key, everybody) == first
    assert dict(split.shares)[first.target] > 0
    assert 0 <= first.bucket < BUCKETS
    assert not first.moved
    assert not first.gone


def test_half_a_surrogate_pair_is_a_key_like_others() -> None:
    assert draw(table([(A, 1), (B, 1)]), SEED, "\ud800", everybody) is not None


@given(WEIGHTS, st.floats(0, 1), st.sampled_from(NAMES))
def test_what_is_wanted_makes_one_before_and_during_a_shift(weights, reached, to) -> None:
    still = wanted(weighted(weights))
    assert abs(sum(still.values()) - 1) < 1e-9
    moving = weighted(weights)
    reached = max(reached, dict(moving.shares).get(to, 0.0))
    shares = wanted(Table(moving.shares, to, reached))
    assert abs(sum(shares.values()) - 1) < 1e-6
    assert shares[to] == reached
    assert all(-1e-9 <= shares[one] <= still[one] + 1e-9 for one in still if one != to)


@given(WEIGHTS, st.sampled_from(NAMES), st.lists(st.floats(0, 1), min_size=2, max_size=6), st.integers(0, 10_000))
def test_while_traffic_is_shifted_a_key_moves_once_and_only_to_where_it_is_shifted(weights, to, steps, key) -> None:
    still = weighted(weights)
    own = dict(still.shares).get(to, 0.0)
    walked = [draw(still, SEED, f"key {key}", everybody).target]
    for reached in sorted(max(own, step) for step in steps):
        walked.append(draw(Table(still.shares, to, reached), SEED, f"key {key}", everybody).target)
    moves = [pair for pair in itertools.pairwise(walked) if pair[0] != pair[1]]
    assert len(moves) <= 1
    assert all(after == to for _, after in moves)


def test_a_shift_moves_as_many_as_it_says_a_canary_that_had_some_before_included() -> None:
    for start, reached in ((0, 0.3), (10, 0.3), (10, 0.1), (0, 1.0)):
        split = Table(table([(A, 60), (C, 40 - start), (B, start)]).shares, B, reached)
        found = drawn(split, 10_000)
        assert all(abs(found[one] / 10_000 - share) < 0.015 for one, share in wanted(split).items())


def test_a_changed_weight_moves_only_the_keys_between_the_old_end_of_a_range_and_the_new() -> None:
    before, after = table([(A, 90), (B, 10)]), table([(A, 80), (B, 20)])
    pairs = Counter(
        (draw(before, SEED, f"key {n}", everybody).target, draw(after, SEED, f"key {n}", everybody).target)
        for n in range(5_000)
    )
    assert pairs[B, A] == 0
    assert 0.08 < pairs[A, B] / 5_000 < 0.12


def test_what_is_gone_is_passed_over_by_its_own_keys_alone_and_in_proportion() -> None:
    split = table([(A, 60), (B, 20), (C, 20)])
    for n in range(500):
        with_all, without = (draw(split, SEED, f"key {n}", lives) for lives in (everybody, lambda one: one != B))
        assert without is not None
        assert without.target == with_all.target or (with_all.target, without.gone) == (B, B)
    left = drawn(split, 5_000, lives=lambda one: one != B)
    assert abs(left[A] / 5_000 - 0.75) < 0.03
    assert left[B] == 0


def test_nothing_is_drawn_where_nothing_is_left() -> None:
    assert draw(table([(A, 1), (B, 0)]), SEED, "key", lambda one: one == B) is None, "its weight is 0"
    assert draw(table([(A, 1)]), SEED, "key", lambda one: False) is None


def test_a_shift_whose_target_is_gone_goes_on_with_the_others() -> None:
    assert drawn(Table(((A, 1.0),), B, 0.5), 200, lives=lambda one: one == A) == {A: 200}
