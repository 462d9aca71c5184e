"""Which replicas give their place to one that finds none: as few as make room, and none where none would. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple


class Cost(NamedTuple):
    """What is lost with a replica, compared in this order: one that would end anyway loses nothing, nor does one that
    starts; an idle one loses no request."""

    stays: bool = True
    ready: bool = False
    in_flight: int = 0
    age_s: float = 0.0


class Lodger(NamedTuple):
    """A replica that gives way, by its id."""

    replica: str
    node: str
    cost: Cost


def leavers(lodgers: Iterable[Lodger], makes_room: Callable[[Collection[str]], bool]) -> tuple[str, ...]:
    """Replicas of one node whose end `makes_room`, and not that of any part of them; () where not even all of a node's
    would do. The fewest that would stay over all nodes, then the fewest, then those that cost the least.

    `makes_room` is asked about replicas of one node, and what holds for some of them holds for more."""
    nodes: dict[str, list[Lodger]] = {}
    for lodger in sorted(lodgers, key=lambda one: one.cost):
        nodes.setdefault(lodger.node, []).append(lodger)
    found = [fewest for there in nodes.values() if (fewest := _needed(there, makes_room))]
    if not found:
        return ()
    best = min(found, key=lambda those: (sum(one.cost.stays for one in those), len(those), _costs(those)))
    return tuple(one.replica for one in best)


def _costs(those: Iterable[Lodger]) -> list[Cost]:
    return [one.cost for one in those]


def _needed(there: Sequence[Lodger], makes_room: Callable[[Collection[str]], bool]) -> list[Lodger]:
    """Those that have to go of a node's, the costliest of which stay if they can; [] where all of them would not do."""
    needed = list(there)
    if not makes_room([one.replica for one in needed]):
        return []
    for lodger in reversed(there):
        rest = [one for one in needed if one is not lodger]
        if rest and makes_room([one.replica for one in rest]):
            needed = rest
    return needed
