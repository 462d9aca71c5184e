"""What guards read of an answer: the text of all its choices, whether it came whole or as a stream. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from engine.control.request_text import is_protocol
from engine.gateway.replays import events_of

Place = tuple[str, ...]  # names and numbers, from the choices down
_UNREAD = frozenset({"logprobs", "id", "prompt_fragments"})  # the same text in pieces, or the prompt's


def text_of(sent: bytes, *, stream: bool) -> str:
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
        if not is_protocol(place[-1], value):
            yield place, value
    elif isinstance(value, list):
        for at, one in enumerate(value):
            index = one.get("index", at) if isinstance(one, dict) else at
            yield from places_of(one, (*place, str(index)))
    elif isinstance(value, dict):
        for name, one in value.items():
            if name not in _UNREAD:
                yield from places_of(one, (*place, name))
