"""From a JSON body to a request: what is refused before its fields are read, and what no field shows alone.

Unknown fields are dropped here and reach nothing. Fields of the wire that this replica cannot honour yet are
refused by name, because ignoring them would give wrong answers silently. Lists are checked for their length before
pydantic sees them, which builds one error for each bad element while it holds the interpreter's lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from client.errors import InvalidArgument
from engine.replica.fields import (
    MAX_CHOICES,
    MAX_LOGIT_BIAS,
    MAX_MESSAGES,
    MAX_STOPS,
    ChatRequest,
    CompletionRequest,
    GenerationRequest,
    Message,
)
from engine.replica.serving_fields import MAX_ADAPTERS
from engine.replica.tool_fields import MAX_TOOLS, check_tools
from engine.replica.wire_types import validated

# Given and not one of these harmless values: refused.
NOT_YET: Mapping[str, tuple[Any, ...]] = {
    "images": (None, []),
}
# Fields of chat alone. Harmless values are those that ask for nothing.
ONLY_CHAT: Mapping[str, tuple[Any, ...]] = {
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "reasoning_effort": (None, False, "none"),
    "thinking": (None, {"type": "disabled"}),
}
# Lists and objects of a body that may hold no more than this.
LONGEST: Mapping[str, int] = {
    "messages": MAX_MESSAGES,
    "logit_bias": MAX_LOGIT_BIAS,
    "stop": MAX_STOPS,
    "lora": MAX_ADAPTERS,
    "tools": MAX_TOOLS,
    "functions": MAX_TOOLS,
}

Request = TypeVar("Request", bound=GenerationRequest)


def parse(kind: type[Request], body: Any) -> Request:
    """The validated request. Raises InvalidArgument with the wire name of the first field at fault."""
    if not isinstance(body, dict):
        raise InvalidArgument("the body must be a JSON object")
    _refuse_unsupported(kind, body)
    _refuse_long(body)
    request = validated(kind, body)
    _check_together(request)
    return request


def _refuse_unsupported(kind: type[GenerationRequest], body: dict[str, Any]) -> None:
    for field, harmless in NOT_YET.items():
        if not _harmless(body, field, harmless):
            raise InvalidArgument(f"{field}: not supported yet", field=field)
    for field, harmless in ONLY_CHAT.items() if kind is not ChatRequest else ():
        if not _harmless(body, field, harmless):
            raise InvalidArgument(f"{field} is for chat", field=field, hint="use /v1/chat/completions")
    if kind is ChatRequest and body.get("suffix"):
        raise InvalidArgument("suffix is for completions", field="suffix", hint="use /v1/completions")


def _harmless(body: dict[str, Any], field: str, values: tuple[Any, ...]) -> bool:
    """Whether a field is left out, or has one of these values (of the same type: 0 is not false)."""
    return field not in body or any(body[field] == value and type(body[field]) is type(value) for value in values)


def _refuse_long(body: dict[str, Any]) -> None:
    for field, longest in LONGEST.items():
        value = body.get(field)
        if isinstance(value, (list, dict)) and len(value) > longest:
            raise InvalidArgument(f"{field}: at most {longest} entries, not {len(value)}", field=field)


def _check_together(request: GenerationRequest) -> None:
    """What no field shows alone."""
    if request.max_tokens is not None and request.max_completion_tokens is not None:
        raise InvalidArgument("give max_tokens or max_completion_tokens, not both", field="max_completion_tokens")
    if request.top_logprobs and not request.logprobs_asked:
        raise InvalidArgument("top_logprobs needs logprobs: true", field="top_logprobs")
    if request.prediction and request.speculation:
        raise InvalidArgument("prediction and speculation mean the same: give one", field="speculation")
    if request.prompt_truncate_len is not None and request.safe_tokenization:
        raise InvalidArgument("prompt_truncate_len does not go with safe_tokenization", field="prompt_truncate_len")
    if isinstance(request, CompletionRequest) and request.suffix:
        _check_suffix(request)
    _check_choices(request)
    if isinstance(request, ChatRequest):
        _check_contents(request.messages)
        check_tools(request)


def _check_contents(messages: list[Message]) -> None:
    """Only the assistant may say nothing, and only beside calls or reasoning."""
    for place, message in enumerate(messages):
        instead = message.tool_calls or message.function_call or message.reasoning_content
        if message.content is None and not instead:
            field = f"messages.{place}.content"
            raise InvalidArgument(f"{field}: is required", field=field)


def _check_choices(request: GenerationRequest) -> None:
    prompts = len(request.prompts) if isinstance(request, CompletionRequest) else 1
    if prompts * request.choices > MAX_CHOICES:
        field = "n" if request.choices == (request.n or 1) else "best_of"
        raise InvalidArgument(f"{field}: {prompts} prompts times {field} are over {MAX_CHOICES} choices", field=field)
    if request.best_of is not None and request.best_of < (request.n or 1):
        raise InvalidArgument("best_of must not be less than n", field="best_of")
    if request.stream and request.choices > (request.n or 1):
        raise InvalidArgument("best_of is only known at the end: it cannot be streamed", field="best_of")


def _check_suffix(request: CompletionRequest) -> None:
    if not all(isinstance(prompt, str) for prompt in request.prompts):
        raise InvalidArgument("suffix needs the prompt as text", field="suffix")
    if request.echoes or request.prompt_truncate_len is not None:
        raise InvalidArgument("suffix does not go with echo, echo_last or prompt_truncate_len", field="suffix")
