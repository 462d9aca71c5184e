"""The two loops of a load test, and the recorder that they fill.

Closed: N clients, each sends its next request when its last has ended; throughput follows the server.
Open: requests arrive by a Poisson process, whatever the server does; the wait shows what an overload is.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from client.bench.sample import Sample
from client.bench.wire import Answer, Wire

Body = Callable[[int], Mapping[str, Any]]
DEFAULT_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Limit:
    """When a run takes no further request: after so many, or so many seconds; whichever comes first."""

    requests: int | None = None
    seconds: float | None = None

    def allows(self, started: int, elapsed_s: float) -> bool:
        few = self.requests is None or started < self.requests
        return few and (self.seconds is None or elapsed_s < self.seconds)


@dataclass
class Run:
    """One run: what was seen until now, even when it is cut short.

    What is still running at the limit is waited for and counts like the rest.
    """

    wire: Wire
    path: str
    body: Body
    limit: Limit
    timeout_s: float = DEFAULT_TIMEOUT_S
    samples: list[Sample] = field(default_factory=list)
    running: int = 0
    _began: float = 0.0
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    async def closed(self, concurrency: int) -> None:
        """`concurrency` clients at once, until the limit."""
        self._began = time.monotonic()
        started = 0

        async def client() -> None:
            nonlocal started
            while self.limit.allows(started, self.elapsed_s):
                started += 1
                await self._one(self.elapsed_s)

        async with asyncio.TaskGroup() as clients:
            for _ in range(concurrency):
                clients.create_task(client())

    async def open(self, rate: float, seed: int) -> None:
        """`rate` requests a second on average, at moments that depend on `seed` alone."""
        self._began = time.monotonic()
        async with asyncio.TaskGroup() as requests:
            for started, due_s in enumerate(poisson(rate, seed)):
                if not self.limit.allows(started, due_s):
                    return
                await asyncio.sleep(due_s - self.elapsed_s)
                requests.create_task(self._one(due_s))

    async def _one(self, due_s: float) -> None:
        body = json.dumps(self.body(next(self._numbers)), separators=(",", ":")).encode()
        self.running += 1
        answer, error, message = None, None, None
        try:
            async with asyncio.timeout(self.timeout_s):
                answer = await self.wire.post(self.path, body)
        except TimeoutError:
            error, message = "timeout", f"no whole answer within {self.timeout_s:g} s"
        except ConnectionRefusedError as refused:
            error, message = "connection refused", str(refused)
        except OSError as failed:
            error, message = "connection failed", str(failed)
        finally:
            self.running -= 1
        if answer is None:
            self.samples.append(Sample(due_s, self.elapsed_s, error=error, message=message))
        else:
            self.samples.append(self._sample(due_s, self.elapsed_s, answer))

    def _sample(self, due_s: float, end_s: float, answer: Answer) -> Sample:
        if (error := answer.error_kind) is not None:
            return Sample(due_s, end_s, error=error, message=answer.error_message)
        usage = answer.usage
        details = usage.get("prompt_tokens_details")
        output = _count(usage.get("completion_tokens"))
        return Sample(
            due_s=due_s,
            end_s=end_s,
            arrivals_s=tuple(at - self._began for at in answer.arrivals),
            prompt_tokens=_count(usage.get("prompt_tokens")),
            cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
            output_tokens=output or len(answer.arrivals),
            counted_by_server=bool(usage),
        )


def poisson(rate: float, seed: int) -> Iterator[float]:
    """Arrival times in seconds, ascending without end, `rate` a second on average."""
    source, at = random.Random(seed), 0.0
    while True:
        at += source.expovariate(rate)
        yield at


def _count(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
