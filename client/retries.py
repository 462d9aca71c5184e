"""Sending a request again: when that is of use, how long to wait before, and when to give up.

    data   Retry          how often, and how long all of it may take
           Attempts       the tries of one request
    verbs  again_in_s     the wait after a failed try; None where another one is no use
    near   `client.inference_resources` sends so; `client.http` repeats reads by itself

As OpenAI's SDK: after connection errors, 408, 409, 429 and 5xx, but for 501. A server's Retry-After is waited out.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from client import durations
from client.errors import DeadlineExceeded, FiredeckError, RequestTimeout, Unimplemented

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0  # between two tries; each is twice the one before
SPREAD = 0.1  # of a Retry-After is added by chance at most, so that those who were told the same do not come together
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retry:
    """`retries` after the first try. `deadline` is for all of it, from the first sending to the last byte of the
    answer, waits and all tries included; None is no limit but that of each read."""

    retries: int = 2
    deadline: timedelta | None = None


def again_in_s(error: FiredeckError, attempt: int) -> float | None:
    """How long to wait after the failed attempt of this number, from 0; None where trying again is no use."""
    passing = error.status >= 500 or error.status in (409, 429) or isinstance(error, RequestTimeout)
    if not passing or isinstance(error, Unimplemented):
        return None
    if error.retry_after_s is not None:
        return error.retry_after_s * random.uniform(1.0, 1.0 + SPREAD)
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0**attempt) * random.uniform(0.75, 1.0)


class Attempts:
    """Made when the first try begins."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._failed = 0
        self._end = None if retry.deadline is None else time.monotonic() + retry.deadline.total_seconds()

    async def within(self, work: Awaitable[T]) -> T:
        """What comes of `work`; DeadlineExceeded where it is not done in the time that is left."""
        try:
            async with asyncio.timeout(self._left_s()):
                return await work
        except TimeoutError:
            assert self._retry.deadline is not None
            raise DeadlineExceeded(
                f"no whole answer within {durations.to_go(self._retry.deadline)}", hint="give it a longer deadline"
            ) from None

    async def pause(self, error: FiredeckError) -> None:
        """Until the next try; raises `error` where there is none, or none in time."""
        wait_s = again_in_s(error, self._failed) if self._failed < self._retry.retries else None
        left_s = self._left_s()
        if wait_s is None or (left_s is not None and wait_s >= left_s):
            raise error
        self._failed += 1
        await asyncio.sleep(wait_s)

    def _left_s(self) -> float | None:
        return None if self._end is None else self._end - time.monotonic()
