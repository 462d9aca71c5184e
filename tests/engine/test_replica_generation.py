"""What a replica writes: shapes, limits, determinism, batching, prefix reuse. Real SmolLM2, greedy unless said."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import httpx
import pytest

from tests.engine.conftest import Replica, poll_until

pytestmark = pytest.mark.model

STORY = "Once upon a time, in a small village by the sea, there lived"
TOPICS = ["a fox", "the moon", "bread", "rivers", "a clock", "old maps", "winter", "a violin", "salt", "trains"]


def chat(**fields: Any) -> dict[str, Any]:
    defaults = {"model": "m", "messages": [{"role": "user", "content": "Tell me about the sea."}]}
    return defaults | {"temperature": 0, "max_tokens": 16} | fields


def complete(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "prompt": STORY, "temperature": 0, "max_tokens": 16} | fields


def ask(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    path = "/v1/chat/completions" if "messages" in body else "/v1/completions"
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def text_of(answer: dict[str, Any], choice: int = 0) -> str:
    found = answer["choices"][choice]
    return found["message"]["content"] if "message" in found else found["text"]


def events(client: httpx.Client, body: dict[str, Any]) -> list[Any]:
    """The data of each server-sent event; the last is the string [DONE]."""
    path = "/v1/chat/completions" if "messages" in body else "/v1/completions"
    answer = client.post(path, json=body | {"stream": True})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def counters(client: httpx.Client) -> dict[str, int]:
    return client.get("/stats").json()["counters"]


def at_rest(client: httpx.Client) -> bool:
    load = client.get("/health").json()
    return load["running"] == load["waiting"] == 0


async def ask_all(replica: Replica, bodies: list[dict[str, Any]]) -> list[str]:
    """The texts of several requests sent at the same time."""
    async with replica.async_client() as client:
        answers = await asyncio.gather(*(client.post("/v1/completions", json=body) for body in bodies))
    return [text_of(answer.json()) for answer in answers]


# More than a replica writes in a minute.
ENDLESS = complete(n=100, max_tokens=480, ignore_eos=True, stream=True)


class TestShapes:
    def test_a_stream_joined_is_the_text_of_the_same_request_unstreamed(self, client: httpx.Client) -> None:
        whole = text_of(ask(client, chat()))
        chunks = [c for c in events(client, chat()) if c != "[DONE]"]
        assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == whole
        assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"

    def test_usage_is_told_once_with_the_finish_reason(self, client: httpx.Client) -> None:
        *chunks, done = events(client, chat())
        assert done == "[DONE]"
        assert [c for c in chunks if "usage" in c] == chunks[-1:]
        assert chunks[-1]["choices"][0]["finish_reason"] == "length"
        assert chunks[-1]["usage"]["completion_tokens"] == 16

    def test_usage_is_told_once_after_it_to_who_asks_for_that(self, client: httpx.Client) -> None:
        *chunks, done = events(client, chat(stream_options={"include_usage": True}))
        assert done == "[DONE]"
        assert [c for c in chunks if "usage" in c] == chunks[-1:]
        assert chunks[-1]["choices"] == []
        assert chunks[-2]["choices"][0]["finish_reason"] == "length"
        assert chunks[-1]["usage"]["completion_tokens"] == 16

    def test_the_model_string_is_echoed_and_the_metrics_are_in_headers_and_body(self, client: httpx.Client) -> None:
        answer = client.post(
            "/v1/chat/completions", json=chat(model="accounts/a/models/b#x", perf_metrics_in_response=True)
        )
        assert answer.json()["model"] == "accounts/a/models/b#x"
        prompt_tokens = answer.json()["usage"]["prompt_tokens"]
        assert answer.headers["fireworks-prompt-tokens"] == str(prompt_tokens)
        assert answer.json()["perf_metrics"]["prompt-tokens"] == prompt_tokens
        assert float(answer.headers["fireworks-server-time-to-first-token"]) > 0

    def test_n_choices_share_one_prompt(self, client: httpx.Client) -> None:
        answer = ask(client, complete(n=3, temperature=1.0, seed=11))
        assert [c["index"] for c in answer["choices"]] == [0, 1, 2]
        assert len({text_of(answer, i) for i in range(3)}) == 3
        assert answer["usage"]["prompt_tokens"] == ask(client, complete())["usage"]["prompt_tokens"]

    def test_more_choices_than_slots_queue(self, client: httpx.Client) -> None:
        answer = ask(client, complete(n=20, temperature=1.0, seed=1, max_tokens=4))
        assert len(answer["choices"]) == 20

    def test_several_prompts_answer_by_index(self, client: httpx.Client) -> None:
        alone = [text_of(ask(client, complete(prompt=p))) for p in ("One two three", "Red green")]
        both = ask(client, complete(prompt=["One two three", "Red green"]))
        assert [text_of(both, i) for i in range(2)] == alone

    def test_token_ids_as_prompt_give_the_text_of_their_words(self, client: httpx.Client) -> None:
        first = ask(client, complete(return_token_ids=True))
        ids = first["choices"][0]["prompt_token_ids"]
        assert text_of(ask(client, complete(prompt=ids))) == text_of(first)

    def test_new_logprob_items_are_complete(self, client: httpx.Client) -> None:
        answer = ask(client, chat(logprobs=True, top_logprobs=3))
        content = answer["choices"][0]["logprobs"]["content"]
        assert len(content) == 16
        for item in content:
            assert {"token", "bytes", "logprob", "text_offset", "token_id", "top_logprobs"} <= item.keys()
            assert len(item["top_logprobs"]) == 3
            assert item["top_logprobs"][0]["token_id"] == item["token_id"]  # greedy
        assert b"".join(bytes(i["bytes"]) for i in content).decode() == text_of(answer)

    def test_echo_with_legacy_logprobs_scores_the_prompt_and_holds_no_null(self, client: httpx.Client) -> None:
        answer = ask(client, complete(echo=True, logprobs=2, max_tokens=3))
        found = answer["choices"][0]["logprobs"]
        assert text_of(answer).startswith(STORY)
        assert "".join(found["tokens"]) == text_of(answer)
        assert found["token_logprobs"][0] == 0.0
        assert found["top_logprobs"][0] == {}
        assert all(value is not None for value in found["token_logprobs"])
        offsets = found["text_offset"]
        assert [text_of(answer)[o] for o in offsets] == [t[0] for t in found["tokens"]]


class TestLimits:
    def test_max_tokens_ends_with_length(self, client: httpx.Client) -> None:
        answer = ask(client, chat(max_completion_tokens=5, max_tokens=None))
        assert answer["usage"]["completion_tokens"] == 5
        assert answer["choices"][0]["finish_reason"] == "length"

    def test_a_stop_string_ends_with_stop_and_is_not_returned(self, client: httpx.Client) -> None:
        whole = text_of(ask(client, complete(max_tokens=40)))
        stop = whole[20:24]
        answer = ask(client, complete(max_tokens=40, stop=[stop, "never said"]))
        assert text_of(answer) == whole[: whole.index(stop)]
        assert answer["choices"][0]["finish_reason"] == "stop"

    def test_the_context_clamps_max_tokens_or_refuses(self, client: httpx.Client) -> None:
        long = "word " * 500
        clamped = ask(client, complete(prompt=long, max_tokens=500))
        assert clamped["usage"]["total_tokens"] <= 512
        assert clamped["choices"][0]["finish_reason"] == "length"
        refused = client.post(
            "/v1/completions", json=complete(max_tokens=2000, context_length_exceeded_behavior="error")
        )
        assert refused.status_code == 400
        too_long = client.post("/v1/completions", json=complete(prompt=long * 2))
        assert too_long.status_code == 400
        assert too_long.json()["error"]["param"] == "prompt"

    def test_ignore_eos_generates_to_the_limit(self, client: httpx.Client) -> None:
        body = chat(messages=[{"role": "user", "content": "Say yes."}], max_tokens=120, ignore_eos=True)
        assert ask(client, body)["usage"]["completion_tokens"] == 120

    def test_a_logit_bias_forbids_a_token(self, client: httpx.Client) -> None:
        first = ask(client, complete(max_tokens=1, return_token_ids=True))
        token = first["choices"][0]["token_ids"][0]
        second = ask(client, complete(max_tokens=1, return_token_ids=True, logit_bias={str(token): -100}))
        assert second["choices"][0]["token_ids"] != [token]


class TestStructure:
    def test_a_json_schema_is_obeyed(self, client: httpx.Client) -> None:
        schema = {
            "type": "object",
            "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
            "required": ["name", "age"],
        }
        response_format = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
        answer = ask(client, chat(response_format=response_format, temperature=1.0, seed=3, max_tokens=100))
        found = json.loads(text_of(answer))
        assert isinstance(found["name"], str)
        assert isinstance(found["age"], int)
        assert answer["choices"][0]["finish_reason"] == "stop"

    def test_a_gbnf_grammar_is_obeyed_even_with_ignore_eos(self, client: httpx.Client) -> None:
        response_format = {"type": "grammar", "grammar": 'root ::= ("yes" | "no") " indeed"'}
        answer = ask(client, chat(response_format=response_format, ignore_eos=True))
        assert text_of(answer) in ("yes indeed", "no indeed")
        assert answer["choices"][0]["finish_reason"] == "stop"

    def test_the_choices_of_a_request_each_follow_the_grammar_from_its_beginning(self, client: httpx.Client) -> None:
        response_format = {"type": "grammar", "grammar": 'root ::= [a-c]{3} ("!" | "?")'}
        answer = ask(client, chat(response_format=response_format, n=12, temperature=1.0, seed=5))
        for index in range(12):
            assert re.fullmatch(r"[a-c]{3}[!?]", text_of(answer, index))


class TestDeterminism:
    async def test_greedy_text_is_the_same_alone_and_under_load(self, client: httpx.Client, replica: Replica) -> None:
        bodies = [complete(prompt=f"A short story about {topic}:", max_tokens=16) for topic in TOPICS]
        alone = [text_of(ask(client, body | {"prompt_cache_max_len": 0})) for body in bodies]
        assert await ask_all(replica, bodies) == alone

    async def test_seeded_text_is_the_same_alone_and_under_load(self, client: httpx.Client, replica: Replica) -> None:
        bodies = [
            complete(prompt=f"A poem about {topic}:", temperature=0.9, top_p=0.95, seed=i, repetition_penalty=1.1)
            for i, topic in enumerate(TOPICS)
        ]
        alone = [text_of(ask(client, body)) for body in bodies]
        assert await ask_all(replica, bodies) == alone

    def test_different_seeds_differ(self, client: httpx.Client) -> None:
        texts = {text_of(ask(client, complete(temperature=1.0, seed=seed))) for seed in range(4)}
        assert len(texts) > 1


class TestPrefixReuse:
    def test_a_repeated_prompt_is_reused_but_for_its_last_token_and_the_text_is_unchanged(
        self, client: httpx.Client
    ) -> None:
        body = complete(prompt="The quick brown fox jumps over the lazy dog while the sun sets slowly.")
        first = ask(client, body | {"prompt_cache_isolation_key": "fresh"})
        second = ask(client, body | {"prompt_cache_isolation_key": "fresh"})
        assert first["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
        assert second["usage"]["prompt_tokens_details"]["cached_tokens"] == first["usage"]["prompt_tokens"] - 1
        assert text_of(second) == text_of(first)

    def test_reuse_goes_on_after_the_answer_of_the_turn_before(self, client: httpx.Client) -> None:
        key = {"prompt_cache_isolation_key": "turns", "return_token_ids": True}
        first = ask(client, complete(max_tokens=12, **key))["choices"][0]
        longer = first["prompt_token_ids"] + first["token_ids"] + first["prompt_token_ids"]
        second = ask(client, complete(prompt=longer, **key))
        held = len(first["prompt_token_ids"]) + 11  # the last token generated was never evaluated
        # Then the new prompt repeats that very token, so reuse ends exactly there.
        assert second["usage"]["prompt_tokens_details"]["cached_tokens"] == held

    def test_cached_state_never_crosses_an_isolation_key(self, client: httpx.Client) -> None:
        ask(client, complete(prompt_cache_isolation_key="alice"))
        other = client.post("/v1/completions", json=complete(), headers={"x-prompt-cache-isolation-key": "bob"})
        assert other.json()["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
        again = client.post("/v1/completions", json=complete(), headers={"x-prompt-cache-isolation-key": "bob"})
        assert again.json()["usage"]["prompt_tokens_details"]["cached_tokens"] > 0

    def test_a_header_does_not_hide_the_key_in_the_body(self, client: httpx.Client) -> None:
        def cached(header: str, body: str) -> int:
            answer = client.post(
                "/v1/completions",
                json=complete(prompt_cache_isolation_key=body, max_tokens=1),
                headers={"x-prompt-cache-isolation-key": header},
            )
            return answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"]

        assert cached("house", "carol") == 0
        assert cached("house", "dave") == 0
        assert cached("house", "carol") > 0

    def test_prompt_cache_max_len_zero_switches_reuse_off(self, client: httpx.Client) -> None:
        ask(client, complete())
        answer = ask(client, complete(prompt_cache_max_len=0))
        assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


class TestLeaving:
    def test_a_client_that_leaves_frees_its_slot(self, client: httpx.Client) -> None:
        before = counters(client)["cancelled_total"]
        with client.stream("POST", "/v1/completions", json=ENDLESS | {"n": 8}) as answer:
            next(answer.iter_lines())
        poll_until(lambda: counters(client)["cancelled_total"] > before)
        poll_until(lambda: at_rest(client))

    def test_a_client_that_leaves_the_queue_leaves_nothing_behind(self, client: httpx.Client) -> None:
        with client.stream("POST", "/v1/completions", json=ENDLESS) as answer:
            next(answer.iter_lines())
            assert client.get("/health").json()["waiting"] > 0
        poll_until(lambda: at_rest(client))
        assert text_of(ask(client, complete()))
