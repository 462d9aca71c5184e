"""Prefix reuse: never more than is there, never across keys, never a running sequence's id."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.replica.prefix import PrefixCache

PROMPT = st.lists(st.integers(0, 2), min_size=1, max_size=60)
KEY = st.sampled_from([("a",), ("b",)])


@settings(deadline=None)
@given(st.lists(st.tuples(KEY, PROMPT), max_size=8), PROMPT, KEY, st.sets(st.integers(0, 7), min_size=1))
def test_what_is_reused_is_a_true_prefix_under_the_same_key_and_leaves_a_token_to_evaluate(
    held, prompt, key, free
) -> None:
    cache = PrefixCache(8)
    for identifier, (resident_key, tokens) in enumerate(held):
        cache.hold(identifier, resident_key, tokens)
    placement = cache.place(prompt, key, free)
    assert placement.target in free
    assert placement.reuse < len(prompt)
    if placement.reuse:
        source = placement.target if placement.source is None else placement.source
        assert held[source][0] == key
        assert held[source][1][: placement.reuse] == prompt[: placement.reuse]


def test_the_longest_prefix_wins_and_a_small_loss_is_taken_in_place() -> None:
    cache = PrefixCache(3)
    cache.hold(0, ("",), [1, 2, 3])
    cache.hold(1, ("",), [1, 2, 3, 4, 5])
    placement = cache.place([1, 2, 3, 4, 9, 9], ("",), {0, 1, 2})
    assert (placement.target, placement.reuse, placement.source) == (1, 4, None)


def test_a_valuable_resident_is_copied_not_destroyed() -> None:
    cache = PrefixCache(2)
    shared = list(range(50))
    cache.hold(0, ("",), shared + [7] * 100)
    placement = cache.place([*shared, 8, 8], ("",), {0, 1})
    assert (placement.target, placement.reuse, placement.source) == (1, 50, 0)


def test_a_running_sequence_can_be_copied_but_not_taken() -> None:
    cache = PrefixCache(2)
    cache.hold(0, ("",), list(range(20)))
    placement = cache.place(list(range(30)), ("",), {1})
    assert (placement.target, placement.reuse, placement.source) == (1, 20, 0)


def test_a_long_conversation_that_just_ended_is_kept_over_one_admitted_after_it() -> None:
    cache = PrefixCache(2)
    cache.hold(0, ("",), [1])
    cache.hold(1, ("",), [2])
    cache.touch(0)
    assert cache.place([9], ("",), {0, 1}).target == 1


def test_max_reuse_bounds_it() -> None:
    cache = PrefixCache(1)
    cache.hold(0, ("",), list(range(20)))
    assert cache.place(list(range(20)), ("",), {0}, max_reuse=0).reuse == 0
    assert cache.place(list(range(20)), ("",), {0}, max_reuse=5).reuse == 5


def test_an_empty_id_is_used_before_an_old_one_and_an_old_one_before_a_new_one() -> None:
    cache = PrefixCache(3)
    cache.hold(0, ("",), [1])
    cache.hold(1, ("",), [2])
    assert cache.place([9], ("",), {0, 1, 2}).target == 2
    assert cache.place([9], ("",), {0, 1}).target == 0
