"""The replicas of preemptible deployments, which give their places to those of others that find none.

One that is told to gets half a minute for its requests, as always when a replica ends. Its deployment goes on wanting
it: it waits in the line for room, behind all that do not give way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from engine.clock import Clock
from engine.control.reconcile import Stage
from engine.fleet.replica import Replica
from engine.placement import fit
from engine.placement.port import Driver, Need, Placed
from engine.placement.preemption import Cost, Lodger, leavers


@dataclass(frozen=True, slots=True)
class Lodging:
    """`give_way` begins its end, and is called once."""

    replica: Replica
    placed: Placed
    node: str
    give_way: Callable[[], None]


class Lodgers:
    """Those that stand, by id."""

    def __init__(self, driver: Driver, clock: Clock) -> None:
        self._driver, self._clock = driver, clock
        self._there: dict[str, Lodging] = {}
        self._leaving: set[str] = set()

    def add(self, replica: Replica, give_way: Callable[[], None]) -> None:
        """One that has a place; one that has none, or has lost it already, is passed over."""
        if replica.placed is not None and replica.node is not None:
            self._there[replica.id] = Lodging(replica, replica.placed, replica.node.name, give_way)

    def leaves(self, replica: str) -> None:
        """It ends, for whatever reason."""
        if replica in self._there:
            self._leaving.add(replica)

    def gone(self, replica: str) -> None:
        """It has ended. Twice is fine, and so is one that never gave way."""
        self._there.pop(replica, None)
        self._leaving.discard(replica)

    def make_room(self, need: Need) -> int:
        """How many end so that there will be room for one of this need, those that end already among them; no more are
        told to than it takes. 0: it cannot be had so, or this one gives way itself."""
        if need.preemptible or not self._there:
            return 0
        if self._room_without(self._leaving, need):
            return len(self._leaving)
        for replica in (told := self._chosen(need)):
            self._leaving.add(replica)
            self._there[replica].give_way()
        return len(told)

    def could_make_room(self, need: Need) -> bool:
        """Whether `make_room` would."""
        if need.preemptible or not self._there:
            return False
        return self._room_without(self._leaving, need) or bool(self._chosen(need))

    def _chosen(self, need: Need) -> tuple[str, ...]:
        staying = {replica: one for replica, one in self._there.items() if replica not in self._leaving}
        asked = [Lodger(replica, one.node, self._cost(one.replica)) for replica, one in staying.items()]
        return leavers(asked, lambda those: self._room_without(self._leaving.union(those), need))

    def _cost(self, replica: Replica) -> Cost:
        age_s = self._clock.monotonic() - replica.started_at
        return Cost(replica.stage == Stage.READY, replica.in_flight, age_s)

    def _room_without(self, replicas: Collection[str], need: Need) -> bool:
        """Whether a node that some of them stand on would have room, had they ended."""
        nodes = self._driver.without([self._there[replica].placed for replica in replicas])
        return any(not fit.short_ever(n, need) and not fit.short_now(n, need) for n in fit.labelled_nodes(nodes, need))
