"""Cut prompts: whole turns go, the oldest first; what must stay stays; ids and texts keep their end."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.replica.plain_text import first_bytes, last_bytes
from engine.replica.truncation import fit_turns, last_tokens, without_oldest

Messages = list[dict[str, Any]]
ROLES = st.sampled_from(["system", "developer", "user", "assistant", "tool"])
CONVERSATIONS = st.lists(st.tuples(ROLES, st.integers(1, 9)), min_size=1, max_size=40)


def conversation(drawn: list[tuple[str, int]]) -> Messages:
    return [{"role": role, "content": [at] * size} for at, (role, size) in enumerate(drawn)]


def tokens(messages: Messages) -> list[int]:
    return [token for message in messages for token in message["content"]]


@given(CONVERSATIONS, st.integers(0, 200))
def test_what_is_left_fits_is_the_most_that_fits_and_keeps_system_and_last_turn(
    drawn: list[tuple[str, int]], limit: int
) -> None:
    messages = conversation(drawn)
    asked = []

    def tokens_of(some: Messages) -> list[int] | None:
        asked.append(some)
        return tokens(some) if len(tokens(some)) <= limit else None

    turns = sum(m["role"] == "user" for m in messages)
    every = [messages, *(without_oldest(messages, count) for count in range(1, turns))]
    fitting = [tokens(some) for some in every if len(tokens(some)) <= limit]
    assert fit_turns(messages, tokens_of) == (fitting[0] if fitting else None)
    assert len(asked) <= 1 + max(1, turns).bit_length()


@given(CONVERSATIONS, st.integers(1, 20))
def test_a_cut_conversation_begins_with_a_user_and_keeps_order_and_all_system_messages(
    drawn: list[tuple[str, int]], count: int
) -> None:
    messages = conversation(drawn)
    kept = without_oldest(messages, count)
    assert kept == [m for m in messages if m in kept]
    assert all(m in kept for m in messages if m["role"] in ("system", "developer"))
    rest = [m for m in kept if m["role"] not in ("system", "developer")]
    assert not rest or rest[0]["role"] == "user"


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 30))
def test_the_end_of_a_prompt_keeps_its_opening_token(tokens: list[int], limit: int) -> None:
    cut = last_tokens(tokens, limit, bos=0)
    assert len(cut) == min(limit, len(tokens))
    if cut != tokens:
        body = cut[1:] if tokens[0] == 0 and limit > 1 else cut
        assert body == tokens[len(tokens) - len(body) :]
        assert cut[0] == 0 or tokens[0] != 0 or limit == 1


@given(st.text(), st.integers(0, 40))
def test_texts_are_cut_at_whole_characters(text: str, count: int) -> None:
    beginning, end = first_bytes(text, count), last_bytes(text, count)
    assert text.startswith(beginning)
    assert text.endswith(end)
    whole = len(text.encode("utf-8"))
    for part in (beginning, end):
        assert min(count, whole) - 3 <= len(part.encode("utf-8")) <= count
