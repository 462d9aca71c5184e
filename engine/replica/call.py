"""One request on its way through the scheduler: jobs go in, their events come out as chunks or as one body."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from engine.replica.chunks import Json, Writer, usage
from engine.replica.fields import GenerationRequest
from engine.replica.job import Delta, DraftCounts, Event, Failed, Finished, Job, Started
from engine.replica.journal import Past, Recorder
from engine.replica.mailbox import Mailbox
from engine.replica.scheduler import Scheduler


class ClientGone(Exception):
    """The client closed the connection; nobody waits for an answer."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What answers say about the replica that gave them."""

    deployment: str
    replica: str


@dataclass(frozen=True, slots=True)
class Preparation:
    """What came before the queue: the instant of arrival (monotonic), then seconds."""

    arrived: float
    queued_s: float  # for a thread to read the request
    tokenizing_s: float


class Call:
    """The outward half of a request. Event loop only. Leave it with `close`, however it ends."""

    def __init__(
        self,
        request: GenerationRequest,
        jobs: list[Job],
        mailbox: Mailbox,
        writer: Writer,
        scheduler: Scheduler,
        identity: Identity,
        preparation: Preparation,
        past: Past | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """`past`: what another replica has told of this request. `recorder`: told what this one tells."""
        self.request, self._jobs, self.mailbox, self._writer = request, jobs, mailbox, writer
        self._scheduler, self._identity = scheduler, identity
        self._preparation = preparation
        self.recorder, self._past = recorder, past
        told = past.choices if past is not None else {}
        over = {index for index, one in told.items() if one.generated is not None}
        self._opened, self._open = set(told), {job.index for job in jobs} - over
        self._ending: set[int] = set()  # the last text is read, the end is not
        self._cached = sum(one.cached for index, one in told.items() if self._leads(index))
        self._generated = sum(one.generated or 0 for one in told.values())
        self._drafts = DraftCounts()
        self._concurrent = 0

    def submit(self) -> None:
        self._concurrent = self._scheduler.running + self._scheduler.waiting
        if self._open:
            self._scheduler.submit(self._running())

    def close(self) -> None:
        """Stop whatever still runs of this request; nothing happens when all of it is over."""
        if self._open:
            self._scheduler.cancel(self._running())

    def _running(self) -> list[Job]:
        return [job for job in self._jobs if job.index in self._open]

    async def groups(self) -> AsyncIterator[list[Json]]:
        """Stream chunks in order, those at once that are sent at once. Raises the FiredeckError that ended the
        request, or ClientGone."""
        # Once, or clients that add up count it twice. Fireworks has it in the chunk of the last finish_reason and knows
        # no stream_options; who sends them speaks OpenAI's way: usage in an extra last chunk and in none before it.
        options = self.request.stream_options
        usage_apart = options is not None and bool(options.include_usage)
        chunks: list[Json] = []
        while self._open:
            for event in await self._batch():
                if isinstance(event, Failed) and chunks and not self._ending:
                    yield chunks
                    chunks = []
                chunks += self._chunks(self._absorbed(event), usage_apart=usage_apart)
            if chunks and not self._ending:
                yield chunks
                chunks = []
        if usage_apart and not (self._past is not None and self._past.usage_told):
            if self.recorder is not None:
                self.recorder.usage()
            yield [self._writer.usage_only(self.usage())]

    async def body(self) -> Json:
        """The whole answer of a request that does not stream."""
        while self._open:
            for event in await self._batch():
                self._absorbed(event)
        return self._writer.body(self.usage(), self.perf() if self.request.perf_metrics_in_response else None)

    async def _batch(self) -> list[Event]:
        batch = await self.mailbox.batch()
        if batch is None:
            raise ClientGone
        return batch

    def _absorbed(self, event: Event) -> Event:
        """The event, once all who remember have seen it. Raises the error of one that failed."""
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, Started):
            if event.index in self._opened:  # elsewhere: the writer knows it from there
                return event
            self._cached += event.cached_tokens if self._leads(event.index) else 0
        elif isinstance(event, Delta) and event.last:
            self._ending.add(event.index)
        elif isinstance(event, Finished):
            self._generated += event.generated_tokens
            _add(self._drafts, event.drafts)
            self._open.discard(event.index)
            self._ending.discard(event.index)
        self._writer.absorb(event)
        return event

    def _chunks(self, event: Event, *, usage_apart: bool) -> list[Json]:
        """What an absorbed event comes to on a stream, and in its journal."""
        recorder = self.recorder
        if isinstance(event, Started):
            if event.index in self._opened:
                return []
            if recorder is not None:
                recorder.opened(event.index, event.cached_tokens if self._leads(event.index) else 0)
            return self._writer.started(event)
        if isinstance(event, Delta):
            if recorder is not None:
                recorder.said(event.index, event.tokens)
            return self._writer.delta(event)
        assert isinstance(event, Finished)
        if recorder is not None:
            recorder.ended(event.index, event.generated_tokens)
            if event.drafts.drafted:
                recorder.drafted(event.drafts.accepted, event.drafts.drafted - event.drafts.accepted)
        last = not self._open
        perf = self.perf() if last and self.request.perf_metrics_in_response else None
        return self._writer.finished(event, self.usage() if last and not usage_apart else None, perf)

    def _leads(self, index: int) -> bool:
        """Copies of a prompt for further choices are not cache hits that the client should see."""
        return self._jobs[index].leader is None

    @property
    def prompt_tokens(self) -> int:
        return sum(len(job.prompt) for job in self._jobs if job.leader is None)

    @property
    def drafts(self) -> tuple[int, int]:
        """Tokens that were drafted and accepted, and those that were rejected."""
        return self._drafts.accepted, self._drafts.drafted - self._drafts.accepted

    def usage(self) -> Json:
        figures = usage(self.prompt_tokens, self._cached, self._generated)
        if self.request.expected:
            taken, proposed = self._drafts.predicted_accepted, self._drafts.predicted
            details = {"accepted_prediction_tokens": taken, "rejected_prediction_tokens": proposed - taken}
            figures["completion_tokens_details"] = figures.get("completion_tokens_details", {}) | details
        return figures

    def perf(self) -> Json:
        """Fireworks' perf metrics: seconds as numbers, names as they stand behind `fireworks-` in headers.

        A token is generated in the step that its prompt ends in or the next one: there is no generation queue.
        """
        first, times = self._jobs[0].times, [job.times for job in self._jobs]
        finished = max(t.finished for t in times)
        return {
            "prompt-tokens": self.prompt_tokens,
            "cached-prompt-tokens": self._cached,
            "server-time-to-first-token": _seconds(self._preparation.arrived, first.prefilled),
            "server-processing-time": _seconds(self._preparation.arrived, finished),
            "tokenizer-queue-duration": round(self._preparation.queued_s, 6),
            "tokenizer-duration": round(self._preparation.tokenizing_s, 6),
            "prefill-queue-duration": _seconds(first.submitted, first.admitted),
            "prefill-duration": _seconds(first.admitted, first.prefilled),
            "generation-duration": _seconds(first.prefilled, finished),
            "num-concurrent-requests": self._concurrent,
            "deployment": self._identity.deployment,
            "backend-host": self._identity.replica,
        } | self._speculation()

    def opening(self) -> str:
        """What is over when a stream begins, as `Server-Timing` (milliseconds): the rest is told at its end."""
        first = next((job.times for job in self._jobs if job.times.prefilled), None)
        if first is None:
            return ""
        steps = {
            "tokenizer_queue": self._preparation.queued_s,
            "tokenizer": self._preparation.tokenizing_s,
            "queue": _seconds(first.submitted, first.admitted),
            "prefill": _seconds(first.admitted, first.prefilled),
        }
        return ", ".join(f"{step};dur={seconds * 1000:.3f}" for step, seconds in steps.items())

    def _speculation(self) -> Json:
        """What drafts did; nothing of it where there were none."""
        drafts = self._drafts
        metrics: Json = {}
        if self.request.expected:
            metrics["speculation-prompt-tokens"] = sum(len(job.prediction) for job in self._jobs)
            metrics["speculation-prompt-matched-tokens"] = drafts.predicted_accepted
        if drafts.drafted:
            metrics["speculation-generated-tokens"] = drafts.accepted
            metrics["speculation-acceptance"] = round(drafts.accepted / drafts.drafted, 4)
        return metrics


def _seconds(start: float, end: float) -> float:
    return round(max(0.0, end - start), 6)


def _add(total: DraftCounts, one: DraftCounts) -> None:
    total.drafted += one.drafted
    total.accepted += one.accepted
    total.predicted += one.predicted
    total.predicted_accepted += one.predicted_accepted
