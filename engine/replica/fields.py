"""The request bodies that a replica accepts, as pydantic models: types, ranges, defaults.

Source: https://docs.fireworks.ai/api-reference
Bodies reach 8 MiB, and pydantic builds one error for each bad element of a list while it holds the interpreter's
lock; so lists stop at their first fault (fail_fast). `request_body` makes requests of bodies, and checks what lies
between fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo, field_validator

from client.errors import InvalidArgument
from engine.replica.serving_fields import ServingFields
from engine.replica.tool_fields import (
    MAX_TOOL_CALLS,
    CalledFunction,
    CallId,
    FunctionName,
    ToolCall,
    ToolFields,
)
from engine.replica.wire_types import Body, Integer, Number, Schema, Text, TokenId, whole_text

MAX_STOPS = 4
MAX_STOP_CHARS = 256
MAX_LOGIT_BIAS = 1024
MAX_CHOICES = 128  # of one request: its prompts times n
MAX_PROMPT_TOKENS = 2**20  # given as ids; beyond any model's context
MAX_MESSAGES = 4096
MAX_CONTENT_PARTS = 1024
MAX_LEGACY_LOGPROBS = 5
MIN_SEED, MAX_SEED = -(2**63), 2**63 - 1
DEFAULT_MAX_TOKENS = 2048

# Of messages: fields that only some roles have.
ROLES_WITH: Mapping[str, tuple[str, ...]] = {
    "name": ("tool", "function"),
    "tool_calls": ("assistant",),
    "tool_call_id": ("tool",),
    "function_call": ("assistant",),
    "reasoning_content": ("assistant",),
}


def _prompt(value: Any) -> Any:
    """Text, texts, token ids or lists of token ids; by hand, because a union tries each branch on every element."""
    if isinstance(value, str):
        return whole_text(value)
    if not isinstance(value, list) or not value:
        raise ValueError("must be text, token ids, or a list of either, and not empty")
    if isinstance(value[0], int):
        return _token_ids(value)
    if len(value) > MAX_CHOICES:
        raise ValueError(f"must be at most {MAX_CHOICES} prompts")
    if all(isinstance(one, str) for one in value):
        return [whole_text(one) for one in value]
    return [_token_ids(one) for one in value]


def _token_ids(value: Any) -> list[int]:
    if not isinstance(value, list) or not value or len(value) > MAX_PROMPT_TOKENS:
        raise ValueError(f"must be 1 to {MAX_PROMPT_TOKENS} token ids")
    if not all(type(token) is int and 0 <= token < 2**31 for token in value):
        raise ValueError("must be token ids: whole numbers from 0")
    return value


def _logprobs(value: Any) -> bool | int:
    """A switch or a number; by hand, because a union complains of whichever branch it tried first."""
    if isinstance(value, bool) or (type(value) is int and 0 <= value <= MAX_LEGACY_LOGPROBS):
        return value
    raise ValueError(f"must be a whole number from 0 to {MAX_LEGACY_LOGPROBS}, or true")


def _seed(value: Any) -> int:
    """By hand, because pydantic's complaints round numbers of this size."""
    if type(value) is int and MIN_SEED <= value <= MAX_SEED:
        return value
    raise ValueError(f"must be a whole number from {MIN_SEED} to {MAX_SEED}")


StopText = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARS), AfterValidator(whole_text)]
_TokenIds = Annotated[list[TokenId], Field(min_length=1, max_length=MAX_PROMPT_TOKENS)]
_Several = Field(min_length=1, max_length=MAX_CHOICES)
_PromptForms = str | _TokenIds | Annotated[list[str], _Several] | Annotated[list[_TokenIds], _Several]
_LogprobForms = bool | Annotated[int, Field(ge=0, le=MAX_LEGACY_LOGPROBS)]
_SeedForm = Annotated[int, Field(ge=MIN_SEED, le=MAX_SEED)]
# What is checked by hand says for documents which forms it has.
Prompt = Annotated[
    str | list[int] | list[str] | list[list[int]], PlainValidator(_prompt, json_schema_input_type=_PromptForms)
]
Logprobs = Annotated[bool | int, PlainValidator(_logprobs, json_schema_input_type=_LogprobForms)]
Seed = Annotated[int, PlainValidator(_seed, json_schema_input_type=_SeedForm)]
TokenLimit = Annotated[Integer, Field(ge=0, lt=2**31)]
_Bias = Annotated[Number, Field(ge=-100, le=100)]
_TOKENS = {"propertyNames": {"pattern": "^[0-9]{1,9}$"}}  # which of them there are only the model knows
LogitBias = Annotated[dict[str, _Bias], Field(max_length=MAX_LOGIT_BIAS, json_schema_extra=_TOKENS)]


class StreamOptions(Body):
    include_usage: bool | None = None


