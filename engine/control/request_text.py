"""The text of an inference request: every form in which a body may have a prompt, and what is read of it. Pure.

    forms   `messages` (roles, and contents that are texts or lists of parts) with `tools`; `prompt` and `input`: a
            text, several, token ids, or lists of those; `query` and `documents`: texts, or objects with one
    verbs   opening      as far as a chat template would begin with it, and how long all of it is: for routing by prefix
            texts        every text that a model may see: for guards
            characters   how long the texts of the prompt are: for rules of complexity
            has_media, has_token_ids, token_count, answer_limit
    near    `complexity` asks, and of the gateway `prompt`, `judging` and `admit`

Bodies are the client's and may be anything: what is no prompt in any of these forms is nothing here, and the replica's
to refuse. `texts` is the widest on purpose: it reads all but the fields that no model ever sees, so that a field which
comes later is not overlooked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from engine.control.prefix import BLOCK_CHARACTERS, BLOCK_TOKENS, BLOCKS_MAX, CHARACTERS_PER_TOKEN

PROMPTS = ("prompt", "input")  # that may be token ids
_LIMITS = ("max_tokens", "max_completion_tokens")
_OPENING_CHARACTERS, _OPENING_TOKENS = BLOCK_CHARACTERS * BLOCKS_MAX, BLOCK_TOKENS * BLOCKS_MAX
_UNSEEN = frozenset({"model", "user", "metadata", "prompt_cache_key", "prompt_cache_isolation_key", "stream_options"})
_NAMES = frozenset({"role", "type", "finish_reason"})  # whose values are words of the protocol, where they are these
_PROTOCOL = frozenset(
    {
        "system", "user", "assistant", "developer", "tool", "function", "text", "object", "string", "array", "number",
        "integer", "boolean", "null", "json_object", "json_schema", "grammar", "content", "stop", "length",
        "tool_calls", "function_call",
    }
)  # fmt: skip
_KEYS = _PROTOCOL | _NAMES | {  # of objects below the top level: whatever else stands there is somebody's word
    "name", "arguments", "tool_call_id", "id", "reasoning_content", "parameters", "description", "strict", "schema",
    "properties", "required", "items", "enum", "const", "additionalProperties", "anyOf", "oneOf", "allOf", "$ref",
    "$defs", "title", "default", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern",
    "format", "prefixItems", "scale",
}  # fmt: skip


class Opening(NamedTuple):
    """`form`: chat, text, or tokens; `content`: as much of it as routing hashes, a text or token ids; `characters`: how
    long all of it is."""

    form: str
    content: str | tuple[Any, ...]
    characters: int


def opening(body: Mapping[str, Any]) -> Opening:
    """What a chat template would make of it but for the template: tools, then each message's role and content. It need
    not be the very prompt, only be equal as far as that is. Of several prompts the first decides.

    TypeError, ValueError or RecursionError for what cannot be written as JSON."""
    turns = body.get("messages")
    if isinstance(turns, list):
        return _chat(turns, body.get("tools"))
    prompt = body.get("prompt")
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return Opening("text", prompt, len(prompt))
    if isinstance(prompt, list):
        return Opening("tokens", tuple(prompt[:_OPENING_TOKENS]), len(prompt) * CHARACTERS_PER_TOKEN)
    return Opening("text", "", 0)


def texts(body: Mapping[str, Any]) -> list[str]:
    """Every text that a model may see, names of nested fields too; the parts of a content are one text as well. Words
    of the protocol itself are left out. Token ids have no text."""
    return [text for name, value in body.items() if name not in _UNSEEN for text in _texts(value, name)]


def characters(body: Mapping[str, Any]) -> int:
    """Of contents and prompts; a token id counts as its mean."""
    given = [body.get(name) for name in (*PROMPTS, "query", "documents")]
    return sum([_characters(one) for one in (*_contents(body), *given)])


def messages(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in _list(body.get("messages")) if isinstance(one, Mapping)]


def has_media(body: Mapping[str, Any]) -> bool:
    """Whether a message has a part that is no text."""
    return any(_is_media(part) for content in _contents(body) for part in _list(content))


def has_token_ids(given: Any) -> bool:
    """Whether a prompt is, or has in it, token ids."""
    if not isinstance(given, list):
        return False
    return any(isinstance(one, int) or (isinstance(one, list) and has_token_ids(one)) for one in given)


def token_count(prompt: Any) -> int | None:
    """Of a prompt that is given as token ids; None for any other."""
    counts = isinstance(prompt, list) and prompt and all(type(token) is int for token in prompt)
    return len(prompt) if counts else None


def answer_limit(body: Mapping[str, Any]) -> int | None:
    """Tokens that the answer may have at most, 0 for a prompt that is only to be read; None where the request says
    nothing of it."""
    given = (body.get(name) for name in _LIMITS)
    return next((limit for limit in given if type(limit) is int and limit >= 0), None)


def is_protocol(name: str, value: str) -> bool:
    """Whether this value of that field is the protocol's own word, and nobody's text."""
    return name in _NAMES and value in _PROTOCOL


def _chat(turns: Sequence[Any], tools: Any) -> Opening:
    parts, length = [], 0
    if tools:
        parts.append(json.dumps(tools))
        length += len(parts[0])
    for message in turns:
        part = _message(message)
        if length < _OPENING_CHARACTERS:
            parts.append(part)
        length += len(part)
    return Opening("chat", "".join(parts), length)


def _message(message: Any) -> str:
    if isinstance(message, dict) and len(message) == 2:  # nearly all are
        role, content = message.get("role"), message.get("content")
        if isinstance(role, str) and isinstance(content, str):
            return f"{role}\n{content}\0"
    return json.dumps(message) + "\0"


def _texts(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, str):
        if not is_protocol(name, value):
            yield value
    elif isinstance(value, list):
        if name == "content":
            yield "".join([str(one.get("text") or "") for one in value if isinstance(one, dict)])
        for one in value:
            yield from _texts(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            if key not in _KEYS:
                yield key
            yield from _texts(one, key)


def _contents(body: Mapping[str, Any]) -> list[Any]:
    return [one.get("content") for one in messages(body)]


def _characters(given: Any) -> int:
    """Of a text, of tokens, of parts of a message, or of a list of those."""
    if isinstance(given, str):
        return len(given)
    if type(given) is int:
        return CHARACTERS_PER_TOKEN
    if isinstance(given, Mapping):
        return _characters(given.get("text"))
    return sum([_characters(one) if not isinstance(one, list) else _flat(one) for one in _list(given)])


def _flat(given: list[Any]) -> int:
    """A list in a list is a prompt of tokens; what is deeper means nothing."""
    return sum([_characters(one) for one in given if not isinstance(one, list)])


def _is_media(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type", "text") != "text"


def _list(given: Any) -> list[Any]:
    return given if isinstance(given, list) else []
