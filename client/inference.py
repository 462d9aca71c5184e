"""Asking a model: the data plane, as dictionaries in OpenAI's shape.

The thin way below `client.inference_resources`, which has types, and sends again what may pass; for our own traffic and
dashboard.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

from client.http import Transport

GENERATION_TIMEOUT_S = 600.0


class Inference:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def chat(self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        return await self._send("/inference/v1/chat/completions", body, headers)

    async def complete(self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        return await self._send("/inference/v1/completions", body, headers)

    async def embed(self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        return await self._send("/inference/v1/embeddings", body, headers)

    async def models(self) -> list[dict[str, Any]]:
        """What a request's `model` may be."""
        answer: dict[str, Any] = await self._transport.get("/inference/v1/models")
        return list(answer["data"])

    async def model(self, name: str) -> dict[str, Any]:
        """One of them; NotFound where nothing of that name is served."""
        answer: dict[str, Any] = await self._transport.get(f"/inference/v1/models/{quote(name, safe='')}")
        return answer

    async def rerank(self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        return await self._send("/inference/v1/rerank", body, headers)

    async def message(self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """In the shape of Anthropic's Messages API."""
        return await self._send("/inference/v1/messages", body, headers)

    async def count_tokens(self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> int:
        """Of the prompt that a message's body makes; nothing is generated."""
        return int((await self._send("/inference/v1/messages/count_tokens", body, headers))["input_tokens"])

    def stream_chat(
        self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        return self._stream("/inference/v1/chat/completions", body, headers)

    def stream_completion(
        self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        return self._stream("/inference/v1/completions", body, headers)

    def stream_message(
        self, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Events in the shape of Anthropic's Messages API."""
        return self._stream("/inference/v1/messages", body, headers)

    async def _send(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None) -> dict[str, Any]:
        answer: dict[str, Any] = await self._transport.send(
            "POST", path, body=dict(body), headers=headers, read_timeout_s=GENERATION_TIMEOUT_S
        )
        return answer

    def _stream(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None
    ) -> AsyncIterator[dict[str, Any]]:
        return self._transport.events(
            "POST", path, body={**body, "stream": True}, headers=headers, read_timeout_s=GENERATION_TIMEOUT_S
        )
