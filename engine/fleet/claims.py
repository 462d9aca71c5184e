"""Room that is being made, and for whom: what was claimed first is served first, and nobody else is told to make it.

A claim stands from the moment somebody ends for it until the one that it is for has a place or gives up.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable

from engine.placement.port import Need


class Claims:
    """By the one that each is for, who keeps its rank while it takes its room just now, or asks for other room."""

    def __init__(self) -> None:
        self._ranks: dict[Hashable, int] = {}  # the least is the oldest
        self._nodes: dict[Hashable, str] = {}  # where each claims; not of one that has taken its claim up
        self._on: dict[str, dict[Hashable, Need]] = {}  # the same by node, which is what all who wait ask for
        self._next = itertools.count()

    def __contains__(self, asker: Hashable) -> bool:
        return asker in self._nodes

    def put(self, asker: Hashable, node: str, need: Need) -> None:
        """One that has, or has taken up, a claim keeps its rank, wherever it claims now."""
        self.take_up(asker)
        if asker not in self._ranks:
            self._ranks[asker] = next(self._next)
        self._nodes[asker] = node
        self._on.setdefault(node, {})[asker] = need

    def take_up(self, asker: Hashable) -> None:
        """What it takes now is not to be counted twice."""
        node = self._nodes.pop(asker, None)
        if node is not None:
            claimed = self._on[node]
            del claimed[asker]
            if not claimed:
                del self._on[node]

    def drop(self, asker: Hashable) -> bool:
        """Whether it had any, be it that it has taken it up."""
        self.take_up(asker)
        return self._ranks.pop(asker, None) is not None

    def before(self, asker: Hashable, node: str) -> list[Need]:
        """What others claimed of a node before `asker` did, the oldest first."""
        rank, claimed = self._rank(asker), self._on.get(node, {})
        older = [(self._ranks[other], need) for other, need in claimed.items() if self._ranks[other] < rank]
        return [need for _, need in sorted(older, key=lambda one: one[0])]

    def nodes_before(self, asker: Hashable) -> list[str]:
        """Where others claimed something before `asker` did; each once."""
        rank = self._rank(asker)
        return [node for node, claimed in self._on.items() if any(self._ranks[other] < rank for other in claimed)]

    def _rank(self, asker: Hashable) -> float:
        return self._ranks.get(asker, math.inf)
