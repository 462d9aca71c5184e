"""Prompts cut to `prompt_truncate_len` tokens. Pure.

A conversation loses its oldest turns, whole: a user's message and all that follows it up to the next one, so that
roles still alternate and no tool's answer stands without its call. What the system said and the last turn stay.
Raw prompts lose their beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

KEPT_ROLES = ("system", "developer")

Message = TypeVar("Message", bound=Mapping[str, Any])  # with its `role`


def fit_turns(messages: list[Message], tokens_of: Callable[[list[Message]], list[int] | None]) -> list[int] | None:
    """The token ids of as much of the conversation as fits; None when not even the least of it does.

    `tokens_of` gives the token ids of messages, or None when they are too many; it is asked about log2(turns) times,
    because dropping a turn never makes a prompt longer; halving first, so that all of it costs about twice the first.
    """
    found = tokens_of(messages)
    if found is not None:
        return found
    low, high = 1, _turns(messages) - 1  # how many of the oldest to drop
    while low <= high:
        middle = (low + high) // 2
        tokens = tokens_of(without_oldest(messages, middle))
        if tokens is None:
            low = middle + 1
        else:
            found, high = tokens, middle - 1
    return found


def without_oldest(messages: list[Message], turns: int) -> list[Message]:
    """The messages without those of the first `turns` (> 0) turns. What stands before the first goes with it."""
    kept: list[Message] = []
    begun = 0
    for message in messages:
        begun += message["role"] == "user"
        if message["role"] in KEPT_ROLES or begun > turns:
            kept.append(message)
    return kept


def last_tokens(tokens: list[int], limit: int, bos: int) -> list[int]:
    """The last `limit` tokens, after the opening token where the prompt began with it."""
    if len(tokens) <= limit:
        return tokens
    if tokens[0] == bos and limit > 1:
        return [bos, *tokens[len(tokens) - limit + 1 :]]
    return tokens[len(tokens) - limit :]


def _turns(messages: list[Message]) -> int:
    return sum(message["role"] == "user" for message in messages)
