"""`llm.chat.completions.create(...)`: chat completions in OpenAI's shape, whole, streamed, and awaited (`acreate`).

    data   Asked             whom to ask, how often, and what every request of the LLM has
    verbs  create            an answer, or with `stream=True` an iterator of its pieces
           acreate           the same for code with an event loop
    near   `client.inference` sends, `client.portal` has the loop

A request that got no answer is sent again after connection errors, 408, 409, 429 and 5xx, at most `max_retries` times,
as OpenAI's SDK does; of a stream, until its first piece is here.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, overload

from client.chat_types import ChatCompletion, ChatCompletionChunk
from client.errors import FiredeckError, RequestTimeout
from client.inference import Inference
from client.portal import Portal

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0  # between two tries; each is twice the one before
Messages = Sequence[Mapping[str, Any]]
T = TypeVar("T")


def again_in_s(error: FiredeckError, attempt: int) -> float | None:
    """How long to wait after the failed attempt of this number, from 0; None where trying again is no use."""
    if not (error.status >= 500 or error.status in (409, 429) or isinstance(error, RequestTimeout)):
        return None
    if error.retry_after_s is not None:
        return error.retry_after_s
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0**attempt) * random.uniform(0.75, 1.0)


class Completions:
    """`model` is asked for at each request: it is known once the LLM is applied. `always`: fields of every request
    that does not set them; `took` hears how long a whole answer took, in seconds."""

    def __init__(
        self, inference: Inference, portal: Portal, model: Callable[[], str], always: Mapping[str, Any],
        max_retries: int, took: Callable[[float], object],
    ) -> None:  # fmt: skip
        self._inference, self._portal = inference, portal
        self._model, self._always, self._max_retries, self._took = model, always, max_retries, took

    @overload
    def create(self, *, messages: Messages, stream: Literal[False] | None = None, **fields: Any) -> ChatCompletion: ...

    @overload
    def create(self, *, messages: Messages, stream: Literal[True], **fields: Any) -> Iterator[ChatCompletionChunk]: ...

    def create(
        self, *, messages: Messages, stream: bool | None = None, **fields: Any
    ) -> ChatCompletion | Iterator[ChatCompletionChunk]:
        """Fields are those of the API (`max_tokens`, `tools`, ...)."""
        body = self._body(messages, fields)
        return self._portal.each(self._streamed(body)) if stream else self._portal.run(self._whole(body))

    @overload
    async def acreate(
        self, *, messages: Messages, stream: Literal[False] | None = None, **fields: Any
    ) -> ChatCompletion: ...

    @overload
    async def acreate(
        self, *, messages: Messages, stream: Literal[True], **fields: Any
    ) -> AsyncIterator[ChatCompletionChunk]: ...

    async def acreate(
        self, *, messages: Messages, stream: bool | None = None, **fields: Any
    ) -> ChatCompletion | AsyncIterator[ChatCompletionChunk]:
        """As `create`; a stream is awaited first, and then iterated with `async for`."""
        body = self._body(messages, fields)
        return self._portal.items(self._streamed(body)) if stream else await self._portal.awaited(self._whole(body))

    def _body(self, messages: Messages, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._always, "model": self._model(), **fields, "messages": [dict(one) for one in messages]}

    async def _whole(self, body: dict[str, Any]) -> ChatCompletion:
        began = time.monotonic()
        for attempt in range(self._max_retries + 1):
            try:
                answer = ChatCompletion.model_validate(await self._inference.chat(body))
            except FiredeckError as error:
                await self._pause(error, attempt)
            else:
                self._took(time.monotonic() - began)
                return answer
        raise AssertionError  # the last attempt returns or raises

    async def _streamed(self, body: dict[str, Any]) -> AsyncIterator[ChatCompletionChunk]:
        begun = False
        for attempt in range(self._max_retries + 1):
            try:
                async for event in self._inference.stream_chat(body):
                    begun = True
                    yield ChatCompletionChunk.model_validate(event)
            except FiredeckError as error:
                if begun:
                    raise
                await self._pause(error, attempt)
            else:
                return

    async def _pause(self, error: FiredeckError, attempt: int) -> None:
        """Until the next attempt; raises where there is none."""
        wait_s = again_in_s(error, attempt) if attempt < self._max_retries else None
        if wait_s is None:
            raise error
        await asyncio.sleep(wait_s)


class Chat:
    def __init__(self, completions: Completions) -> None:
        self.completions = completions
