"""Capacity: what a replica takes follows from dimensions, and what would fit instead is the most that does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control import capacity
from engine.control.capacity import (
    Workload,
    adapter_places,
    adapters_over,
    estimate,
    kv_bytes,
    largest_context,
    largest_slots,
)
from engine.models.dimensions import Dimensions

GIB = 1 << 30
LLAMA_70B = Dimensions(
    weights_bytes=141 * 10**9, kv_heads=(8,) * 80, key_length=128, value_length=128, embedding_length=8192,
    feed_forward_length=28672, vocabulary_size=128256, context_length=131072, adapter_elements=10**6,
)  # fmt: skip
MODELS = st.builds(
    Dimensions,
    weights_bytes=st.integers(1 << 20, 1 << 40), kv_heads=st.lists(st.integers(0, 64), max_size=100).map(tuple),
    key_length=st.integers(1, 512), value_length=st.integers(1, 512), state_elements=st.integers(0, 10**7),
    embedding_length=st.integers(64, 16384), feed_forward_length=st.integers(64, 65536),
    vocabulary_size=st.integers(1000, 300_000), context_length=st.integers(0, 200_000),
    adapter_elements=st.integers(0, 10**8),
)  # fmt: skip
WORKS = st.builds(
    Workload, slots=st.integers(1, 256), context_tokens=st.integers(256, 100_000), adapters=st.integers(0, 32),
    on_accelerator=st.booleans(),
)  # fmt: skip


def whole(model: Dimensions, work: Workload) -> int:
    size = estimate(model, work)
    return size.model_bytes + size.process_bytes


def test_the_kv_cache_of_a_known_model_is_the_published_one():
    # 80 layers x 8 heads x 128 x (K + V) x 2 bytes = 320 KiB a token: 10 GiB for 32,768 of them
    assert kv_bytes(LLAMA_70B, Workload(1, 32768)) == 10 * GIB
    assert kv_bytes(LLAMA_70B, Workload(8, 4096)) == 10 * GIB


def test_a_sequences_cells_are_rounded_up_and_end_at_the_trained_context():
    assert kv_bytes(LLAMA_70B, Workload(1, 257)) == kv_bytes(LLAMA_70B, Workload(1, 512))
    assert kv_bytes(LLAMA_70B, Workload(1, 10**6)) == kv_bytes(LLAMA_70B, Workload(1, 131072))


def test_layers_without_attention_take_no_cache_and_recurrent_ones_a_state_for_each_slot():
    hybrid = replace(LLAMA_70B, kv_heads=(8, 0) * 40, state_elements=1000)
    assert kv_bytes(hybrid, Workload(1, 4096)) * 2 == kv_bytes(LLAMA_70B, Workload(1, 4096))
    assert estimate(hybrid, Workload(7, 4096)).states == 7 * 4000


@given(MODELS, WORKS, st.integers(0, 100), st.integers(0, 10_000), st.integers(0, 4))
def test_more_slots_context_or_adapters_never_take_less(model, work, slots, tokens, adapters):
    more = replace(
        work, slots=work.slots + slots, context_tokens=work.context_tokens + tokens, adapters=work.adapters + adapters
    )
    assert whole(model, more) >= whole(model, work) >= model.weights_bytes


@given(MODELS, WORKS)
def test_a_draft_model_adds_its_weights_and_its_cache(model, work):
    alone, beside = estimate(model, work), estimate(model, work, draft=model)
    assert beside.weights == 2 * alone.weights
    assert beside.kv_cache == 2 * alone.kv_cache


@given(MODELS, WORKS, st.integers(1 << 28, 1 << 41))
def test_what_would_fit_does_and_one_step_more_does_not(model, work, room):
    def fits(other: Workload) -> bool:
        return whole(model, other) <= room

    context, slots = largest_context(fits, work), largest_slots(fits, work)
    if context is not None:
        assert fits(replace(work, context_tokens=context))
        assert context + 256 > work.context_tokens or not fits(replace(work, context_tokens=context + 256))
    else:
        assert not fits(replace(work, context_tokens=256))
    if slots is not None:
        assert fits(replace(work, slots=slots))
        assert slots == work.slots or not fits(replace(work, slots=slots + 1))
    else:
        assert not fits(replace(work, slots=1))


def test_the_parts_add_up_and_are_named():
    size = estimate(replace(LLAMA_70B, over_estimated="because"), Workload(8, 8192, adapters=2))
    assert size.text.startswith(
        f"{(size.model_bytes + size.process_bytes) / GIB:.2f} GiB (131.32 weights + 20.00 KV cache"
    )
    assert "adapters" in size.text
    assert "an upper bound: because" in size.text


@given(st.lists(st.integers(1, 512), max_size=20), st.integers(1, 16))
def test_adapters_fit_where_any_that_can_be_in_memory_together_do_and_else_with_the_places_that_are_told(ranks, places):
    over = adapters_over(ranks, places)
    most = max(sum(some) for some in (sorted(ranks)[-places:], []))
    assert (over is None) == (most <= places * capacity.ADAPTER_RANK)
    if over is not None:
        assert over[0] == most
        assert over[1] > places
        assert adapters_over(ranks, over[1]) is None


@pytest.mark.parametrize(
    ("cached", "addons", "merged", "places"),
    [(0, False, False, 0), (0, True, False, 8), (0, True, True, 8), (0, False, True, 2), (3, True, False, 3)],
)
def test_a_replica_is_promised_room_for_what_it_may_have_in_memory(cached, addons, merged, places):
    assert adapter_places(cached, addons=addons, merged=merged) == places


def test_the_adapters_in_memory_are_those_of_a_replica():
    from engine.replica.__main__ import arguments

    words = ["--deployment", "d", "--replica", "r", "--socket", "s", "--model", "m"]
    assert arguments(words).adapters_cached == capacity.ADAPTERS_CACHED


def test_the_prefix_budget_is_that_of_a_replica():
    from engine.replica.__main__ import arguments

    words = ["--deployment", "d", "--replica", "r", "--socket", "s", "--model", "m"]
    assert arguments(words).prefix_ram_mib << 20 == capacity.PREFIX_CACHE_BYTES
