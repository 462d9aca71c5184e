"""OpenAI's Responses API, which is not offered: no answer is kept here that a later request could go on from.

Whoever looks finds nothing kept, whoever asks for a response is told what to ask instead.
Source: https://docs.fireworks.ai/api-reference/post-responses and its neighbours.
"""

from __future__ import annotations

from client.errors import MethodNotAllowed, NotFound, Unimplemented
from engine.gateway.answer_types import KeptResponses

RESPONSES = "/v1/responses"


def owns(path: str) -> bool:
    """Whether a path is the list of responses, or one of them."""
    return path == RESPONSES or (path.startswith(f"{RESPONSES}/") and path.count("/") == RESPONSES.count("/") + 1)


def answer(method: str, path: str) -> KeptResponses:
    """The empty list, for its path alone. Raises Unimplemented where one is asked for, NotFound for what is kept."""
    known = ("GET", "POST") if path == RESPONSES else ("GET", "DELETE")
    if method not in known:
        raise MethodNotAllowed(f"{method} is not possible here", hint=f"use {' or '.join(known)}")
    if path != RESPONSES:
        wanted = path.removeprefix(f"{RESPONSES}/")[:80]
        raise NotFound(f"response {wanted!r} does not exist", hint="responses are not kept by this engine")
    if method == "POST":
        raise Unimplemented(
            "responses are not available on this engine", hint="ask /v1/chat/completions, with the whole conversation"
        )
    return {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}
