"""What happens in a simulated week: load, faults, changes by users, restarts of the engine. All drawn from its seed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace

from engine.control import autoscale, lifecycle
from engine.control.autoscale import LoadHistory
from engine.control.rollout import Progress
from engine.placement.simulated.cloud import Cloud
from tests.faults.week_parts import DAY_S, HOUR_S, Deployed, Size


@dataclass(frozen=True, slots=True)
class Events:
    """`counts` says how often what happened."""

    size: Size
    chance: random.Random
    counts: Counter[str]

    def happen(self, d: Deployed, now: float) -> None:
        """Load, faults and users' changes since the last look; in the calm at the end only an even load."""
        passed, chance = now - d.looked_at, self.chance
        if now >= self.size.calm_from:
            return
        if now >= d.load_until:
            most = 8.0 * self.size.most_each
            d.load = chance.choice((0.0, chance.uniform(0, 8), chance.uniform(0, most), chance.uniform(0, most)))
            d.load_until = now + chance.uniform(60, 4 * HOUR_S)
        if chance.random() < self.size.faults_per_day * passed / DAY_S:
            self._fault(d, now)
        if chance.random() < self.size.changes_per_day * passed / DAY_S:
            self._change(d, now)

    def _fault(self, d: Deployed, now: float) -> None:
        kind = self.chance.choice(self.size.faults)
        victims = [unit for unit in d.units.values() if unit.placed and unit.well()]
        self.counts[kind] += 1
        if kind == "broken starts":
            d.broken_until = min(self.size.calm_from, now + self.chance.uniform(60, 1800))
        elif victims and kind == "crash":
            self.chance.choice(victims).dead = True
        elif victims:
            victim = self.chance.choice(victims)
            victim.stuck_since, victim.silent = now, self.chance.random() < 0.5

    def _change(self, d: Deployed, now: float) -> None:
        """What a user does: new settings, former ones, another maximum, a count by hand, delete, undelete."""
        kind = self.chance.choice(("settings", "settings", "taken back", "maximum", "scale", "delete", "undelete"))
        self.counts[kind] += 1
        if kind == "delete":
            d.deleted = True
        elif kind == "undelete" and d.deleted:
            self._undelete(d, now)
        elif kind != "undelete" and not d.deleted:
            d.starts.forget()
            self._update(d, kind, now)

    def _update(self, d: Deployed, kind: str, now: float) -> None:
        if kind == "settings":
            d.generation, d.generations = f"g{d.generations}", d.generations + 1
            if self.chance.random() < 0.3:
                d.broken.add(d.generation)
        elif kind == "taken back":
            d.generation = f"g{self.chance.randrange(d.generations)}"
        elif kind == "maximum":
            most = max(d.policy.min_replicas, self.chance.randint(0, self.size.most_each))
            d.policy = replace(d.policy, max_replicas=most)
        else:
            count = self.chance.randint(min(d.policy.min_replicas, d.policy.max_replicas), d.policy.max_replicas)
            d.memory = autoscale.scale_to(d.policy, d.memory, count, now)
            d.raised_at = d.used_at = now

    @staticmethod
    def _undelete(d: Deployed, now: float) -> None:
        d.deleted, d.state = False, lifecycle.CREATING
        d.starts.forget()
        d.memory = autoscale.begin(d.policy, d.first_count(), now)
        d.idle_since = d.raised_at = d.used_at = now

    def restart(self, fleet: list[Deployed], cloud: Cloud, now: float) -> None:
        """The engine is killed and started again: of what it remembered failures stay, what ran is taken over."""
        self.counts["restart"] += 1
        for d in fleet:
            d.memory, d.history = autoscale.begin(d.policy, d.desired, now), LoadHistory(1000.0)
            d.progress = Progress(served=d.progress.served)
            d.idle_since = d.raised_at = d.used_at = now
            d.held_since = None
            d.looks.clear()
            for unit in list(d.units.values()):
                alive = unit.placed and not unit.dead and cloud.living(unit.id, now)
                if alive and not d.deleted:
                    unit.taken_over(now)
                else:  # what lives and belongs to nobody is killed by the engine that finds it
                    cloud.release(unit.id)
                    del d.units[unit.id]
