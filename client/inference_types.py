"""Answers of the inference API beside chat's, with attributes: completions, embeddings, and Anthropic's messages.

Fields that are not named here are kept, and are attributes too.
Sources: https://docs.fireworks.ai/api-reference, https://platform.openai.com/docs/api-reference (completions,
embeddings), https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

from typing import Any, Literal

from client.chat_types import Answer, Usage


class TextChoice(Answer):
    index: int
    text: str
    finish_reason: str | None = None


class Completion(Answer):
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage | None = None
    perf_metrics: dict[str, Any] | None = None


class CompletionChunk(Completion):
    """One event of a stream; the last has `usage`."""


class EmbeddingUsage(Answer):
    """Tokens."""

    prompt_tokens: int
    total_tokens: int


class Embedding(Answer):
    """`embedding` has base64 of little-endian float32 where `encoding_format` asked for that."""

    index: int
    object: Literal["embedding"] = "embedding"
    embedding: list[float] | str


class EmbeddingList(Answer):
    object: Literal["list"] = "list"
    model: str
    data: list[Embedding]
    usage: EmbeddingUsage


class ContentBlock(Answer):
    """`type` says which of the others there are: text, thinking, tool_use."""

    type: str
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None


class MessageUsage(Answer):
    """Tokens."""

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int | None = None


class MessageAnswer(Answer):
    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[ContentBlock]
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: MessageUsage

    @property
    def text(self) -> str:
        """All that was said, without what was thought."""
        return "".join(block.text or "" for block in self.content if block.type == "text")


class MessageDelta(Answer):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class MessageEvent(Answer):
    """One event of a stream: `message_start` has the message, `content_block_delta` a piece, `message_delta` why it
    ended."""

    type: str
    index: int | None = None
    message: MessageAnswer | None = None
    content_block: ContentBlock | None = None
    delta: MessageDelta | None = None
