"""What would fit: how many more replicas of each deployment the open nodes have accelerators for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from client.fleet_types import DeploymentStatus, NodeView
    from client.types import Deployment


# What the wire's multi-regions mean; GLOBAL is everywhere. Source: https://docs.fireworks.ai.
PREFIXES = {"US": "US_", "EUROPE": "EU_", "APAC": "AP_"}


def more(deployment: Deployment, nodes: Sequence[NodeView]) -> int | None:
    """Replicas that the free accelerators of open nodes in its regions would carry; None for one that names no type:
    what a processor carries is a matter of memory and threads, which its replicas do not tell."""
    wanted = deployment.accelerator_type
    if not wanted or wanted.endswith("_UNSPECIFIED"):
        return None
    each = max(1, deployment.accelerator_count or 1)
    return sum(
        node.free_accelerators // each
        for node in nodes
        if node.accelerator_type == wanted and not node.closed and _may_stand(deployment, node.region)
    )


def _may_stand(deployment: Deployment, region: str) -> bool:
    place = deployment.placement
    if place is None:
        return True
    named = [one for one in (place.region, *(place.regions or [])) if one]
    return region in named if named else region.startswith(PREFIXES.get(place.multi_region or "", ""))


def told(statuses: Iterable[DeploymentStatus], nodes: Sequence[NodeView]) -> str:
    """`would fit: big 14 more, chat 3 more`; empty where no deployment names accelerators."""
    live = [status.deployment for status in statuses if status.deployment.state != "DELETED"]
    room = [(one.id, count) for one in live if (count := more(one, nodes)) is not None]
    return "would fit: " + ", ".join(f"{name} {count} more" for name, count in sorted(room)) if room else ""
