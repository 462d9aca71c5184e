"""Answers as the response cache keeps them: an answer's bytes in, and the same answer out of it, whole or as a stream.

An answer without options that change the form of its parts (`plain`) is kept whole, and is given out in either form.
Any other is kept as it was sent, and only requests of the same form get it. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

Json = dict[str, Any]

# What makes a stream's parts differ from those of a whole answer in more than being parts.
_OWN_FORM = (
    "logprobs", "top_logprobs", "echo", "echo_last", "raw_output", "return_token_ids", "perf_metrics_in_response",
    "return_stop_reason", "best_of", "tools", "functions",
)  # fmt: skip
_SPOKEN = ("content", "reasoning_content")
_DONE = b"[DONE]"


def plain(fields: Json) -> bool:
    """Whether its answer is kept whole, for either form."""
    return all(fields.get(name) is None or fields.get(name) is False for name in _OWN_FORM)


def events_of(sent: bytes) -> list[Json] | None:
    """The events of a whole stream; None for one that is no such, or that did not end as it should."""
    found: list[Json] = []
    done = False
    for event in sent.split(b"\n\n"):
        data = event[5:].strip() if event.startswith(b"data:") else b""
        if data == _DONE:
            done = True
        elif data:
            parsed = _object(data)
            if parsed is None or "error" in parsed:
                return None
            found.append(parsed)
    return found if done and found else None


def kept_form(sent: bytes, *, stream: bool, plain: bool) -> bytes | None:
    """What is kept of an answer's bytes; None for an answer that is not whole, or not understood."""
    if not stream:
        whole = _object(sent)
        return None if whole is None or not _finished(whole) else _bytes(whole)
    events = events_of(sent)
    if events is None:
        return None
    if not plain:
        return _bytes(events)
    joined = _joined(events)
    return None if joined is None else _bytes(joined)


def replayed(content: bytes, fields: Json, perf: Json, *, stream: bool, plain: bool) -> bytes:
    """The body for a request that asks with these fields: its own model string, a usage in which every token of the
    prompt came from a cache, and where there are perf metrics, the hit's own (`perf`)."""
    kept = json.loads(content)
    parts: Sequence[Json] = kept if isinstance(kept, list) else (kept,)
    for part in parts:
        part["model"] = fields.get("model")
        if part.get("usage"):
            part["usage"] = _all_cached(part["usage"])
        if part.get("perf_metrics"):
            part["perf_metrics"] = perf
    if not stream:
        return _bytes(kept)
    if plain:
        options = fields.get("stream_options") or {}
        parts = list(_streamed(kept, usage_apart=bool(options.get("include_usage"))))
    return b"".join(b"data: " + _bytes(part) + b"\n\n" for part in parts) + b"data: " + _DONE + b"\n\n"


def usage_kept(content: bytes) -> Json:
    """The usage that a kept answer tells of."""
    kept = json.loads(content)
    parts = kept if isinstance(kept, list) else [kept]
    return next((part["usage"] for part in parts if part.get("usage")), {})


def _streamed(whole: Json, *, usage_apart: bool) -> Iterator[Json]:
    """The chunks of a whole answer: an opening one, the text, and the closing one of each choice."""
    chat = whole.get("object") == "chat.completion"
    frame = {name: value for name, value in whole.items() if name not in ("choices", "usage")}
    if chat:
        frame["object"] = "chat.completion.chunk"
    choices = whole["choices"]
    for at, choice in enumerate(choices):
        index = choice["index"]
        for said in _said(choice, chat=chat):
            yield frame | {"choices": [{"index": index, "finish_reason": None, **said}]}
        nothing: Json = {"delta": {}} if chat else {"text": ""}
        closing = frame | {"choices": [{"index": index, "finish_reason": choice["finish_reason"], **nothing}]}
        yield closing if usage_apart or at < len(choices) - 1 else closing | {"usage": whole["usage"]}
    if usage_apart:
        yield frame | {"choices": [], "usage": whole["usage"]}


def _said(choice: Json, *, chat: bool) -> Iterator[Json]:
    if not chat:
        yield {"text": choice["text"]}
        return
    message = choice["message"]
    yield {"delta": {"role": "assistant", "content": ""}}
    for name in reversed(_SPOKEN):  # reasoning comes before what it leads to
        if message.get(name):
            yield {"delta": {name: message[name]}}


def _joined(events: Sequence[Json]) -> Json | None:
    """The whole answer of a stream's events; None where they say more than text."""
    first = events[0]
    chat = first.get("object") == "chat.completion.chunk"
    choices: dict[int, Json] = {}
    usage = None
    for event in events:
        usage = event.get("usage") or usage
        for part in event.get("choices") or ():
            choice = choices.setdefault(part["index"], {"finish_reason": None, "said": {}})
            choice["finish_reason"] = part.get("finish_reason") or choice["finish_reason"]
            delta = part.get("delta") if chat else {"content": part.get("text")}
            if not _add(choice["said"], delta or {}):
                return None
    if usage is None or not all(choice["finish_reason"] for choice in choices.values()):
        return None
    frame = {name: value for name, value in first.items() if name not in ("choices", "usage")}
    frame |= {"object": "chat.completion"} if chat else {}
    return frame | {"choices": [_whole(i, choices[i], chat=chat) for i in sorted(choices)], "usage": usage}


def _add(said: dict[str, str], delta: Json) -> bool:
    for name, value in delta.items():
        if name == "role" or not value:
            continue
        if name not in _SPOKEN or not isinstance(value, str):
            return False
        said[name] = said.get(name, "") + value
    return True


def _whole(index: int, choice: Json, *, chat: bool) -> Json:
    said, finish = choice["said"], choice["finish_reason"]
    if not chat:
        return {"index": index, "finish_reason": finish, "text": said.get("content", "")}
    message = {"role": "assistant", "content": said.get("content", "")}
    if "reasoning_content" in said:
        message["reasoning_content"] = said["reasoning_content"]
    return {"index": index, "finish_reason": finish, "message": message}


def _finished(whole: Json) -> bool:
    choices = whole.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(whole.get("usage"), dict):
        return False
    return all(isinstance(choice, dict) and choice.get("finish_reason") for choice in choices)


def _all_cached(usage: Json) -> Json:
    return usage | {"prompt_tokens_details": {"cached_tokens": usage.get("prompt_tokens") or 0}}


def _object(text: bytes) -> Json | None:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _bytes(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
