"""What the nodes have on which replicas stand, all told; which driver they belong to is nobody's business here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.placement.port import Node


@dataclass(frozen=True, slots=True)
class Hardware:
    """Of all nodes. `cores` counts those of nodes that say how many they have; `kinds`: what the accelerators are
    called."""

    cores: int = 0
    accelerators: int = 0
    kinds: tuple[str, ...] = ()


def hardware_of(nodes: Sequence[Node]) -> Hardware:
    return Hardware(
        cores=sum(node.cores for node in nodes),
        accelerators=sum(node.accelerators for node in nodes),
        kinds=tuple(sorted({node.device for node in nodes if node.accelerators})),
    )


def cores_each(nodes: Sequence[Node], replicas: int) -> int:
    """How many of a node's cores each of `replicas`, spread over all nodes, may use when there are as many as there may
    be, at least 1; for nodes that differ, those of the one with the fewest.

    One is left to the gateway and everything else: a replica whose threads share a core with it is slower than one with
    fewer threads (replica/threads.py has the figures).
    """
    if not nodes:
        return 1
    on_each = -(-replicas // len(nodes))
    return max(1, (min(node.cores for node in nodes) - 1) // max(1, on_each))
