"""The one thread that owns the context: admits jobs, steps sequences, sends events. Continuous batching.

    submit / cancel (any thread) --commands--> [ drain commands, admit, plan, decode groups, prefill a chunk ] --> sinks

Jobs join and leave between decode calls. A decode call that fails is repeated one sequence at a time, so that only
the sequence at fault fails. The loop sleeps when there is no work.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from client.errors import FiredeckError, Internal, ResourceExhausted, Unavailable
from engine.replica import planner
from engine.replica.costs import CostTable
from engine.replica.job import Delta, Event, Failed, Finished, Job, Started
from engine.replica.llama import Context, Model
from engine.replica.prefix import Placement, PrefixCache
from engine.replica.sequence import Sequence
from engine.replica.waiting import WaitingLine

# How long a prompt chunk may hold up running sequences: with a decode step of 10 to 40 ms beside it, streams keep ten
# tokens a second or more. Chunks below 32 tokens cost too much a token, so slow models are held up for longer.
SHARED_CHUNK_MS = 60.0
ALONE_CHUNK_MS = 500.0  # how long a cancelled prompt may keep the context, and a new one wait for its turn
MAX_WAITING = 1024
COMPACTION_GAIN = 1.15  # a move costs about a millisecond and a cached prefix


@dataclass(slots=True)
class Counters:
    """Totals since the process started."""

    requests_total: int = 0
    request_errors_total: int = 0
    prompt_tokens_total: int = 0
    cached_prompt_tokens_total: int = 0
    generated_tokens_total: int = 0
    decode_steps_total: int = 0
    decode_tokens_total: int = 0
    cancelled_total: int = 0


class Scheduler:
    """`submit` and `cancel` are thread safe, as are the read-only properties; the rest runs on the owning thread."""

    def __init__(self, model: Model, context: Context, costs: CostTable, on_events: Callable[[], None]) -> None:
        self.counters = Counters()
        self._model, self._context = model, context
        self._table = planner.tabulate(costs, context.slots)
        self._flush = on_events  # called after events were pushed: wakes the readers once a decode call
        self._stop_tokens = model.vocabulary.end_tokens
        self._cache = PrefixCache(context.slots)
        self._commands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._waiting = WaitingLine()
        self._active: dict[int, Sequence] = {}
        self._queued = 0
        self._lock = threading.Lock()
        self._steps = 0
        self._progress_at = time.monotonic()
        self._stopping = False
        self._limits = planner.Limits(
            batch_tokens=context.batch,
            shared_chunk_tokens=costs.chunk_tokens(SHARED_CHUNK_MS, context.batch),
            alone_chunk_tokens=costs.chunk_tokens(ALONE_CHUNK_MS, context.batch),
        )

    # What other threads may call

    def submit(self, jobs: list[Job]) -> None:
        """Queue the jobs of one request, all or none. Raises ResourceExhausted when the queue is full."""
        with self._lock:
            if self._stopping:
                raise Unavailable("this replica is shutting down", retry_after_s=1.0)
            if self._queued + len(jobs) > MAX_WAITING:
                raise ResourceExhausted("too many requests are waiting on this replica", retry_after_s=1.0)
            if not self._queued:
                self._progress_at = time.monotonic()
            self._queued += len(jobs)
            self._commands.put(lambda: self._enqueue(jobs))

    def cancel(self, jobs: list[Job]) -> None:
        """Stop these jobs within one step; jobs already over are unaffected. No event is sent for them."""
        self._commands.put(lambda: self._cancel(jobs))

    def fail_all(self, error: FiredeckError) -> None:
        """End every job, running or waiting, with `error`."""
        self._commands.put(lambda: self._fail_everything(error))

    def count_error(self) -> None:
        """Count a request that failed outside this thread."""
        self._commands.put(self._count_error)

    def stop(self) -> None:
        """End the loop after the current step."""
        self._commands.put(None)

    @property
    def running(self) -> int:
        return len(self._active)

    @property
    def waiting(self) -> int:
        return max(0, self._queued - len(self._active))

    @property
    def kv_used_tokens(self) -> int:
        return self._cache.tokens_held()

    @property
    def last_progress_age_s(self) -> float:
        """Seconds since the last token or prompt chunk while there is work, else 0: a wedge shows as a growing age."""
        return time.monotonic() - self._progress_at if self._queued else 0.0

    def totals(self) -> dict[str, int]:
        return asdict(self.counters)

    # The loop

    def run(self) -> None:
        """Serve until `stop`. An error of ours fails the jobs at hand, never the loop."""
        while self._drain_commands():
            try:
                self._admit()
                self._step()
            except Exception as error:  # a bug here must cost the jobs at hand, not every later one
                self._fail_everything(Internal(f"the replica's scheduler failed: {error!r}"))
                self._forget_memory()
            self._flush()

    def abort(self, error: FiredeckError) -> None:
        """End every job with `error` and take no more, after `run` raised. Owning thread."""
        with self._lock:
            self._stopping = True
        with contextlib.suppress(queue.Empty):
            while True:
                command = self._commands.get_nowait()
                if command is not None:
                    with contextlib.suppress(Exception):  # what killed the loop may be among them
                        command()
        self._fail_everything(error)
        self._flush()

    def _drain_commands(self) -> bool:
        """Carry out all that was asked; waits when there is nothing else to do. False: stop."""
        idle = not self._active and not self._waiting
        while True:
            try:
                command = self._commands.get(block=idle)
            except queue.Empty:
                return True
            if command is None:
                with self._lock:
                    self._stopping = True
                return False
            command()
            idle = False

    def _enqueue(self, jobs: list[Job]) -> None:
        self.counters.requests_total += 1
        self._waiting.add(jobs)

    def _count_error(self) -> None:
        self.counters.request_errors_total += 1

    def _cancel(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.cancelled = True
            if self._waiting.remove(job):
                self._end_job(job)
                self.counters.cancelled_total += 1
        for sequence in [s for s in self._active.values() if s.job.cancelled]:
            self._release(sequence)
            self.counters.cancelled_total += 1

    def _fail_everything(self, error: FiredeckError) -> None:
        for sequence in list(self._active.values()):
            self._fail(sequence, error)
        for job in list(self._waiting):
            self._waiting.remove(job)
            self._fail_unstarted(job, error)

    def _forget_memory(self) -> None:
        self._context.clear()
        self._cache = PrefixCache(self._context.slots)

    # Admission

    def _admit(self) -> None:
        """Give free ids to waiting jobs, in the order of the waiting line."""
        free = [i for i in range(self._context.slots) if i not in self._active]
        while free and (job := self._waiting.take()) is not None:
            try:
                free.remove(self._start(job, free))
            except Exception as error:  # which of the free ids was touched is unknown
                self._fail_unstarted(job, Internal(f"the request could not be started: {error!r}"))
                self._distrust(free)

    def _distrust(self, identifiers: list[int]) -> None:
        """Reuse nothing of what these ids hold."""
        for identifier in identifiers:
            self._cache.drop(identifier)

    def _start(self, job: Job, free: list[int]) -> int:
        max_reuse = 0 if job.score_prompt or not self._model.can_reuse_prefix else job.cache_max_tokens
        placement = self._cache.place(job.prompt, job.cache_key, free, max_reuse=max_reuse)
        reused = self._prepare(placement)
        sequence = Sequence(job, placement.target, reused, self._model.vocabulary, self._stop_tokens)
        sequence.served = self._steps
        self._cache.hold(placement.target, job.cache_key, sequence.held)
        self._active[placement.target] = sequence
        job.times.admitted = time.monotonic()
        if job.leader is None:
            self.counters.prompt_tokens_total += len(job.prompt)
            self.counters.cached_prompt_tokens_total += reused
        return placement.target

    def _prepare(self, placement: Placement) -> int:
        """Bring the memory of the target id to exactly the reused prefix; returns its length."""
        if placement.source is not None:
            self._context.copy(placement.source, placement.target)
        return placement.reuse if self._context.keep(placement.target, placement.reuse) else 0

    # One step

    def _step(self) -> None:
        self._steps += 1
        self._compact()
        running = [i for i, s in self._active.items() if s.running]
        plan = planner.plan_step(running, self._prefilling(), self._table, self._limits)
        for group in plan.groups:
            self._decode([self._active[i] for i in group])
            self._flush()
        if plan.prefill is not None:
            self._prefill(self._active[plan.prefill], plan.chunk_tokens)

    def _prefilling(self) -> list[planner.Prefilling]:
        return [
            planner.Prefilling(i, s.remaining_prompt, s.served, self._chunk_limit(s))
            for i, s in self._active.items()
            if not s.running
        ]

    def _chunk_limit(self, sequence: Sequence) -> int:
        return self._context.rows if sequence.job.score_prompt else self._context.batch

    def _compact(self) -> None:
        """Close a gap between active ids when that makes steps cheaper; the id left behind stays as a cached prefix."""
        if not self._model.can_reuse_prefix:
            return
        running = [i for i, s in self._active.items() if s.running]
        free = [i for i in range(self._context.slots) if i not in self._active]
        move = planner.compaction(running, free, self._table, gain=COMPACTION_GAIN)
        if move is None:
            return
        source, target = move
        sequence = self._active[source]
        try:
            self._context.copy(source, target)
        except Exception as error:  # neither id can be trusted now
            self._fail(sequence, Internal(f"a sequence could not be moved: {error!r}"))
            self._distrust([source, target])
            return
        del self._active[source]
        self._cache.hold(source, sequence.job.cache_key, list(sequence.held))
        self._cache.hold(target, sequence.job.cache_key, sequence.held)
        sequence.identifier = target
        self._active[target] = sequence

    def _decode(self, group: list[Sequence]) -> None:
        """One token for each of `group`; on failure each alone, and who fails alone fails."""
        tokens = [s.next_token if s.next_token is not None else 0 for s in group]
        code = self._context.decode_step([s.identifier for s in group], tokens, [len(s.held) for s in group])
        if code != 0:
            self._decode_failed(group, code)
            return
        self.counters.decode_steps_total += 1
        self.counters.decode_tokens_total += len(group)
        rows = self._context.logits(len(group))
        for sequence, token, row in zip(group, tokens, rows, strict=True):
            sequence.held.append(token)
            self._take(sequence, row)
        self._progress_at = time.monotonic()

    def _decode_failed(self, group: list[Sequence], code: int) -> None:
        if len(group) == 1:
            self._fail_decode(group[0], code)
            return
        for sequence in group:
            self._context.keep(sequence.identifier, len(sequence.held))  # some of the batch may have been done
            self._decode([sequence])

    def _prefill(self, sequence: Sequence, count: int) -> None:
        sequence.served = self._steps
        start = len(sequence.held)
        tokens = sequence.job.prompt[start : start + count]
        last = start + len(tokens) == len(sequence.job.prompt)
        rows = "all" if sequence.job.score_prompt else "last" if last else "none"
        code = self._context.prefill(sequence.identifier, np.asarray(tokens, np.int32), start, rows=rows)
        if code != 0:
            self._fail_decode(sequence, code)
            return
        sequence.held.extend(tokens)
        self._progress_at = time.monotonic()
        logits = None if rows == "none" else self._context.logits(len(tokens) if rows == "all" else 1)
        if sequence.job.score_prompt and logits is not None:
            sequence.score(logits, start)
        if last and logits is not None:
            self._prompt_done(sequence)
            self._take(sequence, logits[-1])

    def _prompt_done(self, sequence: Sequence) -> None:
        job = sequence.job
        job.prefilled_or_over = True
        job.times.prefilled = time.monotonic()
        self._send(job, Started(job.index, sequence.cached_tokens, tuple(sequence.scores)))

    def _take(self, sequence: Sequence, row: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
        """Sample one token of one sequence; its errors end it alone."""
        before = sequence.generated
        try:
            event = sequence.take(row)
        except FiredeckError as error:
            self._fail(sequence, error)
            return
        except Exception as error:  # a request must never fail another
            self._fail(sequence, Internal(f"sampling failed: {error!r}"))
            return
        self.counters.generated_tokens_total += sequence.generated - before
        if isinstance(event, Finished):
            self._finish(sequence, event, sequence.last_delta)
        elif event is not None:
            self._send(sequence.job, event)

    # Endings

    def _finish(self, sequence: Sequence, event: Finished, rest: Delta | None) -> None:
        if rest is not None:
            self._send(sequence.job, rest)
        self._send(sequence.job, event)
        self._release(sequence)

    def _fail_decode(self, sequence: Sequence, code: int) -> None:
        identifier = sequence.identifier
        self._fail(sequence, Internal(f"llama.cpp could not evaluate this request (llama_decode returned {code})"))
        self._context.keep(identifier, 0)
        self._cache.drop(identifier)

    def _fail(self, sequence: Sequence, error: FiredeckError) -> None:
        self.counters.request_errors_total += 1
        self._send(sequence.job, Failed(sequence.job.index, error))
        self._release(sequence)

    def _fail_unstarted(self, job: Job, error: FiredeckError) -> None:
        self.counters.request_errors_total += 1
        self._send(job, Failed(job.index, error))
        self._end_job(job)

    def _release(self, sequence: Sequence) -> None:
        """Free the id. What it holds stays as a prefix for later prompts."""
        del self._active[sequence.identifier]
        self._cache.touch(sequence.identifier)
        sequence.close()
        self._end_job(sequence.job)

    def _end_job(self, job: Job) -> None:
        job.prefilled_or_over = True
        job.grammar = None  # shared by the choices of a request: freed with the last of them
        with self._lock:
            self._queued -= 1

    def _send(self, job: Job, event: Event) -> None:
        if not job.cancelled:
            job.sink.push(event)
