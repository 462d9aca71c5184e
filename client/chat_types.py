"""Answers of chat completions, with attributes: OpenAI's shape and Fireworks' additions.

Fields that are not named here are kept, and are attributes too.
Sources: https://docs.fireworks.ai/api-reference, https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    model_config = ConfigDict(extra="allow", protected_namespaces=())


class PromptTokensDetails(Answer):
    cached_tokens: int = 0


class Usage(Answer):
    """Tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | None = None


class CalledFunction(Answer):
    """In a stream the name comes with the first piece, and the arguments in pieces."""

    name: str | None = None
    arguments: str = ""


class ToolCall(Answer):
    index: int | None = None
    id: str | None = None
    type: str = "function"
    function: CalledFunction


class Message(Answer):
    role: str = "assistant"
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None


class Delta(Answer):
    role: str | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(Answer):
    index: int
    message: Message
    finish_reason: str | None = None


class ChunkChoice(Answer):
    index: int
    delta: Delta
    finish_reason: str | None = None


class ChatCompletion(Answer):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | None = None
    perf_metrics: dict[str, Any] | None = None


class ChatCompletionChunk(Answer):
    """One event of a stream; the last has `usage`."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    perf_metrics: dict[str, Any] | None = None
