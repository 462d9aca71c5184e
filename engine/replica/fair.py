"""Jobs that wait for a slot, in the order in which they should get one.

    priority (aged) > tenant > adapter set > request > first come first served

Higher priority goes first, strictly. Equals share by tokens: the tenant that has had least, and within it the adapter
set that has had least, comes first. Requests of one adapter set take turns: otherwise one request with 128 choices
takes every slot, and all who come after wait for the last of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf

from engine.replica.job import AdapterSet, Job, Sink
from engine.replica.shares import Shares

# A tenant's jobs of one priority count one higher for each such time without a turn, up to the highest that waits.
# The wait since the last turn counts, not the age of a job: a long line that moves would else catch up with all above.
AGE_S = 30.0


@dataclass(slots=True, eq=False)
class _Line:
    """What waits of one tenant at one priority. `since` is when it began to wait or last had a turn, seconds."""

    tenant: str
    priority: int
    since: float
    preempted: deque[Job] = field(default_factory=deque)
    requests: dict[AdapterSet, dict[Sink, deque[Job]]] = field(default_factory=dict)  # in the order of their next turn

    def __bool__(self) -> bool:
        return bool(self.preempted or self.requests)

    def level(self, now: float, top: int) -> int:
        """The priority that it counts as."""
        return min(top, self.priority + max(0, int((now - self.since) // AGE_S)))

    def append(self, job: Job) -> None:
        self.requests.setdefault(job.adapters, {}).setdefault(job.sink, deque()).append(job)

    def remove(self, job: Job) -> None:
        if job in self.preempted:
            self.preempted.remove(job)
            return
        requests = self.requests[job.adapters]
        requests[job.sink].remove(job)
        if not requests[job.sink]:
            del requests[job.sink]
        if not requests:
            del self.requests[job.adapters]

    def end_turn(self, job: Job) -> None:
        """The request of `job` goes to the end."""
        requests = self.requests.get(job.adapters, {})
        if job.sink in requests:
            requests[job.sink] = requests.pop(job.sink)

    def jobs(self, adapter_sets: Iterable[AdapterSet]) -> Iterator[Job]:
        """All jobs, in the fair order: every request's first before any request's second."""
        yield from self.preempted
        for adapters in adapter_sets:
            yield from _take_turns(self.requests.get(adapters, {}).values())


class WaitingLine:
    """Waiting jobs by tenant and priority. A request is known by its sink. One thread.

    `now` is in seconds of one monotonic clock. A job's tenant, priority, adapters and sink must not change while it
    waits. `weights` gives tenants more or less than one share (above 0).
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._jobs: dict[Job, _Line] = {}
        self._lines: dict[tuple[str, int], _Line] = {}
        self._tenants: Shares[str] = Shares(weights)
        self._adapters: dict[str, Shares[AdapterSet]] = {}  # of the tenants that wait
        self._next_deadline = inf  # a lower bound: jobs that leave do not raise it

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        """All waiting jobs, in the order in which they came."""
        return iter(self._jobs)

    def add(self, jobs: Iterable[Job], now: float) -> None:
        """Let jobs wait. ValueError when one of them waits already."""
        for job in jobs:
            self._enter(job, now).append(job)

    def put_back(self, job: Job, now: float) -> None:
        """Let a preempted job wait again, before all others of its tenant and priority."""
        self._enter(job, now).preempted.appendleft(job)

    def candidates(self, now: float) -> Iterator[Job]:
        """Every waiting job, the one that should start first first; the others follow for when it does not fit.

        Lazy: after any change to the line ask anew.
        """
        levels = self._by_level(now)
        tenants = self._tenants.order()
        for level in sorted(levels, reverse=True):
            for tenant in tenants:
                for line in sorted(levels[level].get(tenant, ()), key=lambda line: line.since):
                    yield from line.jobs(self._adapters[tenant].order())

    def admit(self, job: Job, now: float) -> int:
        """Take out a job that starts now: its request, adapter set and tenant have had a turn. KeyError when it does
        not wait. Its tokens are charged apart.

        Returns the priority that it counted as. It should run as such: at its own it would be preempted at once by
        those that it has waited out.
        """
        line = self._jobs[job]
        level = line.level(now, self.top)
        self._tenants.turn(job.tenant)
        self._adapters[job.tenant].turn(job.adapters)
        line.end_turn(job)
        line.since = now
        self.remove(job)
        return level

    def remove(self, job: Job) -> bool:
        """Take out a job that will not start (cancelled, expired), wherever it stands; False when it does not wait."""
        line = self._jobs.pop(job, None)
        if line is None:
            return False
        line.remove(job)
        if not line:
            del self._lines[line.tenant, line.priority]
        self._tenants.leave(job.tenant)
        self._adapters[job.tenant].leave(job.adapters)
        if not self._adapters[job.tenant]:
            del self._adapters[job.tenant]
        return True

    def charge(self, job: Job, tokens: int) -> None:
        """Count tokens evaluated or generated for `job` (one that was admitted) to its tenant and adapter set.

        What is known at admission (the prompt that will be evaluated) is best charged there: the next candidate of
        the same step then already takes it into account.
        """
        self._tenants.charge(job.tenant, tokens)
        if job.tenant in self._adapters:
            self._adapters[job.tenant].charge(job.adapters, tokens)

    def expired(self, now: float) -> list[Job]:
        """The waiting jobs whose deadline has passed; they still wait until they are removed."""
        if now < self._next_deadline:
            return []
        self._next_deadline = min((job.deadline for job in self._jobs if job.deadline is not None), default=inf)
        return [job for job in self._jobs if job.deadline is not None and job.deadline <= now]

    def _enter(self, job: Job, now: float) -> _Line:
        """Count `job` as waiting; the line that it shall stand in."""
        if job in self._jobs:
            raise ValueError("the job waits already")
        line = self._lines.setdefault((job.tenant, job.priority), _Line(job.tenant, job.priority, now))
        self._jobs[job] = line
        self._tenants.join(job.tenant)
        self._adapters.setdefault(job.tenant, Shares()).join(job.adapters)
        if job.deadline is not None:
            self._next_deadline = min(self._next_deadline, job.deadline)
        return line

    def _by_level(self, now: float) -> dict[int, dict[str, list[_Line]]]:
        """The lines by what they count as now, then by tenant."""
        top = self.top
        levels: dict[int, dict[str, list[_Line]]] = {}
        for line in self._lines.values():
            levels.setdefault(line.level(now, top), {}).setdefault(line.tenant, []).append(line)
        return levels

    @property
    def top(self) -> int:
        """The highest priority that waits: aging lifts nobody above it."""
        return max((line.priority for line in self._lines.values()), default=0)


def _take_turns(queues: Iterable[Iterable[Job]]) -> Iterator[Job]:
    """The first of each, then the second of each, and so on."""
    turns = deque(iter(queue) for queue in queues)
    while turns:
        queue = turns.popleft()
        job = next(queue, None)
        if job is not None:
            yield job
            turns.append(queue)
