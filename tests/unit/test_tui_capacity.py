"""What would fit on the nodes that take replicas."""

from __future__ import annotations

from client.fleet_types import DeploymentStats, DeploymentStatus, NodeView
from client.types import Deployment, Placement
from tui.core import capacity

H100 = "NVIDIA_H100_80GB"


def node(region="US_IOWA_1", kind=H100, free=7, closed=""):
    return NodeView(
        name=f"{region}-{kind}", region=region, device="gpu", accelerator_type=kind, accelerators=8,
        free_accelerators=free, closed=closed,
    )  # fmt: skip


def deployment(name="big", **given):
    return Deployment(name=f"accounts/local/deployments/{name}", **{"accelerator_type": H100, **given})


def test_each_node_carries_whole_replicas_alone_of_its_type_in_the_regions_that_are_named_while_it_is_open():
    nodes = [node(), node("EU_PARIS_1"), node(kind="NVIDIA_L4_24GB"), node("EU_PARIS_1", closed="out of stock")]
    assert capacity.more(deployment(accelerator_count=4), nodes) == 2
    assert capacity.more(deployment(accelerator_count=4, placement=Placement(region="EU_PARIS_1")), nodes) == 1
    assert capacity.more(deployment(), nodes) == 14
    assert capacity.more(deployment(placement=Placement(multi_region="EUROPE")), nodes) == 7
    assert capacity.more(deployment(placement=Placement(multi_region="GLOBAL")), nodes) == 14
    assert capacity.more(deployment(accelerator_type=None), nodes) is None


def test_deleted_deployments_and_those_without_accelerators_are_not_told_of():
    fleet = [
        DeploymentStatus(deployment=one, stats=DeploymentStats(window_s=60))
        for one in (
            deployment("b"),
            deployment("a"),
            deployment("c", state="DELETED"),
            deployment("d", accelerator_type=None),
        )
    ]
    assert capacity.told(fleet, [node()]) == "would fit: a 7 more, b 7 more"
    assert capacity.told([], [node()]) == ""
