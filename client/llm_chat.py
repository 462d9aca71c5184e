"""`llm.chat.completions.create(...)`: chat completions in OpenAI's shape, whole, streamed, and awaited (`acreate`).

data   Completions       whom to ask, how often, and what every request of the LLM has
verbs  create            an answer, or with `stream=True` an iterator of its pieces
       acreate           the same for code with an event loop
near   `client.inference_resources` sends, again at most `max_retries` times; `client.portal` has the loop
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, overload

from client import inference_resources
from client.chat_types import ChatCompletion, ChatCompletionChunk
from client.llm_options import BadArgument
from client.portal import Portal
from client.retries import Retry

Messages = Sequence[Mapping[str, Any]]
LONGEST_S = 24 * 3600  # of one answer
_ELSEWHERE = {  # arguments of other methods that ask, and would reach the model as fields of the request
    "extra_query": "requests take no query",
    "retry": "give max_retries to LLM, and timeout here",
    "max_retries": "give it to LLM",
    "headers": "they are extra_headers here",
    "deadline": "it is timeout here",
}


@dataclass(frozen=True, slots=True)
class _Request:
    """A request's `body`, its own `headers`, and how often and how long it is tried."""

    body: dict[str, Any]
    headers: Mapping[str, str] | None
    retry: Retry


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
        """Fields are those of the API (`max_tokens`, `tools`, ...), and three of OpenAI's SDK: `extra_headers`,
        `extra_body` (fields that go before the others) and `timeout`, seconds for the whole answer, tries included.
        BadArgument for its others."""
        asked = self._request(messages, fields)
        return self._portal.each(self._streamed(asked)) if stream else self._portal.run(self._whole(asked))

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
        asked = self._request(messages, fields)
        return self._portal.items(self._streamed(asked)) if stream else await self._portal.awaited(self._whole(asked))

    def _request(self, messages: Messages, fields: dict[str, Any]) -> _Request:
        headers, extra = fields.pop("extra_headers", None), fields.pop("extra_body", None) or {}
        for name in _ELSEWHERE.keys() & (fields.keys() | extra.keys()):
            raise BadArgument(f"{name} is no field of a request", field=name, hint=_ELSEWHERE[name])
        if "stream" in extra:
            raise BadArgument("stream is no part of extra_body", field="stream", hint="it is an argument of its own")
        retry = _within(self._retry, fields.pop("timeout", None))
        own = {"model": self._model(), **fields, "messages": [dict(one) for one in messages]}
        return _Request({**self._always, **own, **extra}, headers, retry)

    async def _whole(self, asked: _Request) -> ChatCompletion:
        began = time.monotonic()
        answer = await self._asked.create(**asked.body, headers=asked.headers, retry=asked.retry)
        self._took(time.monotonic() - began)
        return answer

    def _streamed(self, asked: _Request) -> AsyncIterator[ChatCompletionChunk]:
        return self._asked.stream(**asked.body, headers=asked.headers, retry=asked.retry)


def _within(retry: Retry, timeout: Any) -> Retry:
    """BadArgument unless `timeout` is None, or more than 0 seconds."""
    if timeout is None:
        return retry
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= LONGEST_S:
        hint = f"write seconds, more than 0 and at most {LONGEST_S}"
        raise BadArgument(f"timeout {timeout!r} is no length of time", field="timeout", hint=hint)
    return replace(retry, deadline=timedelta(seconds=timeout))


class Chat:
    def __init__(self, completions: Completions) -> None:
        self.completions = completions
