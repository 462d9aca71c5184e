"""Days of a whole fleet in seconds: the engine's real decisions (autoscale, reconcile, stockout) over simulated nodes.

Everything that happens - load, crashes, wedges, broken starts, changes by users, restarts of the engine - is drawn from
one seed. Each deployment is looked at every `TICK_S`, and sooner while something is under way with it, as its keeper
would. The rules that must hold whatever happens are asserted on the way.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import replace

from engine.control import autoscale
from engine.control.autoscale import LoadHistory, LoadSample, Policy
from engine.control.backoff import Backoff
from engine.control.reconcile import STARTING, SURGE, Declared, Do, Observed, Stage, Step, steps, stopped
from engine.control.stockout import retry_s
from engine.placement import fit
from engine.placement.port import Need, Stockout
from engine.placement.simulated.cloud import Cloud
from engine.placement.simulated.world import Closure, VirtualNode, World
from tests.faults.week_parts import Deployed, Size, Unit, check_steps

HOUR_S, DAY_S = 3600.0, 86_400.0
TICK_S, SHORT_TICK_S, BUSY_TICK_S = 120.0, 30.0, 5.0
STOP_S = 3.0  # from SIGTERM to the end of a healthy process
CALM_S = 3 * HOUR_S  # at the end: no faults, no changes, an even load
STABLE_S = 10.0
MOST = 39  # replicas of one deployment
H100, L4 = "NVIDIA_H100_80GB", "NVIDIA_L4_24GB"


class Week:
    """`run()` goes through all of it; `counts` says how often what happened."""

    def __init__(self, seed: int, size: Size) -> None:
        self.size, self.chance = size, random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.calm_from = size.seconds - CALM_S
        self.cloud = Cloud(self._world(seed))
        self.fleet = [self._deployed(n) for n in range(size.deployments)]
        self.most_replicas = self._ids = 0

    def _world(self, seed: int) -> World:
        """Nodes for a little less than is asked for at most, spot machines among them, stockouts and outages."""
        boxes = max(2, self.size.accelerators // 8)
        nodes = [
            VirtualNode(
                name=f"n{n}", region=("US_IOWA_1", "EU_PARIS_1")[n % 2], accelerator_type=H100 if n % 4 else L4,
                accelerators=8, accelerator_bytes=80 * 10**9, threads=4096, price_per_hour=1.0 + n % 3,
                preemptions_per_day=1.0 if n % 5 == 0 else 0.0,
            )
            for n in range(boxes)
        ]  # fmt: skip
        closures = [
            Closure(at, at + self.chance.uniform(300, 5400), fatal=self.chance.random() < 0.5, node=node.name)
            for node in self.chance.sample(nodes, max(1, boxes // 4))
            for at in [self.chance.uniform(0, max(1.0, self.calm_from - 5400))]
        ]
        return World(tuple(nodes), seed=seed, start_delay_s=30.0, start_spread=0.5, closures=tuple(closures))

    def _deployed(self, number: int) -> Deployed:
        chance = self.chance
        low = chance.choice((0, 0, 0, 1, 2))
        policy = Policy(
            min_replicas=low, max_replicas=max(low, chance.randint(1, MOST)), up_window_s=30.0, down_window_s=600.0,
            zero_window_s=chance.choice((300.0, 3600.0)), targets={}, slots_per_replica=8,
        )  # fmt: skip
        regions = chance.choice((None, None, frozenset({"US_IOWA_1"}), frozenset({"US_IOWA_1", "EU_PARIS_1"})))
        need = Need(chance.choice((None, None, H100)), 1, regions, model_bytes=1 << 30)
        return Deployed(f"d{number}", policy, need)

    def run(self) -> None:
        agenda = [(self.chance.uniform(0, TICK_S), n) for n in range(len(self.fleet))]
        heapq.heapify(agenda)
        restarts = sorted(self.chance.uniform(0, self.calm_from) for _ in range(self.size.restarts))
        checked_at = 0.0
        while agenda[0][0] < self.size.seconds:
            now, number = heapq.heappop(agenda)
            if restarts and now >= restarts[0]:
                restarts.pop(0)
                self._restart(now)
            if now - checked_at >= HOUR_S:
                checked_at = now
                self.check_fleet(now)
            heapq.heappush(agenda, (now + self.look(self.fleet[number], now), number))
        self.check_fleet(self.size.seconds)
        self.check_converged()

    def look(self, d: Deployed, now: float) -> float:
        """One look of the keeper; seconds until the next one."""
        self._happen(d, now)
        self._observe(d, now)
        self._decide(d, now)
        observed = [self._seen(unit, now) for unit in d.units.values()]
        found = steps(Declared(d.desired, d.wanted, d.deleted), observed, d.backoff, now)
        check_steps(d, observed, found, now)
        for step in found:
            self._do(d, step, now)
        self._place(d, now)
        self.check_deployment(d)
        d.looked_at = now
        self.counts["looks"] += 1
        return self._until_next(d, now)

    @staticmethod
    def _until_next(d: Deployed, now: float) -> float:
        """Soon while something is under way; where room is all that is missing, when it is asked for again."""
        if any(unit.placed and unit.stage != Stage.READY for unit in d.units.values()) or len(d.units) != d.desired:
            return BUSY_TICK_S
        tries = [unit.retry_at - now for unit in d.units.values() if not unit.placed]
        return max(SHORT_TICK_S, min([TICK_S, *tries]))

    def _happen(self, d: Deployed, now: float) -> None:
        """Load, faults and users' changes since the last look; in the calm at the end only an even load."""
        passed, chance = now - d.looked_at, self.chance
        if now >= d.load_until and now < self.calm_from:
            d.load = chance.choice((0.0, chance.uniform(0, 8), chance.uniform(0, 300), chance.uniform(0, 300)))
            d.load_until = now + chance.uniform(60, 4 * HOUR_S)
        if now >= self.calm_from:
            return
        if chance.random() < self.size.faults_per_day * passed / DAY_S:
            self._fault(d, now)
        if chance.random() < self.size.changes_per_day * passed / DAY_S:
            self._change(d, now)

    def _fault(self, d: Deployed, now: float) -> None:
        kind = self.chance.choice(("crash", "wedge", "broken starts"))
        victims = [unit for unit in d.units.values() if unit.placed and not unit.dead]
        self.counts[kind] += 1
        if kind == "broken starts":
            d.broken_until = now + self.chance.uniform(60, 1800)
        elif victims and kind == "crash":
            self.chance.choice(victims).dead = True
        elif victims:
            self.chance.choice(victims).stuck_since = now

    def _change(self, d: Deployed, now: float) -> None:
        """What a user does: new settings, another maximum, a count by hand, delete, undelete."""
        kind = self.chance.choice(("settings", "settings", "maximum", "scale", "delete", "undelete"))
        self.counts[kind] += 1
        d.backoff = Backoff()
        if kind == "settings":
            d.generation += 1
        elif kind == "maximum":
            most = max(d.policy.min_replicas, self.chance.randint(0, MOST))
            d.policy = replace(d.policy, max_replicas=most)
        elif kind == "scale":
            d.memory = autoscale.scale_to(d.policy, d.memory, self.chance.randint(0, MOST), now)
        else:
            d.deleted = kind == "delete"

    def _restart(self, now: float) -> None:
        """The engine is killed and started again: what it remembered is gone, what ran is taken over."""
        self.counts["restart"] += 1
        for d in self.fleet:
            d.memory, d.history = autoscale.begin(d.policy, d.desired, now), LoadHistory(1000.0)
            d.backoff, d.idle_since, d.held_since = Backoff(), now, None
            d.units = {unit.id: unit for unit in d.units.values() if unit.placed}
            for unit in d.units.values():
                if not unit.dead:
                    unit.enter(Stage.INITIALIZING, now)
                    unit.in_flight, unit.ends_at = 0, None

    def _observe(self, d: Deployed, now: float) -> None:
        """Where the replicas are by now, and what they have to do."""
        for unit in d.units.values():
            unit.dead = unit.dead or (unit.placed and not self.cloud.living(unit.id, now))
            unit.dead = unit.dead or (unit.ends_at is not None and now >= unit.ends_at)
            arrived = unit.stage == Stage.INITIALIZING and self.cloud.ready(unit.id, now)
            if arrived and not unit.dead and unit.stuck_since is None:
                unit.dead = now < d.broken_until
                if not unit.dead:
                    unit.enter(Stage.READY, now)
                    unit.was_ready = True
        ready = d.ready()
        load = 0.0 if d.deleted else d.load
        for position, unit in enumerate(ready):
            unit.in_flight = int(load) // len(ready) + (position < int(load) % len(ready))
        for unit in d.units.values():
            if unit.stage == Stage.DRAINING and now - unit.stage_since > BUSY_TICK_S and unit.stuck_since is None:
                unit.in_flight = 0
        if load >= 1:
            d.idle_since = now
        d.held_since = None if ready or load < 1 else d.held_since if d.held_since is not None else now
        d.history.add(LoadSample(now, load))
        last = d.backoff.last_failure_at
        if any(unit.stage_since > last and unit.stage_since <= now - STABLE_S for unit in ready):
            d.backoff = Backoff()

    def _decide(self, d: Deployed, now: float) -> None:
        if d.deleted:
            d.desired = 0
            return
        stages = [unit.stage for unit in d.units.values() if not unit.dead]
        if not d.backoff.failures and any(stage in STARTING for stage in stages):
            d.idle_since = now
        held = int(d.load) if d.held_since is not None else 0
        seen = autoscale.Observed(
            ready=stages.count(Stage.READY), starting=sum(stage in STARTING for stage in stages), held=held,
            running=sum(unit.in_flight for unit in d.ready()), idle_since=d.idle_since,
            oldest_held_s=now - d.held_since if d.held_since is not None else 0.0,
        )  # fmt: skip
        before, by_hand = d.desired, d.memory.count
        decision, d.memory = autoscale.decide(d.policy, d.memory, d.history, seen, now)
        d.desired = decision.desired
        low, high = d.policy.min_replicas, d.policy.max_replicas
        assert min(low, high) <= d.desired <= high, f"{d.name}: {d.desired} outside {low} to {high}"
        if before and not d.desired and by_hand and high:
            assert now - d.idle_since >= d.policy.zero_window_s - 1e-3, f"{d.name}: to zero while it was used"
        self.counts["scalings"] += d.desired != before

    def _seen(self, unit: Unit, now: float) -> Observed:
        stuck_s = 0.0 if unit.stuck_since is None else now - unit.stuck_since
        return Observed(
            unit.id, unit.stage, unit.generation, alive=not unit.dead, in_flight=unit.in_flight,
            started_at=unit.started_at, stage_since=unit.stage_since, stalled_s=stuck_s,
            wedged=unit.stuck_since is not None, short=not unit.placed and unit.tries > 0,
        )  # fmt: skip

    def _do(self, d: Deployed, step: Step, now: float) -> None:
        self.counts[step.do] += 1
        if step.do == Do.START:
            self._ids += 1
            unit = Unit(f"{d.name}-{self._ids}", d.wanted, now, stage_since=now)
            d.units[unit.id] = unit
            return
        unit = d.units[step.replica]
        match step.do:
            case Do.BURY:
                self._bury(d, unit, now)
            case Do.KEEP:
                unit.enter(Stage.READY, now)
            case Do.DRAIN if not unit.placed:
                del d.units[unit.id]
            case Do.DRAIN if unit.stage == Stage.READY:
                unit.enter(Stage.DRAINING, now)
            case Do.DRAIN | Do.TERMINATE:
                unit.enter(Stage.STOPPING, now)
                unit.ends_at = None if unit.stuck_since is not None else now + STOP_S
            case Do.KILL:
                unit.dead = True

    def _bury(self, d: Deployed, unit: Unit, now: float) -> None:
        wanted = unit.stage == Stage.STOPPING
        if not wanted and (not unit.was_ready or now - unit.stage_since < STABLE_S):
            d.backoff = Backoff(d.backoff.failures + 1, now)
        self.cloud.release(unit.id)
        del d.units[unit.id]

    def _place(self, d: Deployed, now: float) -> None:
        full = False  # for one replica is for all of them: they need the same
        for unit in [u for u in d.units.values() if not u.placed and now >= u.retry_at]:
            full = full or not self._stands(unit, d.need, now)
            if full:
                self.counts["stockouts"] += 1
                unit.tries += 1
                unit.retry_at = now + retry_s(unit.tries, self.chance.random())
            else:
                unit.placed = True
                unit.enter(Stage.INITIALIZING, now)

    def _stands(self, unit: Unit, need: Need, now: float) -> bool:
        try:
            self.cloud.place(unit.id, need, now)
        except Stockout:
            return False
        return True

    def check_deployment(self, d: Deployed) -> None:
        """After every look at it."""
        current = d.current()
        assert len(current) <= d.policy.max_replicas, f"{d.name}: {len(current)} > max {d.policy.max_replicas}"
        old = [unit for unit in d.ready() if unit.generation != d.wanted]
        assert len(old) <= MOST, f"{d.name}: {len(old)} replicas of former settings"
        assert not d.deleted or not current, f"{d.name} is deleted and has {len(current)} replicas"

    def check_fleet(self, now: float) -> None:
        """Every hour: nothing leaked, nothing doubled, no node over-full, nobody ready who is not declared."""
        placed = [(unit.id, d) for d in self.fleet for unit in d.units.values() if unit.placed]
        assert len({name for name, _ in placed}) == len(placed), "a replica stands twice"
        assert {name for name, _ in placed} == set(self.cloud.spots), "replicas and places do not match"
        used = Counter(spot.node for spot in self.cloud.spots.values())
        nodes = {node.name: node for node in self.cloud.nodes(now)}
        for name, count in used.items():
            assert count <= nodes[name].accelerators, f"{name} holds {count} replicas"
            assert count == sum(free == 0 for free in nodes[name].free_device_bytes)
        for name, d in placed:
            node = nodes[self.cloud.spots[name].node]
            assert d.need.accelerator_type in (None, node.accelerator_type)
            assert d.need.regions is None or node.region in d.need.regions
        self.most_replicas = max(self.most_replicas, len(placed))

    def check_converged(self) -> None:
        """At the end of the calm every deployment is as declared, or short of room and nothing else.

        Without room a rollout waits as well, rather than give up what serves for what may never be placed; and after
        a failed start no more are asked for until those that wait have been placed. A rollout that was stopped has its
        full count, of former settings.
        """
        for d in self.fleet:
            observed = [self._seen(unit, self.size.seconds) for unit in d.units.values()]
            held = stopped(Declared(d.desired, d.wanted, d.deleted), observed, d.backoff)
            states = Counter(unit.stage for unit in d.units.values())
            short = states[Stage.PENDING_SCHEDULING]
            old = sum(unit.generation != d.wanted for unit in d.units.values())
            waits = short and (d.desired == 1 or states[Stage.READY] < d.desired)
            assert not old or waits or held, f"{d.name}: old settings still run"
            assert not any(unit.dead or unit.stuck_since is not None for unit in d.units.values()), d.name
            there = states[Stage.READY] + states[Stage.INITIALIZING] + short
            wanted = d.desired + (0 if held else min(old, SURGE))
            fewer = short and d.backoff.failures and there < wanted
            assert there == len(d.units), f"{d.name}: {states}"
            assert there == wanted or fewer, f"{d.name}: {states}, and {wanted} wanted"
            assert not short or all(self._lacks(d)), f"{d.name} waits though there is room"
        self.counts["ready at the end"] = sum(len(d.ready()) for d in self.fleet)
        self.counts["short at the end"] = sum(not unit.placed for d in self.fleet for unit in d.units.values())

    def _lacks(self, d: Deployed) -> list[str]:
        nodes = self.cloud.nodes(self.size.seconds)
        return [fit.short_now(node, d.need) for node in fit.labelled_nodes(nodes, d.need)]
