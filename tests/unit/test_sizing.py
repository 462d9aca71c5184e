"""How much of a node a replica is promised: by its declaration, its model's dimensions and what nodes there are."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from client.addon_types import DeployedModel
from client.errors import FailedPrecondition
from client.model_types import Model, PeftDetails
from client.types import Deployment
from engine.control.addons import UNDEPLOYING
from engine.fleet.checks import check_room_for, check_takes_its_addons
from engine.fleet.sizing import Sizing
from engine.fleet.template import Template
from engine.models.dimensions import Dimensions
from engine.placement.port import Node

GIB = 1 << 30
L4 = "NVIDIA_L4_24GB"
MODEL = Dimensions(
    weights_bytes=GIB, kv_heads=(8,) * 16, key_length=64, value_length=64, embedding_length=1024,
    feed_forward_length=4096, vocabulary_size=32000, context_length=32768, adapter_elements=1 << 20,
)  # fmt: skip
TEMPLATE = Template("accounts/local/deployments/d", "m", slots=4, context_tokens=2048, devices=1)


def node(name: str = "a", *, accelerators: int = 0, memory_bytes: int = 64 * GIB, cores: int = 8) -> Node:
    return Node(
        name=name, device="CPU", memory_bytes=memory_bytes, free_memory_bytes=memory_bytes, threads=32,
        free_threads=32, accelerator_type=L4 if accelerators else None, accelerators=accelerators,
        accelerator_bytes=24 * GIB, free_device_bytes=(24 * GIB,) * accelerators, cores=cores,
    )  # fmt: skip


@dataclass
class Nodes:
    """A driver that is neither of the two: nothing may ask which one it is."""

    there: list[Node] = field(default_factory=lambda: [node()])

    def nodes(self) -> list[Node]:
        return self.there


class Shelf:
    """The files of a library of one model."""

    def dimensions(self, name: str, precision: str | None = None) -> Dimensions:
        return MODEL


def sizing(*nodes: Node) -> Sizing:
    return Sizing(Nodes(list(nodes)), Shelf())  # type: ignore[arg-type]


@pytest.mark.parametrize(("declared", "there", "got"), [(1, 0, 0), (1, 4, 1), (4, 4, 4), (8, 4, 8), (2, 0, 2)])
def test_the_accelerators_that_are_declared_are_needed_and_one_means_the_cpu_where_there_are_none(declared, there, got):
    template = replace(TEMPLATE, devices=declared)
    assert sizing(node(accelerators=there)).need(template).accelerators == got
    assert sizing(node(accelerators=there)).accelerators(template) == got


def test_nodes_that_come_later_count_from_then_on():
    later = sizing()
    assert later.need(TEMPLATE).accelerators == 0
    later._driver.there.append(node(accelerators=2))  # type: ignore[attr-defined]
    assert later.need(TEMPLATE).accelerators == 1


def test_adapters_that_may_be_cached_are_counted_and_what_would_fit_is_told():
    alone, beside = TEMPLATE, replace(TEMPLATE, adapters=8)
    each = 64 * MODEL.adapter_elements * 4
    assert sizing(node()).need(beside).memory_bytes - sizing(node()).need(alone).memory_bytes == 8 * each
    room = sizing(node()).need(alone).memory_bytes + 3 * each
    with pytest.raises(FailedPrecondition, match=r"2\.00 adapters") as refused:
        sizing(node(memory_bytes=room)).check(beside)
    assert "numPeftDeviceCached 3" in (refused.value.hint or "")


def adapter(rank: int) -> Model:
    details = PeftDetails(base_model="m", r=rank, target_modules=["q_proj"])
    return Model(name=f"accounts/local/models/lora-{rank}", peft_details=details)


def test_an_adapter_that_replicas_were_promised_no_room_for_is_refused_with_the_numbers():
    host = Deployment(name="accounts/local/deployments/d", enable_addons=True)
    check_room_for(host, [adapter(64)] * 20)  # 8 of which are in memory at once
    check_room_for(host, [adapter(512)])
    with pytest.raises(
        FailedPrecondition, match=r"528 in all.*for 512 \(8 of rank 64\).*lora-16 has rank 16"
    ) as refused:
        check_room_for(host, [adapter(512), adapter(16)])
    assert "numPeftDeviceCached 9" in (refused.value.hint or "")
    check_room_for(host.model_copy(update={"num_peft_device_cached": 9}), [adapter(512), adapter(16)])


def test_a_change_that_leaves_no_room_for_the_adapters_that_are_loaded_is_refused():
    record = DeployedModel(name="accounts/local/deployedModels/a", model=adapter(512).name)
    shrunk = Deployment(name="accounts/local/deployments/d", enable_addons=True, num_peft_device_cached=4)
    with pytest.raises(FailedPrecondition, match="512 in all"):
        check_takes_its_addons(shrunk, [record], [adapter(512)], was_merged=False)


def test_a_deployment_with_several_adapters_cannot_become_one_that_takes_one_at_a_time():
    records = [DeployedModel(name=f"accounts/local/deployedModels/{one}", model=f"m-{one}") for one in "ab"]
    merged = Deployment(name="accounts/local/deployments/d", enable_hot_reload_latest_addon=True)
    with pytest.raises(FailedPrecondition, match="has 2 adapters") as refused:
        check_takes_its_addons(merged, records, [], was_merged=False)
    assert "firedeck unload-lora m-a" in (refused.value.hint or "")
    check_takes_its_addons(merged, records, [], was_merged=True)  # while one takes the other's place
    check_takes_its_addons(merged, records[:1], [], was_merged=False)
    leaving = records[0].model_copy(update={"state": UNDEPLOYING})
    check_takes_its_addons(merged, [leaving, records[1]], [], was_merged=False)


def test_what_is_not_checked_at_creation_is_counted_all_the_same():
    small, large = sizing(node(memory_bytes=GIB)), sizing(node())
    with pytest.raises(FailedPrecondition, match="a replica needs"):
        small.check(TEMPLATE)
    small.check(TEMPLATE, size=False)
    assert small.need(TEMPLATE) == large.need(TEMPLATE)
    assert small.need(TEMPLATE).memory_bytes > GIB


@pytest.mark.parametrize(("declared", "there"), [(4, 0), (8, 4)])
def test_more_accelerators_than_any_node_has_are_refused_with_what_there_is(declared, there):
    with pytest.raises(FailedPrecondition, match=f"has {there} accelerators, not {declared}") as refused:
        sizing(node(accelerators=there)).check(replace(TEMPLATE, devices=declared))
    assert refused.value.field == "acceleratorCount"
    assert "what there is: 1 node with" in (refused.value.hint or "")
