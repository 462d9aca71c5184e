"""Typed verbs of the data plane: `Client.chat.create(...)`, and `completions`, `embeddings`, `messages`.

A request is sent again as `client.retries` says; a stream only until its first piece is here, because what was told
cannot be taken back. Fields that are not named here go to the model as they are given (`max_tokens`, `tools`, ...).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from client.chat_types import Answer, ChatCompletion, ChatCompletionChunk
from client.errors import FiredeckError, Internal
from client.inference import Inference
from client.inference_types import Completion, CompletionChunk, EmbeddingList, MessageAnswer, MessageEvent
from client.retries import Attempts, Retry

USUAL = Retry()
Body = Mapping[str, Any]
Headers = Mapping[str, str]
A = TypeVar("A", bound=Answer)


class Chat:
    """Chat completions."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def create(
        self, model: str, messages: Sequence[Body], *, retry: Retry = USUAL, headers: Headers | None = None,
        **fields: Any,
    ) -> ChatCompletion:  # fmt: skip
        """The whole answer."""
        body = {"model": model, "messages": [dict(one) for one in messages], **fields}
        return await _whole(ChatCompletion, lambda: self._inference.chat(body, headers), retry)

    def stream(
        self, model: str, messages: Sequence[Body], *, retry: Retry = USUAL, headers: Headers | None = None,
        **fields: Any,
    ) -> AsyncIterator[ChatCompletionChunk]:  # fmt: skip
        """Its pieces as they come; the last has `usage`."""
        body = {"model": model, "messages": [dict(one) for one in messages], **fields}
        return _streamed(ChatCompletionChunk, lambda: self._inference.stream_chat(body, headers), retry)


class Completions:
    """Text that goes on where a prompt ends."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def create(
        self, model: str, prompt: str | Sequence[Any], *, retry: Retry = USUAL, headers: Headers | None = None,
        **fields: Any,
    ) -> Completion:  # fmt: skip
        """The whole answer. `prompt`: a text, tokens, or several of either: a choice each."""
        body = {"model": model, "prompt": prompt, **fields}
        return await _whole(Completion, lambda: self._inference.complete(body, headers), retry)

    def stream(
        self, model: str, prompt: str | Sequence[Any], *, retry: Retry = USUAL, headers: Headers | None = None,
        **fields: Any,
    ) -> AsyncIterator[CompletionChunk]:  # fmt: skip
        """Its pieces as they come; the last has `usage`."""
        body = {"model": model, "prompt": prompt, **fields}
        return _streamed(CompletionChunk, lambda: self._inference.stream_completion(body, headers), retry)


class Embeddings:
    """Texts as vectors."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def create(
        self, model: str, texts: str | Sequence[Any], *, retry: Retry = USUAL, headers: Headers | None = None,
        **fields: Any,
    ) -> EmbeddingList:  # fmt: skip
        """One of each text, in their order."""
        body = {"model": model, "input": texts, **fields}
        return await _whole(EmbeddingList, lambda: self._inference.embed(body, headers), retry)


class Messages:
    """Anthropic's shape of a chat."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def create(
        self, model: str, messages: Sequence[Body], max_tokens: int, *, retry: Retry = USUAL,
        headers: Headers | None = None, **fields: Any,
    ) -> MessageAnswer:  # fmt: skip
        """The whole answer."""
        body = {"model": model, "messages": [dict(one) for one in messages], "max_tokens": max_tokens, **fields}
        return await _whole(MessageAnswer, lambda: self._inference.message(body, headers), retry)

    def stream(
        self, model: str, messages: Sequence[Body], max_tokens: int, *, retry: Retry = USUAL,
        headers: Headers | None = None, **fields: Any,
    ) -> AsyncIterator[MessageEvent]:  # fmt: skip
        """Its events as they come, `message_start` to `message_stop`."""
        body = {"model": model, "messages": [dict(one) for one in messages], "max_tokens": max_tokens, **fields}
        return _streamed(MessageEvent, lambda: self._inference.stream_message(body, headers), retry)


async def _whole(kind: type[A], send: Callable[[], Awaitable[dict[str, Any]]], retry: Retry) -> A:
    attempts = Attempts(retry)
    while True:
        try:
            return _read(kind, await attempts.within(send()))
        except FiredeckError as error:
            await attempts.pause(error)


async def _streamed(kind: type[A], send: Callable[[], AsyncIterator[dict[str, Any]]], retry: Retry) -> AsyncIterator[A]:
    attempts, begun = Attempts(retry), False
    while True:
        events = send()
        try:
            while (event := await attempts.within(anext(events, None))) is not None:
                begun = True
                yield _read(kind, event)
        except FiredeckError as error:
            if begun:
                raise
            await attempts.pause(error)
        else:
            return
        finally:
            if (close := getattr(events, "aclose", None)) is not None:
                await close()  # the connection of a stream that is left goes with it


def _read(kind: type[A], answer: Any) -> A:
    try:
        return kind.model_validate(answer)
    except ValidationError as error:
        raise Internal(
            f"the answer is no {kind.__name__}: {error.errors()[0]['msg']}", hint="is it a firedeck engine?"
        ) from None
