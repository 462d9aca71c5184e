"""Days of a whole fleet in seconds: the engine's real decisions (autoscale, reconcile, roll-out, stockout) over
simulated nodes.

Everything that happens - load, crashes, wedges, broken starts, changes by users, restarts of the engine - is drawn from
one seed. Each deployment is looked at every `TICK_S`, and sooner while something is under way with it, as its keeper
would. The rules that must hold whatever happens are asserted on the way: `tests.faults.week_checks`.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter

from engine.control import autoscale, lifecycle
from engine.control.autoscale import LoadSample
from engine.control.lifecycle import Facts
from engine.control.reconcile import STARTING, Do, Observed, Stage, Step, steps
from engine.control.stockout import retry_s
from engine.fleet.autoscaler import UNHEARD_AFTER_S
from engine.placement.port import Need, Stockout
from engine.placement.simulated.cloud import Cloud
from tests.faults import week_checks
from tests.faults.week_bill import Bill
from tests.faults.week_events import Events
from tests.faults.week_parts import HOUR_S, Deployed, Size, Unit
from tests.faults.week_world import deployed, world

TICK_S, SHORT_TICK_S, BUSY_TICK_S = 120.0, 30.0, 5.0
STOP_S = 3.0  # from SIGTERM to the end of a healthy process
REQUEST_S, ENDLESS_REQUEST_S = 20.0, 5000.0


class Week:
    """`run()` goes through all of it; `counts` says how often what happened."""

    def __init__(self, seed: int, size: Size) -> None:
        self.size, self.chance = size, random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.events = Events(size, self.chance, self.counts)
        self.cloud = Cloud(world(size, self.chance, seed))
        self.fleet = [deployed(n, size, self.chance) for n in range(size.deployments)]
        self.bills = {d.name: Bill() for d in self.fleet}
        self.most_replicas = self._ids = 0

    def run(self) -> None:
        agenda = [(self.chance.uniform(0, TICK_S), n) for n in range(len(self.fleet))]
        heapq.heapify(agenda)
        restarts = sorted(self.chance.uniform(0, self.size.calm_from) for _ in range(self.size.restarts))
        checked_at = 0.0
        while agenda[0][0] < self.size.seconds:
            now, number = heapq.heappop(agenda)
            if restarts and now >= restarts[0]:
                restarts.pop(0)
                self.events.restart(self.fleet, self.cloud, now)
                for bill in self.bills.values():
                    bill.restart()
            if now - checked_at >= HOUR_S:
                checked_at = now
                self._count_replicas()
                week_checks.nothing_leaks(self.fleet, self.cloud, now)
            heapq.heappush(agenda, (now + self.look(self.fleet[number], now), number))
        week_checks.nothing_leaks(self.fleet, self.cloud, self.size.seconds)
        self._end()

    def _count_replicas(self) -> None:
        self.most_replicas = max(self.most_replicas, len(self.cloud.spots))

    def _end(self) -> None:
        nodes = self.cloud.nodes(self.size.seconds)
        for d in self.fleet:
            week_checks.charged_as_ready(self.bills[d.name])
            week_checks.converged(d, nodes, by=self.size.seconds - self.size.calm_s / 3)
        self._count_replicas()
        self.counts["ready at the end"] = sum(len(d.ready()) for d in self.fleet)
        self.counts["short at the end"] = sum(not unit.placed for d in self.fleet for unit in d.units.values())
        self.counts["stopped at the end"] = sum(d.progress.stopped for d in self.fleet)

    def look(self, d: Deployed, now: float) -> float:
        """One look of the keeper; seconds until the next one."""
        self.events.happen(d, now)
        self._observe(d, now)
        d.starts.forgive(d.ready_since, now)
        self._decide(d, now)
        observed = [self._seen(unit, now) for unit in d.units.values()]
        declared = d.progress.declare(d.generation, d.desired, d.starts, deleted=d.deleted)
        found = steps(declared, observed, d.starts.of(d.generation), now)
        week_checks.no_request_lost(d, found, now)
        for step in found:
            self._do(d, step, now)
        week_checks.no_start_before_its_time(d, found, now)
        week_checks.as_many_as_wanted(d, observed, found)
        was_stopped, d.progress = d.progress.stopped, d.progress.after(declared, observed, d.starts, now)
        self.counts["stopped roll-outs"] += d.progress.stopped and not was_stopped
        self._place(d, now)
        self._show(d)
        self.bills[d.name].look(d.units.values(), now)
        week_checks.never_idle_while_something_is_amiss(d, now)
        d.looked_at = now
        self.counts["looks"] += 1
        return self._until_next(d, now)

    @staticmethod
    def _until_next(d: Deployed, now: float) -> float:
        """Soon while something is under way; where room is all that is missing, when it is asked for again."""
        if any(unit.placed and unit.stage != Stage.READY for unit in d.units.values()) or len(d.units) != d.desired:
            return BUSY_TICK_S
        if any(unit.stuck_since is not None for unit in d.units.values()):
            return BUSY_TICK_S
        tries = [unit.retry_at - now for unit in d.units.values() if not unit.placed]
        return max(SHORT_TICK_S, min([TICK_S, *tries]))

    def _observe(self, d: Deployed, now: float) -> None:
        """Where the replicas are by now, and what they have to do."""
        for unit in d.units.values():
            unit.dead = unit.dead or (unit.placed and not self._stands_still(unit, now))
            unit.dead = unit.dead or (unit.ends_at is not None and now >= unit.ends_at)
            told = unit.ends_at is not None  # by an earlier engine, and it says so
            arrived = unit.stage == Stage.INITIALIZING and not told and now >= self.cloud.spots[unit.id].ready_at
            if arrived and unit.well():
                unit.dead = now < d.broken_until or unit.generation in d.broken
                if not unit.dead:
                    unit.enter(Stage.READY, now)
            if unit.stage == Stage.DRAINING and unit.quits_at is not None and now >= unit.quits_at and unit.well():
                unit.in_flight = 0
        ready = d.ready()
        load = 0.0 if d.deleted else d.load
        for position, unit in enumerate(ready):
            unit.in_flight = int(load) // len(ready) + (position < int(load) % len(ready))
        draining = sum(unit.in_flight for unit in d.units.values() if unit.stage == Stage.DRAINING)
        if load + draining >= 1 or self._arriving(d):
            d.idle_since = now
        if load + draining >= 1:
            d.used_at = now
        d.held_since = None if ready or load < 1 else d.held_since if d.held_since is not None else now
        d.concurrency = load + draining
        d.history.add(LoadSample(now, d.concurrency))

    def _stands_still(self, unit: Unit, now: float) -> bool:
        """In the calm at the end nothing is preempted."""
        return self.cloud.living(unit.id, min(now, self.size.calm_from))

    @staticmethod
    def _arriving(d: Deployed) -> bool:
        failing = d.progress.starts_now(d.generation, d.starts).failing
        return not failing and any(unit.stage in STARTING for unit in d.units.values())

    def _decide(self, d: Deployed, now: float) -> None:
        stages = [unit.stage for unit in d.units.values()]
        held = int(d.load) if d.held_since is not None else 0
        short = [unit for unit in d.units.values() if not unit.placed and unit.tries]
        observed = autoscale.Observed(
            ready=stages.count(Stage.READY), starting=sum(stage in STARTING for stage in stages), held=held,
            running=sum(unit.in_flight for unit in d.units.values() if not unit.dead), idle_since=d.idle_since,
            oldest_held_s=now - d.held_since if d.held_since is not None else 0.0,
            missing=any(u.silent and now - (u.stuck_since or now) > UNHEARD_AFTER_S for u in d.ready()),
            unplaced=len(short), shortage="no room" if short else "",
        )  # fmt: skip
        before = d.memory.count or 0
        decision, d.memory = autoscale.decide(d.policy, d.memory, d.history, observed, now)
        d.count, d.codes = decision.desired, {reason.code for reason in decision.reasons}
        week_checks.scaled_by_the_rules(d, before, observed, now)
        self.counts["scalings"] += d.count != before

    @staticmethod
    def _seen(unit: Unit, now: float) -> Observed:
        stuck_s = 0.0 if unit.stuck_since is None else now - unit.stuck_since
        works = unit.stage in {Stage.READY, Stage.DRAINING}
        return Observed(
            unit.id, unit.stage, unit.generation, alive=not unit.dead, in_flight=unit.in_flight,
            started_at=unit.started_at, stage_since=unit.stage_since, silent_s=stuck_s * unit.silent,
            stalled_s=stuck_s * (works and not unit.silent), wedged=unit.wedged,
            short=not unit.placed and unit.tries > 0,
        )  # fmt: skip

    def _do(self, d: Deployed, step: Step, now: float) -> None:
        self.counts[step.do] += 1
        if step.do == Do.START:
            self._ids += 1
            unit = Unit(f"{d.name}-{self._ids}", step.generation, now, stage_since=now)
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
                endless = self.chance.random() < 0.01
                unit.quits_at = now + (ENDLESS_REQUEST_S if endless else self.chance.expovariate(1 / REQUEST_S))
            case Do.DRAIN | Do.TERMINATE:
                unit.wedged = unit.wedged or step.fault
                unit.enter(Stage.STOPPING, now)
                unit.ends_at = None if unit.stuck_since is not None else now + STOP_S
            case Do.KILL:
                unit.dead = True

    def _bury(self, d: Deployed, unit: Unit, now: float) -> None:
        if unit.stage != Stage.STOPPING or unit.wedged:
            own_fault = self._stands_still(unit, now)  # else its node was taken away
            d.starts.died(unit.generation, unit.ready_at, now, "it died", own_fault=own_fault)
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

    @staticmethod
    def _show(d: Deployed) -> None:
        """The state that users see."""
        stages, starts = [unit.stage for unit in d.units.values()], d.progress.starts_now(d.generation, d.starts)
        facts = Facts(
            deleted=d.deleted, desired=d.desired, living=len(stages), ready=stages.count(Stage.READY),
            old=sum(unit.generation != d.generation for unit in d.units.values()),
            failing=starts.failing, hopeless=starts.hopeless, stopped=d.progress.stopped,
        )  # fmt: skip
        former, d.state = d.state, lifecycle.state(d.state, facts)
        week_checks.legal(d, former)
