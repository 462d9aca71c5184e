"""What a change costs: replicas by the hour at the prices of nodes. What has no price is not known, never 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from client.types import DeploymentSpec
from tui.core.prices import hourly
from tui.core.units import money

if TYPE_CHECKING:
    from client.fleet_types import DeploymentStatus, NodeView
    from tui.core.plan import Plan

NO_PRICE = "not known: no node that it may stand on has a price"
BY_CORES = "not known: without accelerators a replica costs its part of its node's cores"


def _unpriced(nodes: Sequence[NodeView]) -> str:
    return BY_CORES if any(node.price_per_hour is not None and not node.accelerators for node in nodes) else NO_PRICE


def of_plan(plan: Plan, status: DeploymentStatus | None, nodes: Sequence[NodeView]) -> str:
    """One sentence: what the deployment costs an hour now and after the change, by its replicas."""
    declared: DeploymentSpec = plan.spec or DeploymentSpec() if status is None else status.deployment
    standing = [replica.node for replica in status.replicas if replica.node] if status is not None else []
    price = hourly(declared, nodes, standing)
    if price is None:
        return _unpriced(nodes)
    if plan.verb == "scale" or plan.verb == "delete":
        now = _standing(status) if status is not None else 0
        return _difference(price, now, 0 if plan.verb == "delete" else plan.replica_count)
    return _limits(price, plan, declared)


def of_plans(found: Sequence[tuple[Plan, DeploymentStatus]], nodes: Mapping[str, Sequence[NodeView]]) -> str:
    """The same of several changes at once: the sum of those that have a price, and how many have none. `nodes` by the
    contexts' names."""
    priced = [
        (bill, n)
        for n, (planned, status) in enumerate(found)
        if (bill := _bill(planned, status, nodes.get(planned.context, ())))
    ]
    if not priced:
        return _unpriced([node for there in nodes.values() for node in there])
    now, least, most = (sum(bill[part] for bill, _ in priced) for part in range(3))
    then = money(least) if least == most else f"{money(least)} to {money(most)}"
    without = len(found) - len(priced)
    return f"{money(now)} an hour now, {then} then" + (f"; {without} without a price" if without else "")


def _bill(planned: Plan, status: DeploymentStatus, nodes: Sequence[NodeView]) -> tuple[float, float, float] | None:
    """Dollars an hour now, and then at least and at most."""
    deployment = status.deployment
    price = hourly(deployment, nodes, [replica.node for replica in status.replicas if replica.node])
    if price is None:
        return None
    now = _standing(status)
    if planned.verb == "undelete":
        least = deployment.min_replica_count or 0
        return price * now, price * least, price * (deployment.max_replica_count or max(1, least))
    count = 0 if planned.verb == "delete" else now if planned.replica_count is None else planned.replica_count
    return price * now, price * count, price * count


def _standing(status: DeploymentStatus) -> int:
    """Replicas that have a node: those that wait for one cost nothing."""
    return sum(bool(replica.node) for replica in status.replicas)


def _difference(price: float, now: int, then: int | None) -> str:
    before = f"{money(price * now)} an hour now"
    if then is None:
        return before
    change = price * (then - now)
    sign = "+" if change >= 0 else "−"
    return f"{before}, {money(price * then)} then ({sign}{money(abs(change))}); {money(price)} a replica"


def _limits(price: float, plan: Plan, declared: DeploymentSpec) -> str:
    """By the limits that hold after the change: autoscaling decides between them."""
    spec = plan.spec or DeploymentSpec()
    least = declared.min_replica_count if spec.min_replica_count is None else spec.min_replica_count
    most = declared.max_replica_count if spec.max_replica_count is None else spec.max_replica_count
    least, most = least or 0, most or max(1, least or 0)
    return f"{money(price * least)} to {money(price * most)} an hour by its limits; {money(price)} a replica"
