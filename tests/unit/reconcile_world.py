"""One deployment in a world of faults, on a virtual clock: what the reconciler says is done, and its promises checked.

Everything random comes from one seed. Nothing here waits: an hour takes milliseconds.
"""

from __future__ import annotations

import random
from itertools import count

from engine.control.backoff import Backoff, Starts
from engine.control.reconcile import (
    SERVING,
    STARTING,
    SURGE,
    Declared,
    Do,
    Observed,
    Stage,
    Step,
    standing,
    steps,
    stopped,
)  # fmt: skip
from engine.control.rollout import Progress
from tests.unit.reconcile_process import LEGAL, Process, Settings

FAULTY_S = 600.0
SETTLE_S = 1800.0  # a start that hangs is given up after 600 s, and a roll-out goes one by one
CALM_TICK_S = 10.0


class World:
    """`live(seconds)` goes on with faults, `rest(seconds)` without; both check every promise at every tick."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = 1000.0
        self.tick_s = self.chance.choice([0.5, 1.0, 2.0, 5.0])
        self.high = self.chance.randint(1, 5)
        self.low = self.chance.randint(0, self.high)
        self.desired = self.chance.randint(self.low, self.high)
        self.deleted = False
        self.kinds: dict[str, Settings] = {"g0": Settings()}
        self.generation = "g0"
        self.progress = Progress()
        self.backoffs = Starts()
        self.processes: dict[str, Process] = {}
        self.born = 0
        self.buried = 0
        self.ticks = 0
        self.settling_s = 0.0
        self.placeable = True
        self.places = self.chance.choice([2, 3, 5, 100])
        self._ids = count()

    # What the fleet would tell the reconciler

    @property
    def declared(self) -> Declared:
        return self.progress.declare(self.generation, self.desired, self.backoffs, deleted=self.deleted)

    @property
    def served(self) -> str | None:
        return self.progress.served

    def backoff(self, generation: str) -> Backoff:
        return self.backoffs.of(generation)

    def observed(self) -> list[Observed]:
        return [self._seen(p) for p in self.processes.values()]

    def _seen(self, p: Process) -> Observed:
        stuck_s = self.now - p.stuck_since if p.stuck_since is not None and p.alive else 0.0
        return Observed(
            p.id, p.stage, p.generation, p.alive, len(p.work_ends), p.born_at, p.stage_since, wedged=p.wedged,
            short=p.short,
            silent_s=stuck_s * (p.stuck_as == "silent"), stalled_s=stuck_s * (p.stuck_as == "stalled"),
            unanswered_s=stuck_s * (p.stuck_as == "lost"),
        )  # fmt: skip

    @property
    def stopped(self) -> bool:
        return stopped(self.declared, self.observed(), self.backoff(self.generation))

    # One look after the other

    def live(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self._happen()
            self.tick(self.tick_s * self.chance.uniform(0.5, 1.5))

    def rest(self, seconds: float) -> float:
        """After how many seconds it was settled for good."""
        self.placeable, self.places = True, max(self.places, self.desired)
        began = unsettled_at = self.now
        while self.now < began + seconds:
            self.tick(CALM_TICK_S)
            if not self.settled():
                unsettled_at = self.now
        return unsettled_at - began

    def tick(self, seconds: float) -> list[Step]:
        self.now += seconds
        self.ticks += 1
        for process in list(self.processes.values()):
            self._move(process)
        self.backoffs.forgive(self._ready_since, self.now)
        before = self.observed()
        found = steps(self.declared, before, self.backoff(self.generation), self.now)
        again = steps(self.declared, before, self.backoff(self.generation), self.now)
        assert found == again
        for step in found:
            self._do(step)
        self._check(before, found)
        for step in found:
            assert step.do != Do.START or self.now >= self.backoff(step.generation).holds_until(), "a wait was not kept"
        self.progress = self.progress.after(self.declared, before, self.backoffs, self.now)
        return found

    def settled(self) -> bool:
        """Just the desired replicas, all ready, of one kind; and nothing left to do."""
        kinds = {p.generation for p in self.processes.values()}
        ready = sum(p.stage == Stage.READY and p.alive for p in self.processes.values())
        wanted = 0 if self.deleted else self.desired
        return ready == len(self.processes) == wanted and (self.stopped or kinds <= {self.generation})

    # The promises

    def _check(self, before: list[Observed], found: list[Step]) -> None:
        wanted = 0 if self.deleted else self.desired
        serving = [p for p in self.processes.values() if p.alive and p.stage in SERVING]
        rolling = any(p.generation != self.generation for p in serving)
        assert len(serving) <= wanted + (SURGE if rolling else 0), (len(serving), wanted)
        assert wanted <= self.high
        told = [s.replica for s in found if s.do != Do.START]
        assert len(told) == len(set(told))
        drained = {s.replica for s in found if s.do == Do.DRAIN}
        forced = {s.replica for s in found if s.do == Do.TERMINATE}
        ready = {r.id for r in before if r.alive and r.stage == Stage.READY} - forced
        short = any(r.short and r.alive and r.generation == self.generation for r in before)
        room = min(wanted, max(self.progress.places, standing(before)))
        needed = max(min(wanted, 1), room - 1) if short and not self.stopped else wanted
        assert len(ready - drained) >= min(needed, len(ready))
        assert self.born == self.buried + len(self.processes)
        for step in found:
            if step.do == Do.TERMINATE and not step.fault:
                assert not self.processes[step.replica].work_ends, "a request was lost in a drain"

    # What is done

    def _do(self, step: Step) -> None:
        if step.do == Do.START:
            self._start(step.generation)
            return
        p = self.processes[step.replica]
        if step.do == Do.BURY:
            assert not p.alive
            self._bury(p)
        elif step.do == Do.KEEP:
            self._enter(p, Stage.READY)
        elif step.do == Do.DRAIN and p.stage == Stage.READY:
            self._enter(p, Stage.DRAINING)
        elif step.do in {Do.DRAIN, Do.TERMINATE}:
            p.wedged = step.fault
            self._enter(p, Stage.STOPPING)
            p.ends_at = self.now + self.chance.uniform(0, 3)
            p.deaf = p.stuck_since is not None or self.chance.random() < 0.1
        else:
            p.alive = False
            p.stage_since = self.now

    def _start(self, generation: str) -> None:
        p = Process(f"r{next(self._ids)}", generation, self.now, stage_since=self.now, moves_at=self.now)
        self.processes[p.id] = p
        self.born += 1

    def _bury(self, p: Process) -> None:
        if p.stage != Stage.STOPPING or p.wedged:
            self.backoffs.died(p.generation, p.ready_at, self.now, "it died", own_fault=True)
        del self.processes[p.id]
        self.buried += 1

    def _enter(self, p: Process, stage: Stage) -> None:
        assert stage in LEGAL[p.stage], (p.stage, stage)
        p.stage, p.stage_since = stage, self.now
        if stage == Stage.READY and p.ready_at is None:
            p.ready_at = self.now

    def _move(self, p: Process) -> None:
        """What time does to a process."""
        if not p.alive:
            return
        p.work_ends = [at for at in p.work_ends if at > self.now or p.stuck_since is not None]
        kind = self.kinds[p.generation]
        if p.stage == Stage.STOPPING:
            p.alive = p.deaf or self.now < (p.ends_at or 0)
        elif p.stage in STARTING and p.stuck_since is None and self.now >= p.moves_at:
            self._advance(p, kind)
        elif p.ready_at is not None and kind.lives_s is not None and self.now - p.ready_at > kind.lives_s:
            p.alive = False

    def _advance(self, p: Process, kind: Settings) -> None:
        p.moves_at = self.now + self.chance.uniform(0.5, 10)
        if p.stage == Stage.PENDING_SCHEDULING and not p.short and self.chance.random() < 0.5:
            self._enter(p, Stage.DOWNLOADING_MODEL)
        elif p.stage != Stage.INITIALIZING:
            p.short = not self.placeable or standing(self.observed()) >= self.places
            if not p.short:
                self._enter(p, Stage.INITIALIZING)
        elif kind.crashes:
            p.alive = False
        else:
            self._enter(p, Stage.READY)

    def _ready_since(self, generation: str) -> list[float]:
        ready = [p for p in self.processes.values() if p.stage == Stage.READY and p.generation == generation]
        return [p.ready_at for p in ready if p.ready_at is not None]

    # What happens

    def _happen(self) -> None:
        self._traffic()
        chance = self.tick_s / 20  # something every twenty seconds or so
        if self.chance.random() < chance:
            self.chance.choice([
                self.scale, self.change, self.change, self.crash, self.crash, self.stick, self.stick, self.stock_out,
                self.restart_engine, self.delete_or_bring_back,
            ])()  # fmt: skip

    def _traffic(self) -> None:
        for p in self.processes.values():
            if p.stage == Stage.READY and p.alive and len(p.work_ends) < 4 and self.chance.random() < 0.3:
                p.work_ends.append(self.now + self.chance.expovariate(1 / 8))

    def scale(self) -> None:
        self.high = self.chance.randint(0, 6)
        self.low = self.chance.randint(0, self.high)
        self.desired = self.chance.randint(self.low, self.high)
        self.backoffs.forget()

    def change(self) -> None:
        """New settings, or back to the first ones."""
        self.backoffs.forget()
        if self.chance.random() < 0.3:
            self.generation = "g0"
            return
        self.generation = f"g{len(self.kinds)}"
        bad = Settings(crashes=True), Settings(lives_s=20), Settings(lives_s=200)
        kind = self.chance.choice([Settings(), Settings(), *bad])
        self.kinds[self.generation] = kind

    def _victim(self) -> Process | None:
        living = [p for p in self.processes.values() if p.alive and p.stage != Stage.PENDING_SCHEDULING]
        return self.chance.choice(living) if living else None

    def crash(self) -> None:
        victim = self._victim()
        if victim:
            victim.alive = False

    def stick(self) -> None:
        """SIGSTOP, a wedged decode, a request lost inside, a load that hangs. A download is no process, and ends."""
        victim = self._victim()
        if victim and victim.stuck_since is None and victim.stage != Stage.DOWNLOADING_MODEL:
            victim.stuck_since = self.now
            victim.stuck_as = self.chance.choice(["silent", "stalled", "lost"])

    def stock_out(self) -> None:
        self.placeable = not self.placeable

    def restart_engine(self) -> None:
        """kill -9: what has no process is forgotten, what lives is taken over, failures are remembered."""
        for p in list(self.processes.values()):
            if not p.alive or p.stage in {Stage.PENDING_SCHEDULING, Stage.DOWNLOADING_MODEL}:
                del self.processes[p.id]
                self.buried += 1
            elif p.stage != Stage.STOPPING:
                p.stage, p.stage_since, p.moves_at, p.work_ends = Stage.INITIALIZING, self.now, self.now, []
                p.ready_at = None

    def delete_or_bring_back(self) -> None:
        self.deleted = not self.deleted
