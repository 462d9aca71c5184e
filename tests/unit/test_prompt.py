"""What routing may know of a request: hashes of its text, its length, a digest of its session."""

from __future__ import annotations

import dataclasses
import json
import timeit
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control.prefix import BLOCK_CHARACTERS, BLOCKS_MAX, links_of
from engine.control.route import Prompt
from engine.gateway.prompt import ISOLATION_HEADER, prompt_of
from tests.arbitrary import JSON

LONG = "word " * 200
TURN: list[dict[str, Any]] = [{"role": "system", "content": LONG}, {"role": "user", "content": LONG + "first"}]
NEXT = [*TURN, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "second " + LONG}]


def of(fields: dict[str, Any], headers: dict[str, str] | None = None, addon: str | None = None, **more: Any) -> Prompt:
    return prompt_of(fields, headers or {}, addon, **more)


def test_the_next_turn_of_a_conversation_begins_as_the_last_one_did() -> None:
    first, second = of({"messages": TURN}), of({"messages": NEXT})
    assert len(first.links) == first.characters // BLOCK_CHARACTERS == 7
    assert second.links[: len(first.links)] == first.links
    assert second.characters > first.characters
    assert of({"messages": TURN, "temperature": 0, "stream": True}).links == first.links


def test_tools_come_first_and_what_only_looks_alike_differs() -> None:
    plain = of({"messages": TURN}).links
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    called = [*TURN[:1], {"role": "user", "content": None, "tool_calls": [LONG]}]
    parts = [{"role": "system", "content": [{"type": "text", "text": LONG}]}]
    for other in ({"messages": TURN, "tools": tools}, {"messages": called}, {"messages": parts}, {"prompt": LONG}):
        assert of(other).links[-1] not in plain
        assert of(other).links == of(json.loads(json.dumps(other))).links


def test_a_text_tokens_and_the_first_of_several_prompts() -> None:
    assert of({"prompt": LONG}).links == of({"prompt": [LONG, "other"]}).links
    assert (len(of({"prompt": LONG}).links), of({"prompt": LONG}).characters) == (3, 1000)
    tokens = list(range(200))
    assert (len(of({"prompt": tokens}).links), of({"prompt": tokens}).characters) == (3, 800)
    assert of({"prompt": [tokens, [1]]}).links == of({"prompt": tokens}).links


@pytest.mark.parametrize(
    ("fields", "headers", "addon"),
    [({"prompt_cache_isolation_key": "k"}, {}, None), ({}, {ISOLATION_HEADER: "k"}, None), ({}, {}, "adapter")],
)
def test_no_link_is_shared_with_a_request_that_no_cache_would_serve(
    fields: dict[str, Any], headers: dict[str, str], addon: str | None
) -> None:
    plain = of({"messages": TURN})
    other = of({"messages": TURN} | fields, headers, addon)
    assert len(other.links) == len(plain.links)
    assert not set(plain.links) & set(other.links)


def test_an_isolation_key_is_the_same_in_the_header_and_in_the_body() -> None:
    body, header = {"prompt": LONG, "prompt_cache_isolation_key": "k"}, {ISOLATION_HEADER: "k"}
    assert of(body).links == of({"prompt": LONG}, header).links == of(body, header).links


def test_where_the_client_wants_no_cache_nothing_is_looked_for() -> None:
    assert of({"prompt": LONG, "prompt_cache_max_len": 0}).links == ()
    assert of({"prompt": LONG, "prompt_cache_max_len": 100}).links != ()


def test_the_session_is_the_first_of_the_documented_places_and_only_its_digest_is_kept() -> None:
    fields = {"prompt": "x", "prompt_cache_key": "canary", "user": "u"}
    headers = {"x-multi-turn-session-id": "t", "x-session-affinity": "s"}
    digests = []
    for place in ("prompt_cache_key", "user", "x-multi-turn-session-id", "x-session-affinity"):
        found = of(fields, headers).session
        assert found == of({"user": (fields | headers)[place]}).session
        digests.append(found)
        fields.pop(place, None)
        headers.pop(place, None)
    assert len(set(digests)) == 4
    assert of(fields, headers).session == ""
    assert "canary" not in repr(dataclasses.asdict(of({"prompt": "canary", "user": "canary"})))
    assert of({"prompt": "x", "user": "u"}, sessions=False).session == ""


NAMES = st.sampled_from(
    ["messages", "prompt", "tools", "user", "prompt_cache_key", "prompt_cache_isolation_key", "prompt_cache_max_len"]
)


@given(st.dictionaries(NAMES, JSON | st.lists(JSON)), st.none() | st.text(max_size=3))
def test_whatever_a_client_sends_it_raises_nothing(fields: dict[str, Any], addon: str | None) -> None:
    found = of(fields, {}, addon)
    assert len(found.links) <= BLOCKS_MAX
    assert found.characters >= len(found.links) * BLOCK_CHARACTERS
    assert of(fields, {}, addon).links == found.links


def test_what_nests_too_deeply_and_half_characters_are_the_replicas_business() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    assert of({"messages": [deep], "user": "\ud800"}).links == ()
    assert of({"prompt": "\ud800" * 300}).links != ()
    while isinstance(deep, list):  # taken apart by hand: its end must not nest either
        deep = deep.pop()


def test_of_an_endless_prompt_the_beginning_is_read() -> None:
    message = {"role": "user", "content": "x" * 100_000}
    found = of({"messages": [message] * 40})
    assert (len(found.links), found.characters) == (BLOCKS_MAX, 40 * 100_006)


def test_what_it_takes_is_told() -> None:
    """Not asserted: a busy machine decides nothing."""
    for kilobytes in (2, 8, 32, 256, 4096):
        turns = [{"role": "user", "content": "x" * 1000}] * kilobytes
        took_us = min(timeit.repeat(lambda: of({"messages": turns}), number=1, repeat=20)) * 1e6  # noqa: B023
        print(f"{kilobytes} kB of messages: {took_us:.0f} us")
    assert links_of("", None) == ()
