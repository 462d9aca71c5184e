"""The replicas of preemptible deployments, which give their places to those of others that find none.

One that is told to gets half a minute for its requests, as always when a replica ends. Its deployment goes on wanting
it: it waits in the line for room, behind all that do not give way. For whom they end is kept (`engine.fleet.claims`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass

from engine.clock import Clock
from engine.control.reconcile import Stage
from engine.fleet.claims import Claims
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
    """Those that stand, by id; and the room that is made by the end of some, each for one who asked for it.

    Whoever asks is told apart by what it is; it has one claim at a time. What others claimed before is theirs."""

    def __init__(self, driver: Driver, clock: Clock) -> None:
        self._driver, self._clock = driver, clock
        self._there: dict[str, Lodging] = {}
        self._on: dict[str, dict[str, Lodging]] = {}  # the same by node
        self._leaving: dict[str, None] = {}  # in order
        self.claims = Claims()

    def add(self, replica: Replica, give_way: Callable[[], None]) -> None:
        """One that has a place; one that has none, or has lost it already, is passed over."""
        if replica.placed is not None and replica.node is not None:
            lodging = Lodging(replica, replica.placed, replica.node.name, give_way)
            self._there[replica.id] = lodging
            self._on.setdefault(lodging.node, {})[replica.id] = lodging

    def leaves(self, replica: str) -> None:
        """It ends, for whatever reason."""
        if replica in self._there:
            self._leaving[replica] = None

    def gone(self, replica: str) -> None:
        """It has ended. Twice is fine, and so is one that never gave way."""
        self._leaving.pop(replica, None)
        lodging = self._there.pop(replica, None)
        if lodging is not None:
            there = self._on[lodging.node]
            del there[replica]
            if not there:
                del self._on[lodging.node]

    def make_room(self, asker: Hashable, need: Need) -> int:
        """How many end on the node where there will be room for one of this need, which is kept for `asker` from now
        on; no more are told to than it takes. 0: it cannot be had so, or this one gives way itself."""
        if need.preemptible or not self._there:
            return 0
        node = self._being_freed(need, asker)
        if node is None:
            told = self._chosen(need, asker)
            if not told:
                return 0
            node = self._there[told[0]].node
            for replica in told:
                self._leaving[replica] = None
                self._there[replica].give_way()
        self.claims.put(asker, node, need)
        return len(self._leaving.keys() & self._on.get(node, {}).keys())

    def could_make_room(self, asker: Hashable, need: Need) -> bool:
        """Whether `make_room` would."""
        if need.preemptible or not self._there:
            return False
        return self._being_freed(need, asker) is not None or bool(self._chosen(need, asker))

    def kept_from(self, asker: Hashable, need: Need) -> frozenset[str]:
        """The nodes where one of this need would take what others have claimed before."""
        return frozenset(node for node in self.claims.nodes_before(asker) if not self._room(node, need, asker))

    def _being_freed(self, need: Need, asker: Hashable) -> str | None:
        """The first node with room for it once those have ended that end already."""
        nodes = dict.fromkeys(self._there[replica].node for replica in self._leaving)
        return next((node for node in nodes if self._room(node, need, asker)), None)

    def _chosen(self, need: Need, asker: Hashable) -> tuple[str, ...]:
        staying = {replica: one for replica, one in self._there.items() if replica not in self._leaving}
        asked = [Lodger(replica, one.node, self._cost(one.replica)) for replica, one in staying.items()]
        return leavers(asked, lambda those: self._room(staying[next(iter(those))].node, need, asker, those))

    def _cost(self, replica: Replica) -> Cost:
        age_s = self._clock.monotonic() - replica.started_at
        return Cost(replica.stage != Stage.DRAINING, replica.stage == Stage.READY, replica.in_flight, age_s)

    def _room(self, node: str, need: Need, asker: Hashable, more: Collection[str] = ()) -> bool:
        """Whether the node will have room for one more once all that end there have ended, `more` of them too, and
        all that claimed some of it before have it."""
        there = self._on.get(node, {})
        gone = [one.placed for replica, one in there.items() if replica in self._leaving or replica in more]
        then = self._driver.would_be(node, gone, self.claims.before(asker, node))
        labelled = [] if then is None else fit.labelled_nodes([then], need)
        return any(not fit.short_ever(one, need) and not fit.short_now(one, need) for one in labelled)
