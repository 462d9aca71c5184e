"""What a replica costs by the hour, at the prices of nodes. What has no price is None, never 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from client.fleet_types import NodeView
    from client.types import DeploymentSpec


def hourly(deployment: DeploymentSpec, nodes: Sequence[NodeView], standing: Sequence[str] = ()) -> float | None:
    """US dollars an hour of one replica: its accelerators' part of a node's price. `standing`: the nodes it is on.

    Of several prices the mean of those it stands on; for one that stands nowhere the lowest it may get.
    """
    here = [price for node in nodes if node.name in standing and (price := _part(deployment, node)) is not None]
    if here:
        return sum(here) / len(here)
    may = [price for node in nodes if _fits(deployment, node) and (price := _part(deployment, node)) is not None]
    return min(may, default=None)


def _fits(deployment: DeploymentSpec, node: NodeView) -> bool:
    wanted, place = deployment.accelerator_type, deployment.placement
    regions = [place.region, *(place.regions or [])] if place is not None else []
    named = [region for region in regions if region]
    of_type = not wanted or wanted.endswith("_UNSPECIFIED") or node.accelerator_type == wanted
    return of_type and (not named or node.region in named)


def _part(deployment: DeploymentSpec, node: NodeView) -> float | None:
    if node.price_per_hour is None or not node.accelerators:
        return None
    return node.price_per_hour * (deployment.accelerator_count or 1) / node.accelerators


def by_node(nodes: Sequence[NodeView]) -> dict[str, float]:
    """US dollars an hour of one accelerator of each node that has a price."""
    return {
        node.name: node.price_per_hour / node.accelerators
        for node in nodes
        if node.price_per_hour is not None and node.accelerators
    }
