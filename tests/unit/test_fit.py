"""Which node takes a replica: labels, capacity, what is free; and the cheapest, fullest one of those that can."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import FailedPrecondition
from client.types import REGIONS
from engine.placement import fit, regions
from engine.placement.port import Need, Node, Stockout

GIB = 1 << 30
CPU = Node("cpu", "CPU", memory_bytes=16 * GIB, free_memory_bytes=8 * GIB, threads=8, free_threads=4)
GPU = Node(
    "gpu", "H100", memory_bytes=64 * GIB, free_memory_bytes=64 * GIB, threads=64, free_threads=64, region="US_IOWA_1",
    accelerator_type="NVIDIA_H100_80GB", accelerators=4, accelerator_bytes=80 * GIB,
    free_device_bytes=(80 * GIB, 80 * GIB, 0, 0), price_per_hour=10.0,
)  # fmt: skip
NODES = st.lists(
    st.builds(
        lambda name, total, used, threads, taken, kind, region, closed: Node(
            name=name, device="d", memory_bytes=total * GIB, free_memory_bytes=max(0, total - used) * GIB,
            threads=threads, free_threads=max(0, threads - used), region=region, accelerator_type=kind,
            accelerators=4 if kind else 0, accelerator_bytes=80 * GIB if kind else 0,
            free_device_bytes=(80 * GIB,) * (4 - taken) + (0,) * taken if kind else (), closed=closed,
        ),
        st.uuids().map(str), st.integers(1, 64), st.integers(0, 64), st.integers(1, 64), st.integers(0, 4),
        st.sampled_from([None, "NVIDIA_H100_80GB", "NVIDIA_L4_24GB"]), st.sampled_from(REGIONS[:3]),
        st.sampled_from(["", "", "out of stock"]),
    ),
    max_size=8,
)  # fmt: skip
NEEDS = st.builds(
    Need, accelerator_type=st.sampled_from([None, "NVIDIA_H100_80GB"]), accelerators=st.integers(0, 5),
    regions=st.sampled_from([None, frozenset(REGIONS[:1]), frozenset(REGIONS[1:3])]),
    model_bytes=st.integers(0, 400 * GIB), process_bytes=st.integers(0, 8 * GIB), threads=st.integers(1, 16),
)  # fmt: skip


@given(NODES, NEEDS)
def test_what_is_chosen_has_the_labels_and_the_room_and_what_is_not_is_told_apart(nodes, need):
    try:
        node = fit.choose(nodes, need)
    except Stockout:
        able = [n for n in fit.labelled_nodes(nodes, need) if not fit.short_ever(n, need)]
        assert able
        assert all(fit.short_now(n, need) for n in able)
    except FailedPrecondition:
        assert all(fit.short_ever(n, need) for n in fit.labelled_nodes(nodes, need))
    else:
        assert need.accelerator_type in (None, node.accelerator_type)
        assert need.regions is None or node.region in need.regions
        assert not node.closed
        assert node.free_memory_bytes >= need.memory_bytes
        assert node.free_threads >= need.threads
        assert sum(free >= need.device_bytes and free > 0 for free in node.free_device_bytes) >= need.accelerators


def test_on_accelerators_the_model_lies_in_their_memory_in_equal_parts_and_else_in_the_machines():
    need = Need(model_bytes=100 * GIB, process_bytes=GIB)
    assert (need.memory_bytes, need.device_bytes) == (101 * GIB, 0)
    assert (replace(need, accelerators=2).memory_bytes, replace(need, accelerators=2).device_bytes) == (GIB, 50 * GIB)


def test_the_cheapest_is_taken_and_then_the_fullest():
    cheap, full = (
        replace(GPU, name="a", price_per_hour=1.0),
        replace(GPU, name="b", free_device_bytes=(80 * GIB, 0, 0, 0)),
    )
    assert fit.choose([GPU, cheap], Need(accelerators=1)).name == "a"
    assert fit.choose([GPU, full], Need(accelerators=1)).name == "b"


@pytest.mark.parametrize(
    ("need", "field", "said"),
    [
        (Need(accelerator_type="NVIDIA_L4_24GB"), "acceleratorType", "no node with NVIDIA_L4_24GB"),
        (Need(regions=frozenset({"EU_PARIS_1"})), "placement", "there is no node in EU_PARIS_1"),
        (Need(accelerators=5), "acceleratorCount", "gpu has 4 accelerators, not 5"),
        (Need(accelerators=1, model_bytes=81 * GIB), "maxContextLength", "80.00 GiB on each accelerator, and 81.00"),
        (Need(threads=65), "firedeck.threads", "gpu has room for 64 threads, and 65 are wanted"),
        (Need(model_bytes=65 * GIB), "maxContextLength", "gpu has 64.00 GiB of memory for replicas, and 65.00"),
    ],
)
def test_a_refusal_names_what_is_short_and_what_there_is(need, field, said):
    with pytest.raises(FailedPrecondition) as refused:
        fit.choose([CPU, GPU], need)
    assert refused.value.field == field
    assert said in refused.value.message
    assert "1 node with 4 x NVIDIA_H100_80GB in US_IOWA_1" in (refused.value.hint or "")


def test_a_stockout_says_what_each_node_lacks_region_by_region_the_cheapest_first():
    gone, paris = replace(GPU, closed="out of stock"), replace(GPU, name="p", region="EU_PARIS_1", price_per_hour=12.0)
    with pytest.raises(Stockout) as short:
        fit.choose(
            [replace(paris, free_device_bytes=(0, 0, 0, 0)), gone, replace(gone, name="b")], Need(accelerators=1)
        )
    said = "US_IOWA_1 (gpu: out of stock; b: out of stock), EU_PARIS_1 (p: accelerators: 1 wanted, 0 free)"
    assert str(short.value) == said
    with pytest.raises(Stockout, match=r"^cpu: 9.00 GiB of memory wanted, 8.00 GiB free$"):
        fit.choose([CPU], Need(model_bytes=9 * GIB))


def test_a_region_without_room_is_passed_over_for_the_next_that_is_allowed_and_that_is_told():
    need = Need(accelerators=1)
    near, far = replace(GPU, closed="out of stock"), replace(GPU, name="p", region="EU_PARIS_1", price_per_hour=12.0)
    assert fit.choose([near, far], need) is far
    assert fit.passed_over([near, far], need, far) == "US_IOWA_1 (gpu: out of stock)"
    assert fit.passed_over([GPU, far], need, GPU) == ""
    assert fit.passed_over([GPU, far], replace(need, regions=frozenset({"EU_PARIS_1"})), far) == ""
    with pytest.raises(Stockout):
        fit.choose([near, far], replace(need, regions=frozenset({"US_IOWA_1"})))


@given(NODES, NEEDS)
def test_no_region_is_passed_over_that_had_room(nodes, need):
    try:
        chosen = fit.choose(nodes, need)
    except (Stockout, FailedPrecondition):
        return
    told = fit.passed_over(nodes, need, chosen)
    for node in fit.labelled_nodes(nodes, need):
        if not fit.short_ever(node, need) and not fit.short_now(node, need):
            assert f"{node.region} (" not in told


def test_every_region_lies_in_at_most_one_multi_region_and_global_is_anywhere():
    parts = [regions.members(name) for name in ("US", "EUROPE", "APAC")]
    named = [region for part in parts for region in part or ()]
    assert len(named) == len(set(named))
    assert set(REGIONS) - set(named) == {"REGION_UNSPECIFIED", "NA_BRITISHCOLUMBIA_1"}
    assert regions.members("GLOBAL") is None
    assert regions.allowed(None, None, None) is None
    assert regions.allowed(None, "US_IOWA_1", None) == {"US_IOWA_1"}
    assert regions.allowed("MULTI_REGION_UNSPECIFIED", None, []) is None
    assert regions.allowed(None, None, ["EU_PARIS_1", "US_IOWA_1"]) == {"EU_PARIS_1", "US_IOWA_1"}
