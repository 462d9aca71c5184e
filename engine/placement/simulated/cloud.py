"""The virtual nodes and what stands on them, as a function of time: no clock, no I/O; all chance comes from one seed.

Instants are seconds since the simulation began, and calls come in order of time. A replica's fate (when it is ready,
when it is preempted) is drawn as it is placed, so that looking more or less often changes nothing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from engine.placement import fit
from engine.placement.port import Need, Node
from engine.placement.simulated.world import VirtualNode, World

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a replica stands: ready from `ready_at` on, taken away at `ends_at` (infinity: never), be it `preempted` or
    its node out of service."""

    node: str
    need: Need
    placed_at: float
    ready_at: float
    ends_at: float
    preempted: bool = False


@dataclass(slots=True)
class _Usage:
    """What replicas have of a node."""

    node: VirtualNode
    accelerators: int = 0
    memory_bytes: int = 0
    threads: int = 0
    shown: dict[str, Node] = field(default_factory=dict)  # by why it is closed, until something changes

    def add(self, need: Need, sign: int) -> None:
        self.accelerators += sign * need.accelerators
        self.memory_bytes += sign * need.memory_bytes
        self.threads += sign * need.threads
        self.shown.clear()

    def show(self, closed: str) -> Node:
        if closed not in self.shown:
            node, free = self.node, self.node.accelerators - self.accelerators
            self.shown[closed] = Node(
                name=node.name,
                device=f"simulated {node.accelerator_type or 'CPU'}",
                memory_bytes=node.memory_bytes,
                free_memory_bytes=node.memory_bytes - self.memory_bytes,
                threads=node.threads,
                free_threads=node.threads - self.threads,
                region=node.region,
                accelerator_type=node.accelerator_type,
                accelerators=node.accelerators,
                accelerator_bytes=node.accelerator_bytes,
                free_device_bytes=(node.accelerator_bytes,) * free + (0,) * self.accelerators,
                price_per_hour=node.price_per_hour,
                closed=closed,
            )
        return self.shown[closed]


class Cloud:
    """Replicas by id on the nodes of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.spots: dict[str, Spot] = {}
        self._chance = random.Random(world.seed)
        self._usages = {node.name: _Usage(node) for node in world.nodes}
        self._closures = {
            node.name: tuple(closure for closure in world.closures if closure.concerns(node)) for node in world.nodes
        }

    def nodes(self, now: float) -> list[Node]:
        return [usage.show(self._closed(name, now)) for name, usage in self._usages.items()]

    def node(self, name: str, now: float) -> Node:
        return self._usages[name].show(self._closed(name, now))

    def would_be(self, name: str, gone: Collection[str], come: Collection[Need], now: float) -> Node | None:
        """As `Driver.would_be` has it; `gone` by id."""
        if name not in self._usages:
            return None
        spots = [self.spots[replica] for replica in gone if replica in self.spots]
        usage = replace(self._usages[name], shown={})
        for need, sign in (*((spot.need, -1) for spot in spots if spot.node == name), *((need, 1) for need in come)):
            usage.add(need, sign)
        return usage.show(self._closed(name, now))

    def place(self, replica: str, need: Need, now: float, kept: Collection[str] = ()) -> Spot:
        """A spot for a replica that has none; Stockout or FailedPrecondition as `Driver.start` has them."""
        node = fit.choose(fit.without(self.nodes(now), kept), need)
        spread = self.world.start_spread * (2 * self._chance.random() - 1)
        ready_at, preempted_at = now + self.world.start_delay_s * (1 + spread), self._preempted_at(node.name, now)
        ends_at = min(preempted_at, self._outage_at(node.name, now))
        spot = Spot(node.name, need, now, ready_at, ends_at, preempted=ends_at == preempted_at < math.inf)
        self._usages[node.name].add(need, 1)
        self.spots[replica] = spot
        return spot

    def restore(self, replica: str, spot: Spot) -> bool:
        """One that an earlier engine placed; False where the world has no such node, or no such room, any more."""
        usage = self._usages.get(spot.node)
        if usage is None or fit.short_now(usage.show(""), spot.need):
            return False
        usage.add(spot.need, 1)
        self.spots[replica] = spot
        return True

    def living(self, replica: str, now: float) -> bool:
        spot = self.spots.get(replica)
        return spot is not None and now < spot.ends_at

    def ready(self, replica: str, now: float) -> bool:
        return self.living(replica, now) and now >= self.spots[replica].ready_at

    def release(self, replica: str) -> None:
        """It has ended: its room is free again. Twice is fine."""
        spot = self.spots.pop(replica, None)
        if spot is not None:
            self._usages[spot.node].add(spot.need, -1)

    def _closed(self, name: str, now: float) -> str:
        return next(("out of service" if c.fatal else "out of stock" for c in self._closures[name] if c.holds(now)), "")

    def _preempted_at(self, name: str, now: float) -> float:
        rate = self._usages[name].node.preemptions_per_day / DAY_S
        return now + self._chance.expovariate(rate) if rate else math.inf

    def _outage_at(self, name: str, now: float) -> float:
        """When the node goes out of service next."""
        outages = [at for c in self._closures[name] if c.fatal and (at := c.next_begin(now)) is not None]
        return min(outages, default=math.inf)
