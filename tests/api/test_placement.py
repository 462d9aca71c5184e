"""Placement and sizes on a real engine: this machine is the only node, and nothing is promised that it cannot hold."""

from __future__ import annotations

import pytest

from client.errors import FailedPrecondition, InvalidArgument
from client.resources import Client
from client.types import DeploymentSpec, Placement
from tests.conftest import SHARED
from tests.processes import SMOLLM2

pytestmark = pytest.mark.model


async def refused(fleet: Client, **wish: object) -> FailedPrecondition:
    with pytest.raises(FailedPrecondition) as caught:
        await fleet.deployments.create(DeploymentSpec(base_model=SMOLLM2, **wish), "own", validate_only=True)
    return caught.value


async def test_what_this_machine_is_not_is_refused_with_what_it_is(fleet: Client) -> None:
    for wish in ({"accelerator_type": "AMD_MI300X_192GB"}, {"placement": Placement(region="AP_TOKYO_2")}):
        assert "what there is: 1 node" in (await refused(fleet, **wish)).text


async def test_a_context_that_cannot_fit_is_refused_with_the_numbers_and_with_what_would(fleet: Client) -> None:
    page = await fleet.transport.get("/firedeck/v1/nodes")
    (node,) = page["nodes"]
    if node["memoryBytes"] > 48 << 30 or node.get("accelerators"):
        pytest.skip("this machine could hold it: 256 sequences of 8192 tokens take 45 GiB")
    error = await refused(fleet, max_batch_size=256, max_context_length=8192)
    assert "45.00 KV cache" in error.text
    assert "it would fit with maxContextLength" in error.text
    assert "or maxBatchSize" in error.text
    spec = DeploymentSpec(base_model=SMOLLM2, max_batch_size=256, max_context_length=8192)
    spec.disable_deployment_size_validation = True
    await fleet.deployments.create(spec, "own", validate_only=True)


async def test_labels_cannot_be_changed_and_the_same_ones_may_be_sent_again(fleet: Client) -> None:
    with pytest.raises(InvalidArgument, match="placement cannot be changed"):
        await fleet.deployments.update(SHARED, DeploymentSpec(placement=Placement(region="US_IOWA_1")))
    same = DeploymentSpec(placement=Placement(multi_region="GLOBAL"))
    assert (await fleet.deployments.update(SHARED, same, validate_only=True)).placement == same.placement


async def test_a_replica_says_on_which_node_it_stands(fleet: Client) -> None:
    status = await fleet.fleet.status(SHARED)
    assert {replica.node for replica in status.replicas} == {"local"}
    assert not status.simulated
    assert status.conditions == []
