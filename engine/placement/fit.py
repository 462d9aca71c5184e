"""Which node can hold a replica: labels, then what it could ever hold, then what it has free now. Pure.

One rule for every driver, so that the engine can say at creation what a driver would say at the start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

from client.errors import FailedPrecondition
from engine.placement.port import REGION_UNSPECIFIED, Need, Node, Stockout
from engine.units import gib

REGIONS_SHOWN, NODES_SHOWN = 4, 3  # of what has no room, in messages
KEPT = "what is free, or soon will be, is for replicas that asked first"


def choose(nodes: Sequence[Node], need: Need) -> Node:
    """The node for one more replica: the cheapest, then the fullest (large holes are kept for large replicas).

    All regions that it may stand in are tried, so one without room is passed over for the next one by price.
    Raises FailedPrecondition when no node could ever hold it, Stockout when none can now.
    """
    able = able_nodes(nodes, need)
    free = [node for node in able if not short_now(node, need)]
    if not free:
        raise Stockout(_short_text(able, need))
    return min(free, key=lambda n: (_price(n), _left(n), n.free_memory_bytes, n.name))


def without(nodes: Sequence[Node], kept: Collection[str]) -> Sequence[Node]:
    """The nodes, those of these names closed: their room is for others."""
    if not kept:
        return nodes
    return [replace(node, closed=node.closed or KEPT) if node.name in kept else node for node in nodes]


def passed_over(nodes: Sequence[Node], need: Need, chosen: Node) -> str:
    """Which regions come before that of the chosen node, by price, and what they lacked; "" where none was passed over.

    `nodes` as they were before the replica was placed.
    """
    able = [node for node in labelled_nodes(nodes, need) if not short_ever(node, need)]
    regions = {node.region for node in able if _price(node) <= _price(chosen)} - {chosen.region}
    before = [node for node in able if node.region in regions]
    with_room = {node.region for node in before if not short_now(node, need)}
    return _short_text([node for node in before if node.region not in with_room], need)


def able_nodes(nodes: Sequence[Node], need: Need) -> list[Node]:
    """The nodes that could hold such a replica if they were empty; FailedPrecondition, with what there is, if none."""
    labelled = labelled_nodes(nodes, need)
    if not labelled:
        raise FailedPrecondition(
            f"there is no node{wish_text(need)}",
            field=_field(nodes, need),
            hint=f"ask for what there is: {stock_text(nodes)}",
        )
    able = [node for node in labelled if not short_ever(node, need)]
    if not able:
        largest = max(labelled, key=lambda n: (n.accelerators * n.accelerator_bytes, n.memory_bytes))
        raise FailedPrecondition(
            f"no node can hold such a replica: {largest.name} {short_ever(largest, need)}",
            field=_size_field(largest, need),
            hint=f"ask for what there is: {stock_text(nodes)}",
        )
    return able


def labelled_nodes(nodes: Sequence[Node], need: Need) -> list[Node]:
    """The nodes of the wanted accelerator type and regions."""
    return [
        node
        for node in nodes
        if need.accelerator_type in (None, node.accelerator_type)
        and (need.regions is None or node.region in need.regions)
    ]


def short_ever(node: Node, need: Need) -> str:
    """What the node lacks even when it is empty, or ""."""
    if need.accelerators > node.accelerators:
        return f"has {node.accelerators} accelerators, not {need.accelerators}"
    if need.device_bytes > node.accelerator_bytes and need.accelerators:
        return f"has {gib(node.accelerator_bytes)} on each accelerator, and {gib(need.device_bytes)} are needed"
    if need.memory_bytes > node.memory_bytes:
        return f"has {gib(node.memory_bytes)} of memory for replicas, and {gib(need.memory_bytes)} are needed"
    if need.threads > node.threads:
        return f"has room for {node.threads} threads, and {need.threads} are wanted"
    return ""


def short_now(node: Node, need: Need) -> str:
    """What the node lacks now, or ""."""
    if node.closed:
        return node.closed
    free = sum(room > 0 and room >= need.device_bytes for room in node.free_device_bytes)
    if need.accelerators > free:
        return f"accelerators: {need.accelerators} wanted, {free} free"
    if need.memory_bytes > node.free_memory_bytes:
        return f"{gib(need.memory_bytes)} of memory wanted, {gib(max(0, node.free_memory_bytes))} free"
    if need.threads > node.free_threads:
        return f"threads: {need.threads} wanted, {max(0, node.free_threads)} free"
    return ""


def wish_text(need: Need) -> str:
    """The labels that are wanted, for people: " with NVIDIA_L4_24GB in US_IOWA_1"."""
    kind = need.accelerator_type or ("any accelerator" if need.accelerators else "")
    where = "" if need.regions is None else f" in {_regions_text(need.regions)}"
    return (f" with {kind}" if kind else "") + where


def stock_text(nodes: Sequence[Node]) -> str:
    """What there is, for people: kinds and regions of nodes with their counts."""
    kinds = Counter((node.accelerators, node.accelerator_type or node.device, node.region) for node in nodes)
    parts = [f"{count} node{'s' * (count > 1)} with {_kind(*kind)}" for kind, count in sorted(kinds.items())]
    return ", ".join(parts[:8]) + _more(len(parts) - 8) if parts else "no node at all"


def _kind(accelerators: int, kind: str, region: str) -> str:
    devices = f"{accelerators} x {kind}" if accelerators else f"no accelerator ({kind})"
    return f"{devices} in {_place(region)}"


def _regions_text(regions: frozenset[str]) -> str:
    shown = sorted(regions)
    return " or ".join(shown) if len(shown) <= 3 else f"{', '.join(shown[:3])} or {len(shown) - 3} other regions"


def _field(nodes: Sequence[Node], need: Need) -> str:
    """Which of the two labels is at fault."""
    return "placement" if any(need.accelerator_type in (None, n.accelerator_type) for n in nodes) else "acceleratorType"


def _size_field(node: Node, need: Need) -> str:
    """Which wish to lower."""
    if need.accelerators > node.accelerators:
        return "acceleratorCount"
    return "firedeck.threads" if need.threads > node.threads else "maxContextLength"


def _price(node: Node) -> float:
    return node.price_per_hour or 0.0


def _short_text(nodes: Sequence[Node], need: Need) -> str:
    """What each region lacks, the cheapest first; nodes by name where there is but one region."""
    by_region: dict[str, list[Node]] = {}
    for node in sorted(nodes, key=_price):
        by_region.setdefault(node.region, []).append(node)
    if len(by_region) == 1 and nodes[0].region == REGION_UNSPECIFIED:
        return _nodes_short(nodes, need)
    parts = [f"{_place(region)} ({_nodes_short(there, need)})" for region, there in by_region.items()]
    return ", ".join(parts[:REGIONS_SHOWN]) + _more(len(parts) - REGIONS_SHOWN)


def _nodes_short(nodes: Sequence[Node], need: Need) -> str:
    shown = "; ".join(f"{node.name}: {short_now(node, need)}" for node in nodes[:NODES_SHOWN])
    return shown + _more(len(nodes) - NODES_SHOWN)


def _place(region: str) -> str:
    return "no region" if region == REGION_UNSPECIFIED else region


def _left(node: Node) -> int:
    return sum(room > 0 for room in node.free_device_bytes)


def _more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""
