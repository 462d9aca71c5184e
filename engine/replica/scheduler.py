"""The one thread that owns the context: admits jobs, plans rounds, sends events. Continuous batching.

    submit / cancel (any thread) --commands--> [ carry out commands, admit, a round ] --> sinks

Jobs join before prompts are read and leave between calls. Who goes first is the waiting line's business (fair.py),
what a round does the planner's, how it is done that of rounds.py, where KV state lies the memory's.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from client.errors import DeadlineExceeded, FiredeckError, Internal, InvalidArgument, Unavailable
from engine.replica import planner
from engine.replica.admission import Admission
from engine.replica.fair import WaitingLine
from engine.replica.inbox import Inbox
from engine.replica.job import Delta, Event, Failed, Finished, Job, Started
from engine.replica.llama import Logits
from engine.replica.loaded import Loaded
from engine.replica.memory import Memory
from engine.replica.meters import Meters
from engine.replica.rounds import Rounds
from engine.replica.sequence import NotNumbers, Sequence

# How long prompt chunks may hold up running sequences: with a decode step of 10 to 50 ms beside it, streams keep four
# tokens a second or more, or two where more prompts wait than run (planner._chunks). A tighter bound costs throughput,
# because steps run while an id still reads its prompt, and so narrower than they could be (8 streams of 200 + 64
# tokens: 0.90 of llama-server's output at 60 ms, 0.93 at 200 ms).
SHARED_CHUNK_MS = 200.0
ALONE_CHUNK_MS = 500.0  # how long a cancelled prompt may keep the context, and prompts alone make a new one wait
SMALLEST_CHUNK_TOKENS = 32


class Scheduler:
    """`submit` and `cancel` are thread safe, as are the read-only properties; the rest runs on the owning thread."""

    def __init__(self, loaded: Loaded, on_events: Callable[[], None]) -> None:
        self.meters = Meters()
        context = loaded.context
        self._context = context
        self._flush = on_events  # called after events were pushed: wakes the readers once a decode call
        self._inbox = Inbox()
        self._active: dict[int, Sequence] = {}
        self._waiting = WaitingLine()
        self.memory = Memory(
            context,
            can_reuse=loaded.model.can_reuse_prefix,
            budget_bytes=loaded.prefix_bytes,
            wide=loaded.wide,
        )
        self._rounds = Rounds(loaded, _limits(loaded), self.memory, self.meters, self._active, self)
        self._admission = Admission(loaded, self.memory, self._waiting, self._active, self.meters)
        self._progress_at, self._newcomers = time.monotonic(), False  # newcomers: since the last admission

    # What other threads may call

    def submit(self, jobs: list[Job]) -> None:
        """Queue the jobs of one request, all or none. Raises ResourceExhausted when the queue is full, Unavailable
        when the loop is to end."""
        self._inbox.take_in(len(jobs), lambda: self._enqueue(jobs))

    def cancel(self, jobs: list[Job]) -> None:
        """Stop these jobs once the call at hand is over, a decode step or a prompt chunk; jobs already over are
        unaffected. No event is sent for them."""
        self._inbox.put(lambda: self._cancel(jobs))

    def fail_all(self, error: FiredeckError) -> None:
        """End every job, running or waiting, with `error`."""
        self._inbox.put(lambda: self._fail_everything(error))

    def count_error(self) -> None:
        """Count a request that failed outside this thread."""
        self._inbox.put(self._count_error)

    def stop(self) -> None:
        """End the loop after the current round."""
        self._inbox.put(self._inbox.close)

    @property
    def running(self) -> int:
        return len(self._active)

    @property
    def waiting(self) -> int:
        return max(0, self._inbox.jobs - len(self._active))

    @property
    def last_progress_age_s(self) -> float:
        """Seconds since the last token or prompt chunk while there is work, else 0: a wedge shows as a growing age."""
        since = max(self._progress_at, self._inbox.busy_since)
        return time.monotonic() - since if self._inbox.jobs else 0.0

    # The loop

    def run(self) -> None:
        """Serve until `stop`. An error of ours fails the jobs at hand, never the loop."""
        while not self._inbox.closed:
            try:
                self._inbox.obey(wait=not self._active and not self._waiting)
                if self._inbox.closed:
                    break
                self._end_overdue()
                self._admit()
                self._rounds.next()
            except Exception as error:  # a bug here must cost the jobs at hand, not every later one
                self._fail_everything(Internal(f"the replica's scheduler failed: {error!r}"))
                self._context.clear()
                self.memory.forget()
            self._flush()
        self.abort(Unavailable("this replica is shutting down", retry_after_s=1.0))

    def abort(self, error: FiredeckError) -> None:
        """End every job with `error`, those still on their way too, and take no more. Owning thread."""
        self._inbox.close()
        self._inbox.obey_all()  # what killed the loop may be among them
        self._fail_everything(error)
        self._flush()

    def _enqueue(self, jobs: list[Job]) -> None:
        self.meters.counters.requests_total += 1
        self._waiting.add(jobs, time.monotonic())
        self._newcomers = True

    def _count_error(self) -> None:
        self.meters.counters.request_errors_total += 1

    def _cancel(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.cancelled = True
            if self._waiting.remove(job):
                self._end_unstarted(job)
                self.meters.counters.cancelled_total += 1
        for sequence in [s for s in self._active.values() if s.job.cancelled]:
            self._release(sequence)
            self.meters.counters.cancelled_total += 1

    def _end_overdue(self) -> None:
        now = time.monotonic()
        overdue = [s for s in self._active.values() if s.job.deadline is not None and s.job.deadline < now]
        for sequence in overdue:
            self.fail(sequence, _too_late())
        for job in self._waiting.expired(now):
            self._waiting.remove(job)
            self._fail_unstarted(job, _too_late())

    def _fail_everything(self, error: FiredeckError) -> None:
        for sequence in list(self._active.values()):
            with contextlib.suppress(Exception):  # an id that cannot be freed: the others are told all the same
                self.fail(sequence, error)
        for job in list(self._waiting):
            self._waiting.remove(job)
            self._fail_unstarted(job, error)

    def _admit(self) -> None:
        self._newcomers = False
        for job, error in self._admission.admit():
            self._fail_unstarted(job, error)
        for sequence in [s for s in self._active.values() if s.needs_first_token]:
            self._begin_as_leader(sequence)

    def _begin_as_leader(self, sequence: Sequence) -> None:
        """A further choice of a prompt: what its leader computed is all there, down to the logits."""
        leader = sequence.job.leader
        if leader is not None and leader.prompt_row is not None:
            self.prompt_done(sequence)
            self.take(sequence, leader.prompt_row)

    # What rounds tell (see rounds.Outcome)

    def between_calls(self) -> None:
        self._flush()
        self._inbox.obey()

    def pressing(self) -> bool:
        return self._newcomers and self._admission.has_place

    def admit_newcomers(self) -> None:
        if self.pressing():
            self._admit()

    def progressed(self) -> None:
        self._progress_at = time.monotonic()

    def make_room(self, sequence: Sequence, tokens: int) -> bool:
        """Shared cells only: idle prefixes give way first, then the sequence that would be missed least."""
        while not self.memory.make_room(tokens, self._admission.free()):
            victim = self._admission.least_missed()
            if victim is sequence:
                if len(self._active) == 1:
                    self.fail(sequence, InvalidArgument("this request needs more memory than the replica has"))
                else:
                    self._admission.park(sequence)
                return False
            self._admission.park(victim)
        return True

    def cleanse(self) -> None:
        """Shared cells: rid them of what is no number. Who finds no room again in this has to begin anew."""
        for identifier in self.memory.cleanse(self._active):
            if identifier in self._active:
                self._admission.park(self._active[identifier])

    def renew(self, sequence: Sequence) -> None:
        """With cells of its own: its state goes to RAM and on to clean cells."""
        if not self._context.unified:
            self._admission.park(sequence)
            self.memory.scrub(sequence.identifier)
        self.cleanse()

    def prompt_done(self, sequence: Sequence) -> None:
        job, times = sequence.job, sequence.job.times
        times.prefilled = sequence.last_token_at = time.monotonic()
        self.meters.ttft_s.observe(times.prefilled - times.submitted)
        self.meters.prefill_s.observe(times.prefilled - times.admitted)
        self._send(job, Started(job.index, sequence.cached_tokens, tuple(sequence.scores)))

    def take(self, sequence: Sequence, row: Logits) -> bool:
        """Sample one token of one sequence; its errors end it alone. False: it is over."""
        before = sequence.generated
        try:
            event = sequence.take(row)
        except FiredeckError as error:
            self.fail(sequence, error)
            return False
        except Exception as error:  # a request must never fail another
            self.fail(sequence, Internal(f"sampling failed: {error!r}"))
            return False
        made = sequence.generated - before
        self.meters.counters.generated_tokens_total += made
        self._waiting.charge(sequence.job, made)
        if isinstance(event, Finished):
            self._finish(sequence, event)
            return False
        if event is not None:
            self._send(sequence.job, event)
        return True

    # Endings

    def _finish(self, sequence: Sequence, event: Finished) -> None:
        if sequence.last_delta is not None:
            self._send(sequence.job, sequence.last_delta)
        self._send(sequence.job, event)
        self.meters.finished(event)
        self._release(sequence)

    def fail(self, sequence: Sequence, error: FiredeckError) -> None:
        """End one sequence with `error`. Nothing of what its id holds is trusted any more."""
        if self._active.get(sequence.identifier) is not sequence:
            return
        self.meters.counters.request_errors_total += 1
        self._send(sequence.job, Failed(sequence.job.index, error))
        self._release(sequence)
        if isinstance(error, NotNumbers):
            self.memory.scrub(sequence.identifier)
            self.cleanse()
        else:
            self.memory.drop(sequence.identifier)

    def _fail_unstarted(self, job: Job, error: FiredeckError) -> None:
        self.meters.counters.request_errors_total += 1
        self._send(job, Failed(job.index, error))
        self._end_unstarted(job)

    def _end_unstarted(self, job: Job) -> None:
        self._admission.discard(job)
        self._end_job(job)

    def _release(self, sequence: Sequence) -> None:
        """Free the id. What it holds stays as a prefix for later prompts."""
        del self._active[sequence.identifier]
        sequence.close()
        self._end_job(sequence.job)
        self.memory.release(sequence.identifier)

    def _end_job(self, job: Job) -> None:
        job.grammar = None  # shared by the choices of a request: freed with the last of them
        self._inbox.ended()

    def _send(self, job: Job, event: Event | Delta) -> None:
        if not job.cancelled:
            job.sink.push(event)


def _limits(loaded: Loaded) -> planner.Limits:
    return planner.Limits(
        batch_tokens=loaded.context.batch,
        smallest_chunk_tokens=SMALLEST_CHUNK_TOKENS,
        prefill_token_ms=loaded.costs.prefill_token_ms,
        shared_ms=SHARED_CHUNK_MS,
        alone_ms=ALONE_CHUNK_MS,
    )


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded("the request's deadline passed before it was finished")
