"""Which waiting job may start, on which id, from which prefix; and who gives way when no id or no room is left.

A job starts when an id is free, its adapters fit beside those in use, and no running sequence is about to have more of
its prompt in memory. A job of higher priority, or of a tenant that has nothing running while another has several,
pushes aside the sequence that is missed least: its state goes to RAM and comes back bit for bit.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import islice

from client.errors import FiredeckError, Internal, ResourceExhausted
from engine.replica import speculation
from engine.replica.fair import WaitingLine
from engine.replica.job import Job
from engine.replica.loaded import Loaded
from engine.replica.memory import Memory, Prefix
from engine.replica.meters import Meters
from engine.replica.sequence import Sequence
from engine.replica.states import Handle

FAIR_AFTER_S = 2.0  # how long a tenant without a running sequence waits before another's gives way
GROWTH_TOKENS = 64  # what a job should be able to write before it is pushed aside again
LOOK_AHEAD = 64  # jobs looked at in one round, those not counted that are behind one that waits for adapters


class Admission:
    """`active` is the scheduler's own map of running sequences by id; admitted ones are added to it here."""

    def __init__(
        self, loaded: Loaded, memory: Memory, waiting: WaitingLine, active: dict[int, Sequence], meters: Meters
    ) -> None:
        self._loaded, self._memory, self._waiting = loaded, memory, waiting
        self._active, self._meters = active, meters
        self._slots = loaded.context.slots
        self._parked: dict[Job, tuple[Sequence, Handle | None]] = {}

    def free(self) -> list[int]:
        return [i for i in range(self._slots) if i not in self._active]

    @property
    def has_place(self) -> bool:
        """Whether an id is free, or somebody waits who may push another aside for one."""
        return len(self._active) < self._slots or self._waiting.top > self.least_missed().priority

    def admit(self) -> Iterator[tuple[Job, FiredeckError]]:
        """Start what may start. Yields the jobs that cannot, with the reason."""
        now = time.monotonic()
        adapters_taken, moved = False, False
        looked_at = 0
        for job in list(islice(self._waiting.candidates(now), None if self.free() else LOOK_AHEAD)):
            if job.adapters and adapters_taken:
                continue
            looked_at += 1
            if looked_at > LOOK_AHEAD:
                break
            fits = self._adapters_fit(job)
            aside = self._in_the_way(job, now) if fits else self._adapter_victims(job)
            if not fits and not aside:
                adapters_taken = True  # those behind must not keep the adapters that this one waits for
                continue
            if aside is None:
                break
            prefix = self._prefix(job)
            if prefix.awaited:
                continue
            if not self._has_room(job, prefix):
                victim = None if aside else self._victim(job, now)
                for sequence in aside or filter(None, [victim]):  # the next round sees whether that was enough
                    self.park(sequence)
                    moved = True
                break
            if self._loaded.context.unified:  # making room may have taken the prefix away
                prefix = self._prefix(job)
                if prefix.awaited:
                    continue
            for sequence in aside:
                self.park(sequence)
            priority = self._waiting.admit(job, now)
            moved = True
            try:
                self._start(job, prefix).priority = priority
            except Exception as error:  # which of the free ids was touched is unknown
                yield job, error if isinstance(error, FiredeckError) else Internal(f"could not be started: {error!r}")
                self._distrust()
        if not self._active and not moved:
            yield from self._stuck()

    def _stuck(self) -> Iterator[tuple[Job, FiredeckError]]:
        """With nothing running nothing will change: whatever still waits can never start."""
        for job in list(self._waiting):
            self._waiting.remove(job)
            yield job, ResourceExhausted("this request does not fit the replica")

    def _adapters_fit(self, job: Job, without: Collection[Sequence] = ()) -> bool:
        """Whether the adapters of `job` fit beside those that run, `without` some of them."""
        if not job.adapters:
            return True
        most = self._loaded.adapter_sequences
        users = [s.job for s in self._active.values() if s.job.adapters and s not in without]
        in_use = {use.digest for user in users for use in user.adapters}
        return (most is None or len(users) < most) and self._loaded.adapters.can_serve(job.adapters, in_use)

    def _has_room(self, job: Job, prefix: Prefix) -> bool:
        """With shared cells: whether the job's tokens and a few more fit beside those that run. Tokens of a prefix that
        it will share are there already."""
        if not self._active:
            return True
        parked = self._parked.get(job)
        tokens = len(parked[0].pending if parked else job.prompt_array) + GROWTH_TOKENS
        others = [i for i in self.free() if i != prefix.source]
        if prefix.source is not None and self._memory.make_room(tokens - prefix.tokens, others):
            return True
        return self._memory.make_room(tokens, self.free())

    def _prefix(self, job: Job) -> Prefix:
        if job in self._parked or job.score_prompt:
            return Prefix()
        if job.leader is not None and not job.said:
            whole = self._memory.find_whole((job.adapters, job.cache_key), job.prompt_array)
            if whole.awaited or (whole.tokens and job.leader.prompt_row is not None):
                return whole
        scope, limit = (job.adapters, job.cache_key), job.cache_max_tokens
        return self._memory.find(scope, job.prompt_array, max_reuse=limit, prompt_tokens=len(job.prompt))

    # Starting

    def _start(self, job: Job, prefix: Prefix) -> Sequence:
        if job in self._parked:
            return self._resume(job)
        target, reused = self._memory.place(prefix, self.free())
        model = self._loaded.model
        sequence = Sequence(job, target, model.vocabulary, model.vocabulary.end_tokens, self._loaded.wide)
        if job.speculate and model.can_reuse_prefix:  # rejected drafts have to be forgotten
            sequence.speculator = speculation.begin(
                self._loaded.speculation, self._loaded.drafting, prompt=job.prompt, prediction=job.prediction,
                counts=sequence.drafts, scope=sequence.scope,
            )  # fmt: skip
            if sequence.speculator is not None:
                for token in job.said:
                    sequence.speculator.advance(token)
        sequence.cached_tokens = reused
        self._occupy(sequence, target, reused)
        job.times.admitted = time.monotonic()
        self._meters.admitted(job, reused)
        self._waiting.charge(job, len(job.prompt_array) - reused)
        return sequence

    def _occupy(self, sequence: Sequence, target: int, held: int) -> None:
        sequence.occupy(target, held)
        self._memory.hold(target, sequence.scope, sequence.held, sequence.pending, sequence.wide_end)
        self._active[target] = sequence

    def _resume(self, job: Job) -> Sequence:
        sequence, handle = self._parked[job]
        target, restored = self._memory.resume(handle, self.free())
        self._occupy(sequence, target, sequence.parked_tokens if restored else 0)
        del self._parked[job]
        return sequence

    def _distrust(self) -> None:
        for identifier in self.free():
            self._memory.drop(identifier)

    # Giving way

    def _in_the_way(self, job: Job, now: float) -> list[Sequence] | None:
        """Whom `job` pushes aside for an id, if there is need; None when it has no right to."""
        if self.free():
            return []
        victim = self._victim(job, now)
        return None if victim is None else [victim]

    def _victim(self, job: Job, now: float) -> Sequence | None:
        """The sequence that `job` has the right to push aside, if any."""
        victim: Sequence | None = self.least_missed()
        if victim is not None and victim.priority >= job.priority:
            victim = self._of_greedy_tenant(job, now)
        return victim if victim is not None and victim.worth_parking else None

    def _of_greedy_tenant(self, job: Job, now: float) -> Sequence | None:
        """The last admitted sequence of the tenant with the most, when `job`'s tenant has had none for a while."""
        counts = Counter(s.job.tenant for s in self._active.values())
        tenant, most = counts.most_common(1)[0]
        if most < 2 or counts[job.tenant] or now - job.times.submitted < FAIR_AFTER_S:
            return None
        of_tenant = [s for s in self._active.values() if s.job.tenant == tenant and s.priority <= job.priority]
        return max(of_tenant, key=lambda s: s.job.times.admitted, default=None)

    def _adapter_victims(self, job: Job) -> list[Sequence]:
        """Those that `job` has the right to push aside so that its adapters fit, no more than need be; none when that
        would not be enough."""
        less_urgent = [s for s in self._active.values() if s.priority < job.priority and s.worth_parking]
        victims = sorted((s for s in less_urgent if s.job.adapters), key=_regret)
        if not self._adapters_fit(job, victims):
            return []
        for sequence in reversed(victims):  # the most missed is the first to be spared
            others = [s for s in victims if s is not sequence]
            if self._adapters_fit(job, others):
                victims = others
        return victims

    def least_missed(self) -> Sequence:
        """Of the running sequences, the one of lowest priority that came last."""
        return min(self._active.values(), key=_regret)

    def park(self, sequence: Sequence) -> None:
        """Set a running sequence aside; it waits for an id at the head of its tenant's line."""
        handle = self._memory.park(sequence.identifier)
        sequence.park()
        del self._active[sequence.identifier]
        self._parked[sequence.job] = (sequence, handle)
        self._waiting.put_back(sequence.job, time.monotonic())
        self._meters.counters.preemptions_total += 1

    def discard(self, job: Job) -> None:
        """`job` ended while it waited: free what was kept for it."""
        if job in self._parked:
            sequence, handle = self._parked.pop(job)
            sequence.close()
            if handle is not None:
                self._memory.discard(handle)


def _regret(sequence: Sequence) -> tuple[float, float]:
    """How much a running sequence would be missed; less is less."""
    return sequence.priority, -sequence.job.times.admitted
