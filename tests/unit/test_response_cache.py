"""What the response cache keeps: within its bytes and its time, and nobody gets what is kept for another."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.types import ColdOptions, Deployment
from engine.clock import FakeClock
from engine.control.response_cache import ENTRY_OVERHEAD_BYTES, ResponseCache
from engine.gateway.cached import Cached, Question, Version, question
from engine.gateway.exchange import MOST_TOKENS_HEADER, Exchange, ParsedRequest
from engine.gateway.lookup import Lookup
from engine.gateway.prompt import ISOLATION_HEADER
from engine.keys import Principal

LIMIT, ENTRY = 10 * (ENTRY_OVERHEAD_BYTES + 100), ENTRY_OVERHEAD_BYTES + 400
KEYS = [bytes([number]) for number in range(6)]
CHAT = "/v1/chat/completions"
VERSION = Version("accounts/a/deployments/d", "g1", "sha-1", "", (), "")
FIELDS = {"model": "d", "messages": [{"role": "user", "content": "hi"}], "temperature": 0, "max_tokens": 4}
steps = st.lists(
    st.tuples(
        st.sampled_from(["get", "put", "wait"]),
        st.sampled_from(KEYS),
        st.integers(0, 500),
        st.floats(0.125, 40, width=16),
    ),
    max_size=60,
)


@given(steps)
def test_it_is_a_plain_lru_with_times_within_its_bytes(script: list[tuple[str, bytes, int, float]]) -> None:
    cache, plain, now = ResponseCache(LIMIT, ENTRY), OrderedDict[bytes, tuple[bytes, float]](), 100.0
    for verb, key, size, span in script:
        if verb == "wait":
            now += span
            due = cache.expire(now)
            plain = OrderedDict((k, v) for k, v in plain.items() if v[1] > now)
            assert due == min((until for _, until in plain.values()), default=None)
        elif verb == "put":
            content = bytes([size % 251]) * size
            plain = OrderedDict((k, v) for k, v in plain.items() if v[1] > now and k != key)
            fits = size + ENTRY_OVERHEAD_BYTES <= ENTRY
            while fits and sum(len(c) + ENTRY_OVERHEAD_BYTES for c, _ in plain.values()) + size > LIMIT - 512:
                plain.popitem(last=False)
            if fits:
                plain[key] = content, now + span
            assert cache.put(key, content, now, span) == fits
        else:
            kept = cache.get(key, now)
            expected = plain.get(key)
            assert (kept.content if kept else None) == (expected[0] if expected and expected[1] > now else None)
            if kept:
                plain.move_to_end(key)
        assert cache.size == sum(len(c) + ENTRY_OVERHEAD_BYTES for c, _ in plain.values()) <= LIMIT
        assert len(cache) == len(plain)


def test_entries_that_are_replaced_over_and_over_leave_nothing_behind() -> None:
    cache = ResponseCache(LIMIT, ENTRY)
    for number in range(10_000):
        cache.put(b"k", b"x", float(number) / 1000, 300.0)
    assert (len(cache), cache.size) == (1, ENTRY_OVERHEAD_BYTES + 1)
    assert len(cache._ends) < 50


def asked(
    fields: dict[str, Any], account: str = "a", version: Version = VERSION, path: str = CHAT, **headers: str
) -> Question | None:
    options = ColdOptions(response_cache=True, response_cache_ttl=timedelta(minutes=5))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return question(Deployment(firedeck=options), path, account, fields, named, version)


def key_of(*given: Any, **named: Any) -> bytes:
    found = asked(*given, **named)
    assert found is not None
    return found.key


names = st.text(st.sampled_from("ab/\"' ,é"), max_size=4)
scopes = st.tuples(names, names, names, names, names, names, names, names)


@given(scopes, scopes)
def test_no_key_crosses_accounts_isolation_keys_or_model_versions(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """T58. Two requests whose fields are equal share a key just when all of these are."""

    def keyed(scope: tuple[str, ...]) -> bytes:
        account, header, field, deployment, generation, model, adapter, guards = scope
        fields = FIELDS | ({"prompt_cache_isolation_key": field} if field else {})
        version = Version(deployment, generation, model, adapter, ((adapter, model),), guards)
        headers = {ISOLATION_HEADER.replace("-", "_"): header} if header else {}
        return key_of(fields, account, version, **headers)

    def meant(scope: tuple[str, ...]) -> tuple[object, ...]:
        """As a replica takes the two places of the isolation key."""
        return scope[0], tuple(dict.fromkeys(key for key in scope[1:3] if key)), *scope[3:]

    assert (keyed(one) == keyed(other)) == (meant(one) == meant(other))


def test_each_thing_that_can_change_a_text_changes_the_key() -> None:
    several = [
        key_of(FIELDS),
        key_of(FIELDS, "b"),
        key_of(FIELDS, **{ISOLATION_HEADER.replace("-", "_"): "k"}),
        key_of(FIELDS, path="/v1/completions"),
        *(
            key_of(FIELDS, version=Version(*parts))
            for parts in [
                ("accounts/a/deployments/e", "g1", "sha-1", "", (), ""),
                ("accounts/a/deployments/d", "g2", "sha-1", "", (), ""),
                ("accounts/a/deployments/d", "g1", "sha-2", "", (), ""),
                ("accounts/a/deployments/d", "g1", "sha-1", "lora", (), ""),
                ("accounts/a/deployments/d", "g1", "sha-1", "lora", (("lora", "sha-3"),), ""),
                ("accounts/a/deployments/d", "g1", "sha-1", "lora", (("lora", "sha-4"),), ""),
                ("accounts/a/deployments/d", "g1", "sha-1", "", (), "guards"),
            ]
        ),
        *(
            key_of(FIELDS | more)
            for more in [
                {"max_tokens": 5}, {"seed": 1}, {"seed": 2}, {"top_p": 0.5}, {"stop": ["x"]}, {"stop": "x"},
                {"messages": [{"role": "user", "content": "hi "}]}, {"temperature": False, "seed": 1},
                {"logprobs": True}, {"logprobs": True, "stream": True}, {"user": 5}, {"metadata": "x"},
                {"tools": [{"a": 1, "b": 2}]}, {"tools": [{"b": 2, "a": 1}]}, {"lora": [{"id": "x", "scale": 1.0}]},
            ]
        ),
    ]  # fmt: skip
    assert len(set(several)) == len(several)


def test_what_changes_no_text_changes_no_key() -> None:
    plain = key_of(FIELDS)
    for more in (
        {"model": "accounts/a/deployments/d"}, {"stream": True}, {"stream": False}, {"user": "ada"}, {"top_p": None},
        {"metadata": {"team": "x"}}, {"prompt_cache_key": "s"}, {"temperature": 0.0}, {"max_tokens": 4.0},
        {"stream_options": {"include_usage": True}},
    ):  # fmt: skip
        assert key_of(FIELDS | more) == plain, more
    assert key_of(dict(reversed(FIELDS.items()))) == plain


@pytest.mark.parametrize(
    ("more", "headers"),
    [
        ({"temperature": 0.7}, {}), ({"temperature": None}, {}), ({"temperature": False}, {}),
        ({"temperature": "0"}, {}),
        ({"temperature": 1, "seed": True}, {}), ({"prompt_cache_max_len": 0}, {}),
        ({}, {"cache_control": "no-store"}), ({}, {"cache_control": "max-age=0, No-Cache"}),
    ],
)  # fmt: skip
def test_what_may_differ_from_time_to_time_or_is_to_be_computed_is_never_looked_up(more, headers) -> None:
    assert asked(FIELDS | more, **headers) is None


def test_a_seed_is_as_good_as_temperature_0_and_other_paths_are_never_looked_up() -> None:
    assert asked(FIELDS | {"temperature": 1, "seed": 7}) is not None
    assert asked(FIELDS, path="/v1/embeddings") is None
    assert question(Deployment(), CHAT, "a", FIELDS, {}, VERSION) is None


async def test_an_answer_is_forgotten_when_its_time_is_over_though_nobody_asks_again() -> None:
    clock = FakeClock()
    cached = Cached(clock)
    found = asked(FIELDS)
    assert found is not None
    answer = {"choices": [{"index": 0, "text": "x", "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}
    cached.keep(found, json.dumps(answer).encode())
    assert cached.look_up(found) is not None
    due = cached._timer
    assert due is not None
    clock.advance(299)
    assert cached.look_up(found) is not None
    clock.advance(1)
    assert cached.look_up(found) is None
    assert len(cached.store) == 1
    due.cancel()
    cached._wake()  # as its timer does
    assert (len(cached.store), cached.store.size, cached._timer) == (0, 0, None)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, 1), ({"status": 502}, 0), ({"lost": True}, 0), ({"generation": "g2"}, 0),
        ({"sent_headers": {MOST_TOKENS_HEADER: "3"}}, 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("adapters", [{}, {"accounts/a/models/lora": SimpleNamespace(digest="sha-2")}])
def test_what_is_kept_came_whole_from_one_replica_that_is_as_declared_before_and_after(
    changes: dict[str, Any], kept: int, adapters: dict[str, Any]
) -> None:
    got: list[bytes] = []
    store = SimpleNamespace(keep=lambda question, sent: got.append(sent))
    library = SimpleNamespace(get=lambda name: SimpleNamespace(firedeck=SimpleNamespace(digest="sha-1")))
    keeper: Any = SimpleNamespace(
        name="accounts/a/deployments/d", generation="g1", deployment=Deployment(base_model="accounts/a/models/m"),
        addons=SimpleNamespace(wanted={}),
    )  # fmt: skip
    request = ParsedRequest(Principal("a", "u", "user", "k"), FIELDS, None, {"headers": []})
    lookup = Lookup(store, SimpleNamespace(library=library), request, "")  # type: ignore[arg-type]
    before = lookup.version(keeper)
    exchange = Exchange(CHAT, b"{}", False, "r", 0.0, lambda: 0.0, {}, status=200, generation="g1")
    found = asked(FIELDS)
    assert found is not None
    keeper.addons.wanted = adapters  # loaded while it was answered
    lookup.keep(keeper, replace(exchange, **changes), found, before, b"{}")
    assert len(got) == (0 if adapters else kept)


async def test_a_time_to_live_that_was_made_shorter_counts_for_what_was_kept_before() -> None:
    clock = FakeClock()
    cached = Cached(clock)
    found = asked(FIELDS)
    assert found is not None
    cached.keep(found, b'{"choices": [{"index": 0, "text": "x", "finish_reason": "stop"}], "usage": {}}')
    clock.advance(20)
    assert cached.look_up(found) is not None
    assert cached.look_up(replace(found, ttl_s=20.0)) is None
    assert cached._timer is not None
    cached._timer.cancel()
