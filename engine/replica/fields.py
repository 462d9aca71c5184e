"""The request bodies that a replica accepts, as pydantic models: types, ranges, defaults.

Source: https://docs.fireworks.ai/api-reference
Unknown fields are dropped here and reach nothing. Fields of the wire that this replica cannot honour yet are
refused by name, because ignoring them would give wrong answers silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from client.errors import InvalidArgument

MAX_STOPS = 4
MAX_STOP_CHARS = 256
MAX_LOGIT_BIAS = 1024
MAX_CHOICES = 128
DEFAULT_MAX_TOKENS = 2048

# Given and not one of these harmless values: refused.
NOT_YET: Mapping[str, tuple[Any, ...]] = {
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "prediction": (None, ""),
    "speculation": (None, "", []),
    "images": (None, []),
    "mirostat_target": (None,),
    "mirostat_lr": (None,),
    "echo_last": (None, 0),
    "prompt_truncate_len": (None,),
    "raw_output": (None, False),
    "reasoning_effort": (None, False, "none"),
    "thinking": (None, {"type": "disabled"}),
    "suffix": (None, ""),
    "best_of": (None, 1),
}


def _not_bool(value: Any) -> Any:
    """JSON's true is no number, whatever Python thinks."""
    if isinstance(value, (bool, str)):
        raise ValueError("must be a number")
    return value


def _whole_text(value: str) -> str:
    """Lone surrogates (legal in JSON escapes) are no text: they have no UTF-8."""
    value.encode("utf-8")
    return value


Text = Annotated[str, AfterValidator(_whole_text)]
StopText = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARS), AfterValidator(_whole_text)]
Number = Annotated[float, BeforeValidator(_not_bool)]
Integer = Annotated[int, BeforeValidator(_not_bool)]
TokenId = Annotated[Integer, Field(ge=0)]
TokenLimit = Annotated[Integer, Field(ge=0, lt=2**31)]
LogitBias = Annotated[dict[str, Annotated[Number, Field(ge=-100, le=100)]], Field(max_length=MAX_LOGIT_BIAS)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, strict=True)


class StreamOptions(_Body):
    include_usage: bool | None = None


class ResponseFormat(_Body):
    type: Literal["text", "json_object", "json_schema", "grammar"]
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    json_schema: dict[str, Any] | None = None
    grammar: Text | None = None


class ContentPart(_Body):
    type: str
    text: Text | None = None


class Message(_Body):
    role: Literal["system", "user", "assistant", "tool", "developer"]
    content: Text | list[ContentPart] | None = None

    def text(self, field: str) -> str:
        """The message's text; parts are joined. Raises for parts that are no text."""
        if not isinstance(self.content, list):
            return self.content or ""
        for part in self.content:
            if part.type != "text":
                raise InvalidArgument(f"{part.type} parts are not supported yet, only text", field=field)
        return "".join(part.text or "" for part in self.content)


class GenerationRequest(_Body):
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
    logit_bias: LogitBias | None = None
    n: Annotated[Integer, Field(ge=1, le=MAX_CHOICES)] | None = None
    seed: Annotated[Integer, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=MAX_STOPS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: bool | Annotated[int, Field(ge=0, le=5)] | None = None
    top_logprobs: Annotated[Integer, Field(ge=0, le=5)] | None = None
    ignore_eos: bool | None = None
    response_format: ResponseFormat | None = None
    context_length_exceeded_behavior: Literal["truncate", "error"] | None = None
    perf_metrics_in_response: bool | None = None
    return_token_ids: bool | None = None
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
    def top_count(self) -> int | None:
        """How many alternatives each token reports; None when no logprobs are wanted."""
        if not self.logprobs_asked:
            return None
        return int(self.logprobs or 0) if self.legacy_logprobs else self.top_logprobs or 0


class ChatRequest(GenerationRequest):
    messages: Annotated[list[Message], Field(min_length=1)]


class CompletionRequest(GenerationRequest):
    prompt: (
        Text
        | Annotated[list[TokenId], Field(min_length=1)]
        | Annotated[list[Text], Field(min_length=1, max_length=MAX_CHOICES)]
        | Annotated[list[Annotated[list[TokenId], Field(min_length=1)]], Field(min_length=1, max_length=MAX_CHOICES)]
    )
    echo: bool | None = None
    safe_tokenization: bool | None = None


Request = TypeVar("Request", bound=GenerationRequest)


def parse(kind: type[Request], body: Any) -> Request:
    """The validated request. Raises InvalidArgument with the wire name of the first field at fault."""
    if not isinstance(body, dict):
        raise InvalidArgument("the body must be a JSON object")
    for field, harmless in NOT_YET.items():
        if field in body and not any(body[field] == value and type(body[field]) is type(value) for value in harmless):
            raise InvalidArgument(f"{field}: not supported yet", field=field)
    if kind is ChatRequest and body.get("echo"):
        raise InvalidArgument("echo is not supported for chat", field="echo")
    try:
        request = kind.model_validate(body)
    except ValidationError as error:
        raise _named(error) from None
    if request.max_tokens is not None and request.max_completion_tokens is not None:
        raise InvalidArgument("give max_tokens or max_completion_tokens, not both", field="max_completion_tokens")
    if request.top_logprobs and not request.logprobs_asked:
        raise InvalidArgument("top_logprobs needs logprobs: true", field="top_logprobs")
    return request


def _named(error: ValidationError) -> InvalidArgument:
    """The first complaint, with the field's path as the wire spells it (pydantic's union branches left out)."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = first["loc"]
    names = [str(p) for i, p in enumerate(path) if i == 0 or isinstance(p, int) or str(p).isidentifier()]
    kept = [name for name in names if name not in ("str", "int", "bool", "constrained-str")]
    field = ".".join(kept) or None
    return InvalidArgument(f"{field or 'body'}: {first['msg'].removeprefix('Value error, ')}", field=field)
