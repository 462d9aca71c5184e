"""Work for a client that may leave, in an engine that may end: it goes on until the first of these.

It runs in the task of its request and is cancelled there, as `asyncio.timeout` does it: a task of its own, and another
for each end that it may have, would cost as much as all of its admission.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Coroutine
from functools import partial
from typing import Any

from engine.asgi import Receive, disconnected
from engine.word import Word


class Ended(enum.Enum):
    """What came first."""

    ANSWERED = enum.auto()
    GONE = enum.auto()
    BROKEN_OFF = enum.auto()


class _Cancelling:
    """Cancels the present task, once, and knows why."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._others, self._over = task, task.cancelling(), False
        self.why: Ended | None = None

    def end(self, why: Ended, _: object = None) -> None:
        if self.why is None and not self._over:
            self.why = why
            self._task.cancel()

    def over(self) -> bool:
        """From now on nothing is cancelled; whether what was, was cancelled from here alone."""
        self._over = True
        return self.why is not None and self._task.uncancel() <= self._others


async def until_first(work: Coroutine[Any, Any, None], receive: Receive, breaking_off: Word) -> Ended:
    """Run `work` to its end, or cancel it when the client leaves or the engine ends."""
    if breaking_off.given:
        work.close()
        return Ended.BROKEN_OFF
    cancelling = _Cancelling()
    gone = asyncio.ensure_future(disconnected(receive))
    gone.add_done_callback(partial(cancelling.end, Ended.GONE))
    try:
        with breaking_off.calls(partial(cancelling.end, Ended.BROKEN_OFF)):
            await work
    except BaseException:
        if not cancelling.over():
            raise
    else:
        cancelling.over()
    finally:
        gone.cancel()
    return cancelling.why or Ended.ANSWERED
