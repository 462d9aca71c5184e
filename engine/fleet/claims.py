"""Room that is being made, and for whom: what was claimed first is served first, and nobody else is told to make it.

A claim stands from the moment somebody ends for it until the one that it is for has a place or gives up.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import takewhile
from typing import NamedTuple

from engine.placement.port import Need


class Claim(NamedTuple):
    node: str
    need: Need


class Claims:
    """By the one that each is for, the oldest first. None: it takes its room just now, or asks for other room."""

    def __init__(self) -> None:
        self._claims: dict[Hashable, Claim | None] = {}

    def __contains__(self, asker: Hashable) -> bool:
        return self._claims.get(asker) is not None

    def put(self, asker: Hashable, node: str, need: Need) -> None:
        """One that has, or has taken up, a claim keeps its rank, wherever it claims now."""
        self._claims[asker] = Claim(node, need)

    def take_up(self, asker: Hashable) -> None:
        """What it takes now is not to be counted twice."""
        if asker in self:
            self._claims[asker] = None

    def drop(self, asker: Hashable) -> bool:
        """Whether it had any, be it that it has taken it up."""
        had = asker in self._claims
        self._claims.pop(asker, None)
        return had

    def before(self, asker: Hashable, node: str) -> list[Need]:
        """What others claimed of a node before `asker` did."""
        return [claim.need for claim in self._before(asker) if claim.node == node]

    def nodes_before(self, asker: Hashable) -> list[str]:
        """Where others claimed something before `asker` did; each once."""
        return list(dict.fromkeys(claim.node for claim in self._before(asker)))

    def _before(self, asker: Hashable) -> Iterator[Claim]:
        older = takewhile(lambda item: item[0] != asker, self._claims.items())
        return (claim for _, claim in older if claim is not None)
