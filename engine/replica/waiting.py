"""Jobs that wait for a sequence id. Admission goes round robin over requests, first come first served within one.

Without it one request with 128 choices takes every id, and all who come after wait for the last of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from engine.replica.job import Job, Sink


class WaitingLine:
    """Jobs by request; a request is known by its sink. One thread."""

    def __init__(self) -> None:
        self._requests: dict[Sink, deque[Job]] = {}  # in the order of their next turn

    def __bool__(self) -> bool:
        return bool(self._requests)

    def __iter__(self) -> Iterator[Job]:
        return (job for jobs in self._requests.values() for job in jobs)

    def add(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._requests.setdefault(job.sink, deque()).append(job)

    def remove(self, job: Job) -> bool:
        """Take `job` out wherever it stands; False when it does not wait."""
        jobs = self._requests.get(job.sink)
        if jobs is None or job not in jobs:
            return False
        jobs.remove(job)
        if not jobs:
            del self._requests[job.sink]
        return True

    def take(self) -> Job | None:
        """The next job that may start, None when there is none. Its request goes to the end of the line."""
        for jobs in self._requests.values():
            job = next((job for job in jobs if _may_start(job)), None)
            if job is not None:
                self.remove(job)
                if jobs:
                    self._requests[job.sink] = self._requests.pop(job.sink)
                return job
        return None


def _may_start(job: Job) -> bool:
    """A job whose twin prefills now waits for its copy."""
    return job.leader is None or job.leader.prefilled_or_over
