"""Sends the requests that are over to an OpenTelemetry collector, in batches, and never in a request's way.

Bounded: 2,048 requests wait at most, then the oldest go. While the collector is away it is tried after 1, 2, 4 ... 60 s
(or when it says); what it says can never be right is dropped at once. What was sent and dropped is in `/metrics`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import Mapping

import httpx
from prometheus_client import Counter

from engine.clock import Clock
from engine.telemetry.metrics import REGISTRY
from engine.telemetry.otlp import Target, body_of, rejected_of
from engine.telemetry.spans import Value
from engine.telemetry.trace import Trace
from engine.version import VERSION

log = logging.getLogger(__name__)

QUEUE_MAX = 2048
BATCH_MAX = 64  # requests, of about seven spans each
EVERY_S = 5.0
TIMEOUT_S = 10.0
LAST_S = 2.0  # what the engine's end gives the last batch
BACKOFF_MIN_S, BACKOFF_MAX_S = 1.0, 60.0
RETRY_AFTER_MAX_S = 300.0
_LATER = frozenset({429, 502, 503, 504})  # as the protocol has it; other refusals would be repeated

EXPORTED = Counter("firedeck_traces_exported", "Traced requests that a collector took.", registry=REGISTRY)
DROPPED = Counter("firedeck_traces_dropped", "Traced requests that no collector got.", ["reason"], registry=REGISTRY)
REJECTED = Counter("firedeck_trace_spans_rejected", "Spans that a collector refused out of a batch.", registry=REGISTRY)
FAILURES = Counter("firedeck_trace_export_failures", "Batches that could not be sent at a try.", registry=REGISTRY)
QUEUE_FULL, REFUSED, ENDING = "queue_full", "refused", "engine_ended"


class Exporter:
    """`offer` is what a request costs: one append. `start` before, `close` at the end."""

    def __init__(
        self,
        target: Target,
        resource: Mapping[str, Value],
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._target, self._resource, self._clock = target, {"service.name": target.service, **resource}, clock
        self._http = httpx.AsyncClient(timeout=TIMEOUT_S, transport=transport)
        self._waiting: deque[Trace] = deque()
        self._batch: list[Trace] = []
        self._enough = asyncio.Event()
        self._failures = 0
        self._work: asyncio.Task[None] | None = None

    def offer(self, trace: Trace) -> None:
        """Take one in, unless the client that began it does not want it recorded."""
        if not trace.sampled:
            return
        if len(self._waiting) >= QUEUE_MAX:
            self._waiting.popleft()
            DROPPED.labels(QUEUE_FULL).inc()
        self._waiting.append(trace)
        if len(self._waiting) >= BATCH_MAX:
            self._enough.set()

    def start(self) -> None:
        self._work = asyncio.create_task(self._run(), name="export traces")

    async def close(self) -> None:
        """One more try for what waits, for `LAST_S` at most."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_S):
                while self._take() and await self._send() is None:
                    pass
        DROPPED.labels(ENDING).inc(len(self._waiting) + len(self._batch))
        self._waiting.clear()
        await self._http.aclose()

    async def _run(self) -> None:
        while True:
            await self._until_due()
            while self._take():
                wait_s = await self._send()
                if wait_s is not None:
                    await self._clock.sleep(wait_s)
                elif len(self._waiting) < BATCH_MAX:
                    break

    def _take(self) -> list[Trace]:
        """The batch that is to go next: the one that could not be sent before others."""
        if not self._batch:
            self._batch = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]
        return self._batch

    async def _until_due(self) -> None:
        if len(self._waiting) >= BATCH_MAX:
            return
        self._enough.clear()
        due = asyncio.ensure_future(self._clock.sleep(EVERY_S))
        full = asyncio.ensure_future(self._enough.wait())
        try:
            await asyncio.wait((due, full), return_when=asyncio.FIRST_COMPLETED)
        finally:
            due.cancel()
            full.cancel()

    async def _send(self) -> float | None:
        """The batch to the collector: None when it is done with, else the seconds to wait before another try."""
        headers = {**self._target.headers, "content-type": "application/json"}
        try:
            body, _ = await asyncio.to_thread(body_of, self._batch, self._resource)
            answer = await self._http.post(self._target.url, content=body, headers=headers)
        except httpx.HTTPError as error:
            return self._failed(type(error).__name__)
        except Exception:
            log.exception("a batch of traces could not be made")
            self._drop()
            return None
        if answer.status_code in _LATER:
            return self._failed(f"HTTP {answer.status_code}", answer.headers.get("retry-after", ""))
        if not answer.is_success:
            log.warning("traces: %s refused a batch: HTTP %d", self._target.shown, answer.status_code)
            self._drop()
            return None
        if self._failures:
            log.warning("traces: %s takes them again", self._target.shown)
        self._failures = 0
        EXPORTED.inc(len(self._batch))
        REJECTED.inc(rejected_of(answer.content))
        self._batch = []
        return None

    def _drop(self) -> None:
        FAILURES.inc()
        DROPPED.labels(REFUSED).inc(len(self._batch))
        self._batch = []

    def _failed(self, why: str, retry_after: str = "") -> float:
        """Seconds until the next try."""
        FAILURES.inc()
        if not self._failures:
            log.warning("traces: %s takes none (%s); it is tried again and again", self._target.shown, why)
        told = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
        wait_s = max(min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2.0**self._failures), min(told, RETRY_AFTER_MAX_S))
        self._failures = min(self._failures + 1, 30)
        return wait_s


def exporter_of(target: Target | None, clock: Clock, *, simulated: bool) -> Exporter | None:
    """That of this engine; None where nothing is to be sent."""
    if target is None:
        return None
    told: dict[str, Value] = {"service.version": VERSION, "service.instance.id": secrets.token_hex(8)}
    if simulated:
        told["firedeck.simulated"] = True
    return Exporter(target, told, clock)
