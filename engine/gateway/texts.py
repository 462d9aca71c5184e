"""What guards read: the text of a request that a model may see, and the text of its answer. Pure.

Of a request all text counts but that of fields which no model ever sees, so that a field which comes later is not
overlooked. A prompt of token ids has no text here, and is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from client.errors import InvalidArgument
from engine.gateway.replays import events_of

Place = tuple[str, ...]  # names and numbers, from the choices down

_UNSEEN = frozenset({"model", "user", "metadata", "prompt_cache_key", "prompt_cache_isolation_key", "stream_options"})
_PROMPTS = ("prompt", "input")
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
_ANSWER_UNREAD = frozenset({"logprobs", "id", "prompt_fragments"})  # the same text in pieces, or the prompt's


def of_request(fields: dict[str, Any]) -> list[str]:
    """InvalidArgument for a prompt that cannot be read."""
    for name in _PROMPTS:
        if _has_token_ids(fields.get(name)):
            raise InvalidArgument(
                f"{name} is given as token ids, which the guards of this account cannot read", field=name,
                hint="send text",
            )  # fmt: skip
    return [text for name, value in fields.items() if name not in _UNSEEN for text in _texts(value, name)]


def of_answer(sent: bytes, *, stream: bool) -> str:
    """The text of an answer's choices; of one that is not understood, all of it."""
    if stream:
        events = events_of(sent) or _events(sent)
        return "\n".join(_joined(events).values()) if events else sent.decode("utf-8", "replace")
    try:
        whole = json.loads(sent)
    except ValueError:
        return sent.decode("utf-8", "replace")
    return "\n".join(_joined([whole] if isinstance(whole, dict) else []).values())


def _events(sent: bytes) -> list[dict[str, Any]]:
    """Those of a stream that was broken off, as far as they can be read."""
    found = []
    for event in sent.split(b"\n\n"):
        try:
            parsed = json.loads(event.removeprefix(b"data:"))
        except ValueError:
            continue
        if isinstance(parsed, dict):
            found.append(parsed)
    return found


def _joined(events: list[dict[str, Any]]) -> dict[Place, str]:
    """The text at each place of the choices; a stream's parts of one place are one text."""
    found: dict[Place, str] = {}
    for event in events:
        for place, text in places_of(event.get("choices") or []):
            found[place] = found.get(place, "") + text
    return found


def places_of(value: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """Every text of an answer's choices, or of an event's, and where it stands."""
    if isinstance(value, str):
        if not (place[-1] in _NAMES and value in _PROTOCOL):
            yield place, value
    elif isinstance(value, list):
        for at, one in enumerate(value):
            index = one.get("index", at) if isinstance(one, dict) else at
            yield from places_of(one, (*place, str(index)))
    elif isinstance(value, dict):
        for name, one in value.items():
            if name not in _ANSWER_UNREAD:
                yield from places_of(one, (*place, name))


def _texts(value: Any, name: str = "") -> Iterator[str]:
    """Every text in it, names of nested fields too: a schema's reach the prompt. Parts of a content are one text."""
    if isinstance(value, str):
        if not (name in _NAMES and value in _PROTOCOL):
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


def _has_token_ids(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    return any(isinstance(one, int) or (isinstance(one, list) and _has_token_ids(one)) for one in value)
