"""An asynchronous SDK asked as its synchronous one is: what is awaitable is awaited, what comes in turn is a list."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import Any


class Awaited:
    """A client, or a resource of it. `methods` are bound to `loop`, which runs while one of them is asked alone."""

    def __init__(self, of: Any, loop: asyncio.Runner) -> None:
        self._of, self._loop = of, loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._of, name)
        if not inspect.ismethod(found):
            return Awaited(found, self._loop)

        @functools.wraps(found)
        def call(*given: Any, **named: Any) -> Any:
            return self._loop.run(_whole(found(*given, **named)))

        return call


async def _whole(answer: Any) -> Any:
    """A pager is awaitable too, but for its first page alone."""
    if inspect.isawaitable(answer) and not hasattr(answer, "__aiter__"):
        answer = await answer
    return [one async for one in answer] if hasattr(answer, "__aiter__") else answer