class ResponseFormat(Body):
    type: Literal["text", "json_object", "json_schema", "grammar"]
    schema_: Schema | None = Field(default=None, alias="schema")
    json_schema: Schema | None = None
    grammar: Text | None = None


class ContentPart(Body):
    type: str
    text: Text | None = None


class Message(Body):
    """One message. What only some roles have is refused on the others: templates would drop it without a word."""

    role: Literal["system", "user", "assistant", "developer", "tool", "function"]
    content: Text | Annotated[list[ContentPart], Field(fail_fast=True, max_length=MAX_CONTENT_PARTS)] | None = None
    name: FunctionName | Literal[""] | None = None
    tool_calls: Annotated[list[ToolCall], Field(fail_fast=True, max_length=MAX_TOOL_CALLS)] | None = None
    tool_call_id: CallId | Literal[""] | None = None
    function_call: CalledFunction | None = None
    reasoning_content: Text | None = None

    @field_validator("name", "tool_calls", "tool_call_id", "function_call", "reasoning_content")
    @classmethod
    def _belongs(cls, value: Any, info: ValidationInfo) -> Any:
        roles = ROLES_WITH[info.field_name or ""]
        if value and info.data.get("role", roles[0]) not in roles:
            raise ValueError(f"only messages of role {' or '.join(roles)} have it")
        return value or None

    def text(self, field: str) -> str:
        """The message's text; parts are joined. Raises for parts that are no text."""
        if not isinstance(self.content, list):
            return self.content or ""
        for part in self.content:
            if part.type != "text":
                raise InvalidArgument(f"{part.type} parts are not supported yet, only text", field=field)
        return "".join(part.text or "" for part in self.content)


class GenerationRequest(ServingFields):
    """What chat and text completions have in common."""

    model: Text = ""
    max_tokens: TokenLimit | None = None
    max_completion_tokens: TokenLimit | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_k: Annotated[Integer, Field(ge=0, le=100)] | None = None
    min_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    typical_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[Number, Field(ge=0, le=2)] | None = None
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    mirostat_target: Annotated[Number, Field(ge=0, le=100)] | None = None
    mirostat_lr: Annotated[Number, Field(ge=0, le=1)] | None = None
    logit_bias: LogitBias | None = None
    n: Annotated[Integer, Field(ge=1, le=MAX_CHOICES)] | None = None
    best_of: Annotated[Integer, Field(ge=1, le=MAX_CHOICES)] | None = None
    seed: Seed | None = None
    stop: StopText | Annotated[list[StopText], Field(fail_fast=True, max_length=MAX_STOPS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: Logprobs | None = None
    top_logprobs: Annotated[Integer, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    echo_last: Annotated[Integer, Field(ge=0)] | None = None
    ignore_eos: bool | None = None
    response_format: ResponseFormat | None = None
    context_length_exceeded_behavior: Literal["truncate", "error"] | None = None
    prompt_truncate_len: Annotated[Integer, Field(ge=1, lt=2**31)] | None = None
    safe_tokenization: bool | None = None
    raw_output: bool | None = None
    perf_metrics_in_response: bool | None = None
    return_token_ids: bool | None = None
    return_stop_reason: bool | None = None  # firedeck's own: which stop ended it
    user: Text | None = None
    metadata: dict[str, Any] | None = None
    prompt_cache_key: Text | None = None
    prompt_cache_isolation_key: Text | None = None
    prompt_cache_max_len: Annotated[Integer, Field(ge=0)] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def token_limit(self) -> int | None:
        """The limit that the request names, under either spelling."""
        return self.max_tokens if self.max_tokens is not None else self.max_completion_tokens

    @property
    def logprobs_asked(self) -> bool:
        return self.logprobs is not None and self.logprobs is not False

    @property
    def legacy_logprobs(self) -> bool:
        """An integer asks for the arrays of the old completions API (0 included), true for the new items."""
        return self.logprobs_asked and self.logprobs is not True

    @property
    def echoes(self) -> bool:
        return bool(self.echo or self.echo_last)

    @property
    def choices(self) -> int:
        """How many texts are generated for each prompt; `n` of them are returned."""
        return max(self.best_of or 1, self.n or 1)

    @property
    def top_count(self) -> int | None:
        """How many alternatives each token reports; None when no logprobs are wanted."""
        if not self.logprobs_asked:
            return None
        return int(self.logprobs or 0) if self.legacy_logprobs else self.top_logprobs or 0


class ChatRequest(GenerationRequest, ToolFields):
    messages: Annotated[list[Message], Field(fail_fast=True, min_length=1, max_length=MAX_MESSAGES)]


class CompletionRequest(GenerationRequest):
    prompt: Prompt
    suffix: Text | None = None

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts of the request, one or several."""
        prompt: Any = self.prompt
        single = isinstance(prompt, str) or isinstance(prompt[0], int)
        return [prompt] if single else prompt
