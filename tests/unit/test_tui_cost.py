"""What a change costs: a replica's part of the price of the nodes that it stands on, or may stand on."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from client.fleet_types import DeploymentStats, DeploymentStatus, NodeView, ReplicaView
from client.types import Deployment, DeploymentSpec, Placement
from tui.core import columns, cost, plan
from tui.core.prices import by_node, hourly
from tui.core.row import Row


def node(name, price, kind="NVIDIA_H100_80GB", region="US_IOWA_1", accelerators=8):
    return NodeView(
        name=name, region=region, device="gpu", accelerator_type=kind, accelerators=accelerators, price_per_hour=price
    )


NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NODES = [
    node("iowa", 24.0),
    node("frankfurt", 32.0, region="EU_FRANKFURT_1"),
    node("tokyo", 0.8, "NVIDIA_L4_24GB", "AP_TOKYO_1", 1),
]


def status(*standing, **settings):
    given = {"min_replica_count": 0, "max_replica_count": 3, "desired_replica_count": len(standing)} | settings
    deployment = Deployment(name="accounts/a/deployments/chat", **{"state": "READY"} | given)
    replicas = [ReplicaView(id=str(n), stage="READY", node=name) for n, name in enumerate(standing)]
    return DeploymentStatus(deployment=deployment, stats=DeploymentStats(window_s=60), replicas=replicas)


@pytest.mark.parametrize(
    ("settings", "standing", "price"),
    [
        ({"accelerator_count": 2}, ["iowa"], 6.0),
        ({"accelerator_count": 1}, ["iowa", "frankfurt"], 3.5),
        ({"accelerator_type": "NVIDIA_H100_80GB"}, [], 3.0),
        ({"placement": Placement(region="EU_FRANKFURT_1")}, [], 4.0),
        ({}, [], 0.8),
        ({"accelerator_type": "AMD_MI300X_192GB"}, [], None),
    ],
)
def test_a_replicas_hour_is_its_part_of_where_it_stands_or_may_stand(settings, standing, price):
    assert hourly(DeploymentSpec(**settings), NODES, standing) == price


def test_a_node_without_accelerators_or_price_has_none_to_give():
    assert hourly(DeploymentSpec(), [node("cpu", 2.0, accelerators=0), node("free", None)]) is None
    scaled = plan.scale(status("cpu"), {"replica_count": "2"})
    assert cost.of_plan(scaled, status("cpu"), []) == cost.NO_PRICE


def test_a_row_costs_what_its_replicas_nodes_do_and_nothing_is_guessed():
    prices = by_node(NODES)
    both = Row(status("iowa", "frankfurt", "", accelerator_count=2), prices=prices)
    assert both.cost_per_hour == 14.0, "one waits for a node"
    assert Row(status(), prices=prices).cost_per_hour == 0.0
    assert Row(status("iowa", "cpu"), prices=prices).cost_per_hour is None, "a node without a price"
    assert Row(status("iowa")).cost_per_hour is None, "nobody has asked yet"
    (column,) = (one for one in columns.FLEET if one.key == "cost")
    assert column.cell(both) == "$14.00"


def test_every_kind_of_change_says_its_cost():
    seen = status("iowa", accelerator_count=2)
    told = cost.of_plan(plan.scale(seen, {"replica_count": "3"}), seen, NODES)
    assert told == "$6.00 an hour now, $18.00 then (+$12.00); $6.00 a replica"
    changed = plan.update(seen, {"max_replica_count": "5", "min_replica_count": "1"})
    assert cost.of_plan(changed, seen, NODES) == "$6.00 to $30.00 an hour by its limits; $6.00 a replica"
    waiting = status("iowa", "", accelerator_count=2)
    told = cost.of_plan(plan.delete(waiting, NOW, ()), waiting, NODES)
    assert told.startswith("$6.00 an hour now, $0.00 then"), "a replica without a node costs nothing"
    there, gone = status("iowa", "iowa"), status(state="DELETED")
    both = [(plan.delete(there, NOW, ()), there), (plan.undelete(gone), gone)]
    assert cost.of_plans(both[:1], {"": NODES}) == "$6.00 an hour now, $0.00 then"
    assert cost.of_plans(both, {"": NODES}) == "$6.00 an hour now, $0.00 to $2.40 then"
    bare = status("cpu", accelerator_type="AMD_MI300X_192GB")
    several = [(plan.scale(one, {"replica_count": "3"}), one) for one in (there, bare)]
    assert cost.of_plans(several, {"": NODES}) == "$6.00 an hour now, $9.00 then; 1 without a price"
    assert cost.of_plans([], {"": NODES}) == cost.NO_PRICE
    made = plan.create({"base_model": "m", "max_replica_count": "2"}, [], "a")
    assert cost.of_plan(made, None, NODES) == "$0.00 to $1.60 an hour by its limits; $0.80 a replica"


def test_a_machine_without_accelerators_that_has_a_price_is_not_said_to_have_none():
    cores = [node("local", 2.0, None, accelerators=0)]
    scaled = plan.scale(status("local"), {"replica_count": "2"})
    assert cost.of_plan(scaled, status("local"), cores) == cost.BY_CORES
    assert cost.of_plans([(scaled, status("local"))], {"": cores}) == cost.BY_CORES
