"""The answers of the inference API, for its OpenAPI document: replicas write them, the gateway passes them on.

Sources: https://docs.fireworks.ai/api-reference, https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict  # before Python 3.12 pydantic takes no other

FinishReason = Literal["stop", "length", "tool_calls", "function_call"]


class Usage(TypedDict):
    """Tokens. `prompt_tokens_details.cached_tokens` of the prompt were not read again."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]
    completion_tokens_details: NotRequired[dict[str, int]]


class PoolingUsage(TypedDict):
    prompt_tokens: int
    total_tokens: int


class TopLogprob(TypedDict):
    token: str
    logprob: float
    token_id: int
    bytes: list[int]


class TokenLogprob(TopLogprob):
    text_offset: int
    top_logprobs: list[TopLogprob]
    sampling_logprob: NotRequired[float]


class Logprobs(TypedDict):
    """Of `logprobs: true`."""

    content: list[TokenLogprob]


class LegacyLogprobs(TypedDict):
    """Of `logprobs` as a number."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]
    token_ids: list[int]


class RawOutput(TypedDict):
    """What went into the model and what came out of it."""

    prompt_fragments: list[str | int]
    prompt_token_ids: list[int]
    completion: str
    completion_token_ids: list[int]
    completion_logprobs: NotRequired[Logprobs]
    grammar: NotRequired[str]


class FunctionPiece(TypedDict):
    """A function that is called. In a stream the name comes with the first piece and the arguments in pieces."""

    name: NotRequired[str]
    arguments: str


class AnsweredCall(TypedDict):
    id: str
    type: Literal["function"]
    function: FunctionPiece


class AnsweredCallPiece(TypedDict):
    index: int
    id: NotRequired[str]
    type: NotRequired[Literal["function"]]
    function: FunctionPiece


class AnswerMessage(TypedDict):
    role: Literal["assistant"]
    content: str | None
    reasoning_content: NotRequired[str]
    tool_calls: NotRequired[list[AnsweredCall]]
    function_call: NotRequired[FunctionPiece]


class AnswerDelta(TypedDict, total=False):
    role: Literal["assistant"]
    content: str
    reasoning_content: str
    tool_calls: list[AnsweredCallPiece]
    function_call: FunctionPiece


class _Choice(TypedDict):
    index: int
    logprobs: NotRequired[Logprobs | LegacyLogprobs]
    token_ids: NotRequired[list[int]]
    stop_reason: NotRequired[str | None]
    raw_output: NotRequired[RawOutput]


class ChatChoice(_Choice):
    finish_reason: FinishReason
    message: AnswerMessage


class ChatChunkChoice(_Choice):
    finish_reason: FinishReason | None
    delta: AnswerDelta


class TextChoice(_Choice):
    finish_reason: FinishReason
    text: str
    prompt_token_ids: NotRequired[list[int]]


class TextChunkChoice(_Choice):
    finish_reason: FinishReason | None
    text: str
    prompt_token_ids: NotRequired[list[int]]


class _Generated(TypedDict):
    id: str
    created: int
    model: str
    perf_metrics: NotRequired[dict[str, Any]]


class ChatCompletion(_Generated):
    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    usage: Usage
    prompt_token_ids: NotRequired[list[int]]


class ChatCompletionChunk(_Generated):
    """One event of a stream. The last one has `usage`: that with the last finish_reason, or one of its own."""

    object: Literal["chat.completion.chunk"]
    choices: list[ChatChunkChoice]
    usage: NotRequired[Usage]
    prompt_token_ids: NotRequired[list[int]]


class Completion(_Generated):
    object: Literal["text_completion"]
    choices: list[TextChoice]
    usage: Usage


class CompletionChunk(_Generated):
    """One event of a stream. The last one has `usage`: that with the last finish_reason, or one of its own."""

    object: Literal["text_completion"]
    choices: list[TextChunkChoice]
    usage: NotRequired[Usage]


class Embedding(TypedDict):
    """Numbers, or base64 of little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Embeddings(TypedDict):
    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: PoolingUsage


class RankedDocument(TypedDict):
    index: int
    relevance_score: float
    document: NotRequired[str]


class Ranking(TypedDict):
    """The most relevant document first. `results` is the same as `data`."""

    object: Literal["list"]
    model: str
    data: list[RankedDocument]
    results: list[RankedDocument]
    usage: PoolingUsage


class ServedModel(TypedDict):
    """What a request's `model` may be: a deployment, a model, an adapter on a deployment, a router."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    kind: str | None
    supports_chat: bool
    supports_image_input: bool
    supports_tools: bool
    context_length: int | None
    deprecation_date: NotRequired[str]


class ServedModels(TypedDict):
    object: Literal["list"]
    data: list[ServedModel]


class KeptResponses(TypedDict):
    """The list of the Responses API, in which there is never one."""

    object: Literal["list"]
    data: list[dict[str, Any]]
    has_more: Literal[False]
    first_id: None
    last_id: None
