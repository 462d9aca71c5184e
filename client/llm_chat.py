"""`llm.chat.completions.create(...)`: chat completions in OpenAI's shape, whole, streamed, and awaited (`acreate`).

data   Completions       whom to ask, how often, and what every request of the LLM has
verbs  create            an answer, or with `stream=True` an iterator of its pieces
       acreate           the same for code with an event loop
near   `client.inference_resources` sends, again at most `max_retries` times; `client.portal` has the loop
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, overload

from client import inference_resources
from client.chat_types import ChatCompletion, ChatCompletionChunk
from client.portal import Portal
from client.retries import Retry

Messages = Sequence[Mapping[str, Any]]


class Completions:
    """`model` is asked for at each request: it is known once the LLM is applied. `always`: fields of every request
    that does not set them; `took` hears how long a whole answer took, in seconds."""

    def __init__(
        self, asked: inference_resources.Chat, portal: Portal, model: Callable[[], str], always: Mapping[str, Any],
        max_retries: int, took: Callable[[float], object],
    ) -> None:  # fmt: skip
        self._asked, self._portal = asked, portal
        self._model, self._always, self._took = model, always, took
        self._retry = Retry(max_retries)

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
        answer = await self._asked.create(**body, retry=self._retry)
        self._took(time.monotonic() - began)
        return answer

    def _streamed(self, body: dict[str, Any]) -> AsyncIterator[ChatCompletionChunk]:
        return self._asked.stream(**body, retry=self._retry)


class Chat:
    def __init__(self, completions: Completions) -> None:
        self.completions = completions
