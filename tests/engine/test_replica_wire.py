"""The whole inference contract against a real replica: echo, raw output, truncation, infill, best_of, expected output,
Mirostat, headers. Answers are read with the types of the official SDKs."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import httpx
import openai.types as openai_types
import openai.types.chat as openai_chat
import pytest
from fireworks.types import CompletionChunk, CompletionCreateResponse
from fireworks.types.chat import ChatCompletionChunk
from fireworks.types.chat import CompletionCreateResponse as ChatResponse
from fireworks.types.shared import LogProbs, NewLogProbs
from gguf import GGUF_DEFAULT_ALIGNMENT

from tests.engine.conftest import Launch
from tests.engine.test_replica_generation import STORY, ask, chat, complete, events, text_of

pytestmark = pytest.mark.model

TURNS = [
    {"role": "system", "content": "You are terse."},
    {"role": "user", "content": "What is a fox? " * 6},
    {"role": "assistant", "content": "An animal. " * 6},
    {"role": "user", "content": "And the moon? " * 6},
    {"role": "assistant", "content": "A stone. " * 6},
    {"role": "user", "content": "And bread?"},
]
RICH = {
    "logprobs": True,
    "top_logprobs": 2,
    "raw_output": True,
    "return_token_ids": True,
    "perf_metrics_in_response": True,
}


def refused(client: httpx.Client, body: dict[str, Any], **headers: str) -> str:
    """The field that a 400 names."""
    path = "/v1/chat/completions" if "messages" in body else "/v1/completions"
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = client.post(path, json=body, headers=names)
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]["param"]


class TestSdkTypes:
    def test_a_chat_answer_with_everything_in_it_is_read_by_both_sdks(self, client: httpx.Client) -> None:
        answer = ask(client, chat(n=2, prediction="The sea is", **RICH))
        openai_chat.ChatCompletion.model_validate(answer)
        read = ChatResponse.model_validate(answer)
        assert len(read.choices) == 2
        for choice in read.choices:
            assert isinstance(choice.logprobs, NewLogProbs)
            assert choice.raw_output is not None
            assert choice.raw_output.completion == choice.message.content
            assert choice.raw_output.completion_token_ids == choice.token_ids

    def test_a_completion_with_everything_in_it_is_read_by_both_sdks(self, client: httpx.Client) -> None:
        answer = ask(client, complete(echo=True, **RICH))
        openai_types.Completion.model_validate(
            answer | {"choices": [c | {"logprobs": None} for c in answer["choices"]]}
        )
        assert isinstance(CompletionCreateResponse.model_validate(answer).choices[0].logprobs, NewLogProbs)
        legacy = ask(client, complete(echo=True, logprobs=2))
        openai_types.Completion.model_validate(legacy)
        assert isinstance(CompletionCreateResponse.model_validate(legacy).choices[0].logprobs, LogProbs)

    def test_every_chunk_is_read_by_both_sdks(self, client: httpx.Client) -> None:
        of_chat, of_completion = events(client, chat(**RICH))[:-1], events(client, complete(echo_last=3, **RICH))[:-1]
        assert min(len(of_chat), len(of_completion)) > 2
        for event in of_chat:
            openai_chat.ChatCompletionChunk.model_validate(event)
            ChatCompletionChunk.model_validate(event)
        for event in of_completion:
            CompletionChunk.model_validate(event)

    def test_up_to_twenty_alternatives_are_told(self, client: httpx.Client) -> None:
        content = ask(client, chat(max_tokens=2, logprobs=True, top_logprobs=20))["choices"][0]["logprobs"]["content"]
        assert [len(item["top_logprobs"]) for item in content] == [20, 20]


class TestEcho:
    def test_the_last_tokens_of_the_prompt_are_echoed_with_the_scores_of_the_whole(self, client: httpx.Client) -> None:
        whole = ask(client, complete(echo=True, logprobs=1, max_tokens=3))["choices"][0]
        last = ask(client, complete(echo_last=4, logprobs=1, max_tokens=3))["choices"][0]
        assert whole["text"].endswith(last["text"])
        assert last["logprobs"]["tokens"] == whole["logprobs"]["tokens"][-7:]
        assert last["logprobs"]["token_logprobs"] == pytest.approx(whole["logprobs"]["token_logprobs"][-7:])
        shift = len(whole["text"]) - len(last["text"])
        assert [at + shift for at in last["logprobs"]["text_offset"]] == whole["logprobs"]["text_offset"][-7:]

    def test_more_than_the_prompt_is_the_prompt(self, client: httpx.Client) -> None:
        assert text_of(ask(client, complete(echo_last=500))) == text_of(ask(client, complete(echo=True)))

    def test_offsets_hold_where_a_character_is_several_tokens(self, client: httpx.Client) -> None:
        choice = ask(client, complete(prompt="A 𓀀 B", echo=True, logprobs=0, max_tokens=0))["choices"][0]
        assert choice["text"] == "A 𓀀 B"
        last = choice["logprobs"]["tokens"][-1], choice["logprobs"]["text_offset"][-1]
        assert choice["text"][last[1] :] == last[0]

    def test_chat_echoes_the_rendered_prompt_streamed_or_whole(self, client: httpx.Client) -> None:
        body = chat(echo=True, max_tokens=4)
        whole = text_of(ask(client, body))
        assert "Tell me about the sea." in whole
        assert whole.endswith(text_of(ask(client, chat(max_tokens=4))))
        chunks = events(client, body)[:-1]
        assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == whole


class TestRawOutput:
    def test_it_shows_what_went_in_and_what_came_out(self, client: httpx.Client) -> None:
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
        body = chat(raw_output=True, return_token_ids=True, response_format={"type": "json_object", "schema": schema})
        answer = ask(client, body)
        raw = answer["choices"][0]["raw_output"]
        assert raw["prompt_token_ids"] == answer["prompt_token_ids"]
        assert "Tell me about the sea." in "".join(piece for piece in raw["prompt_fragments"] if isinstance(piece, str))
        assert any(isinstance(piece, int) for piece in raw["prompt_fragments"])  # <|im_start|> and its like
        assert raw["completion"] == text_of(answer)
        assert "root ::=" in raw["grammar"]
        assert "completion_logprobs" not in raw

    def test_a_stream_carries_it_with_the_finish_reason_alone(self, client: httpx.Client) -> None:
        chunks = events(client, complete(raw_output=True))[:-1]
        carrying = [c["choices"][0] for c in chunks if "raw_output" in c["choices"][0]]
        assert [choice["finish_reason"] for choice in carrying] == ["length"]
        assert carrying[0]["raw_output"]["completion"] == text_of(ask(client, complete()))

    def test_token_ids_are_their_own_fragments(self, client: httpx.Client) -> None:
        raw = ask(client, complete(prompt=[504, 3575], raw_output=True))["choices"][0]["raw_output"]
        assert raw["prompt_fragments"] == raw["prompt_token_ids"] == [504, 3575]


class TestTooLong:
    def test_chat_loses_its_oldest_turns_and_keeps_system_and_the_last(self, client: httpx.Client) -> None:
        def ids(messages: list[dict[str, str]], **fields: Any) -> list[int]:
            return ask(client, chat(messages=messages, return_token_ids=True, max_tokens=1, **fields))[
                "prompt_token_ids"
            ]

        whole, shorter, least = ids(TURNS), ids([TURNS[0], *TURNS[3:]]), ids([TURNS[0], TURNS[5]])
        assert ids(TURNS, prompt_truncate_len=len(whole)) == whole
        assert ids(TURNS, prompt_truncate_len=len(whole) - 1) == shorter
        assert ids(TURNS, prompt_truncate_len=len(least)) == least
        assert refused(client, chat(messages=TURNS, prompt_truncate_len=len(least) - 1)) == "prompt_truncate_len"

    def test_a_conversation_over_the_context_is_answered_once_truncated(self, client: httpx.Client) -> None:
        long = [TURNS[0], *(TURNS[1:5] * 40), TURNS[5]]
        assert refused(client, chat(messages=long)) == "messages"
        assert ask(client, chat(messages=long, prompt_truncate_len=10_000))["usage"]["prompt_tokens"] < 512

    def test_a_raw_prompt_keeps_its_end(self, client: httpx.Client) -> None:
        def ids(prompt: Any, **fields: Any) -> list[int]:
            answer = ask(client, complete(prompt=prompt, return_token_ids=True, max_tokens=1, **fields))
            return answer["choices"][0]["prompt_token_ids"]

        whole = ids(STORY)
        assert ids(STORY, prompt_truncate_len=5) == ids(whole, prompt_truncate_len=5) == whole[-5:]
        assert len(ids("word " * 100_000, prompt_truncate_len=100_000)) == 511

    def test_error_refuses_what_truncate_clamps(self, client: httpx.Client) -> None:
        body = complete(prompt=[504] * 500, max_tokens=600, ignore_eos=True)
        assert refused(client, body | {"context_length_exceeded_behavior": "error"}) == "max_tokens"
        usage = ask(client, body | {"context_length_exceeded_behavior": "truncate"})["usage"]
        assert usage["total_tokens"] == 512
        assert refused(client, complete(prompt=[504] * 512, max_tokens=1)) == "prompt"


class TestInfill:
    def test_a_model_without_the_tokens_says_so(self, client: httpx.Client) -> None:
        assert refused(client, complete(suffix="the end")) == "suffix"

    def test_the_prompt_is_prefix_suffix_middle(self, launch: Launch, q4_0: Path, tmp_path: Path) -> None:
        model = tmp_path / "infill.gguf"
        _with_infill_tokens(q4_0, model, {"pre": 3, "suf": 4, "mid": 5})
        replica = launch(model, "--context", "512")
        replica.wait_ready()
        with replica.client() as client:
            answer = ask(client, complete(prompt="a b", suffix=" c <|im_end|>", return_token_ids=True))
            plain = [
                ask(client, complete(prompt=text, return_token_ids=True, safe_tokenization=True))["choices"][0]
                for text in ("a b", " c <|im_end|>")
            ]
        before, after = (choice["prompt_token_ids"] for choice in plain)
        assert answer["choices"][0]["prompt_token_ids"] == [3, *before, 4, *after, 5]


def _with_infill_tokens(source: Path, target: Path, tokens: dict[str, int]) -> None:
    """A copy of a GGUF file with `tokenizer.ggml.fim_*_token_id` set: keys go first, padded to keep the alignment."""
    entries = b""
    for name, token in tokens.items():
        key = f"tokenizer.ggml.fim_{name}_token_id".encode()
        entries += struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, token)  # 4: uint32
    filler = -(len(entries) + 13) % GGUF_DEFAULT_ALIGNMENT
    entries += struct.pack("<Q", filler) + b"x" * filler + struct.pack("<IB", 0, 0)  # 0: uint8
    raw = source.read_bytes()
    keys = struct.unpack_from("<Q", raw, 16)[0] + len(tokens) + 1
    target.write_bytes(raw[:16] + struct.pack("<Q", keys) + entries + raw[24:])


class TestBestOf:
    def test_the_likeliest_of_several_are_returned_best_first(self, client: httpx.Client) -> None:
        body = complete(temperature=1.5, seed=5, logprobs=0, prompt=[STORY, "Bread is"])
        every = ask(client, body | {"n": 4})["choices"]
        best = ask(client, body | {"n": 2, "best_of": 4})
        for prompt in (0, 1):
            four = every[4 * prompt : 4 * prompt + 4]
            means = sorted(four, key=lambda c: -sum(c["logprobs"]["token_logprobs"]) / len(c["logprobs"]["tokens"]))
            two = best["choices"][2 * prompt : 2 * prompt + 2]
            assert [c["text"] for c in two] == [c["text"] for c in means[:2]]
        assert [c["index"] for c in best["choices"]] == [0, 1, 2, 3]
        assert best["usage"]["completion_tokens"] == sum(len(c["logprobs"]["tokens"]) for c in every)

    def test_scores_that_were_not_asked_for_are_not_shown(self, client: httpx.Client) -> None:
        answer = ask(client, complete(temperature=1, best_of=3))
        assert len(answer["choices"]) == 1
        assert "logprobs" not in answer["choices"][0]


class TestExpectedOutput:
    @pytest.mark.parametrize("given", ["text", "part", "ids"])
    def test_it_never_changes_the_text_and_is_accounted_for(self, client: httpx.Client, given: str) -> None:
        plain = ask(client, complete(return_token_ids=True))
        text, ids = text_of(plain), plain["choices"][0]["token_ids"]
        fields: dict[str, dict[str, Any]] = {
            "text": {"prediction": text},
            "part": {"prediction": {"type": "content", "content": [{"type": "text", "text": text}]}},
            "ids": {"speculation": ids},
        }
        answer = client.post("/v1/completions", json=complete(**fields[given]))
        assert text_of(answer.json()) == text
        details = answer.json()["usage"]["completion_tokens_details"]
        assert details.keys() == {"accepted_prediction_tokens", "rejected_prediction_tokens"}
        assert 0 <= details["accepted_prediction_tokens"] <= 16
        assert answer.headers["fireworks-speculation-prompt-tokens"] == "16"
        matched = int(answer.headers["fireworks-speculation-prompt-matched-tokens"])
        assert matched == details["accepted_prediction_tokens"]

    def test_without_it_nothing_is_said_of_it(self, client: httpx.Client) -> None:
        answer = client.post("/v1/completions", json=complete(disable_speculation=True))
        assert "completion_tokens_details" not in answer.json()["usage"]
        assert not [name for name in answer.headers if name.startswith("fireworks-speculation")]

    def test_a_stream_accounts_for_it_too(self, client: httpx.Client) -> None:
        usage = events(client, complete(prediction="x " * 5000))[-2]["usage"]
        assert "accepted_prediction_tokens" in usage["completion_tokens_details"]

    def test_ids_that_are_no_tokens_are_refused(self, client: httpx.Client) -> None:
        assert refused(client, complete(speculation=[2**30])) == "speculation"


class TestSampling:
    def test_mirostat_repeats_with_its_seed_at_any_load(self, client: httpx.Client) -> None:
        body = complete(temperature=1, seed=11, mirostat_target=4, mirostat_lr=0.2, max_tokens=24)
        alone = text_of(ask(client, body))
        together = ask(client, body | {"n": 4})
        assert text_of(together) == alone
        assert len({text_of(together, i) for i in range(4)}) == 4

    def test_a_low_target_writes_what_is_less_surprising(self, client: httpx.Client) -> None:
        def surprise(target: float) -> float:
            body = complete(temperature=1, seed=1, mirostat_target=target, mirostat_lr=0.3, logprobs=0, max_tokens=60)
            scores = ask(client, body)["choices"][0]["logprobs"]["token_logprobs"]
            return -sum(scores) / len(scores)

        assert surprise(0.5) < surprise(6.0)


class TestHeaders:
    def test_all_that_is_measured_is_told_in_headers_and_in_the_body(self, client: httpx.Client) -> None:
        answer = client.post("/v1/completions", json=complete(perf_metrics_in_response=True))
        headers = {name.removeprefix("fireworks-") for name in answer.headers if name.startswith("fireworks-")}
        assert headers == answer.json()["perf_metrics"].keys()
        assert headers >= {
            "prompt-tokens", "cached-prompt-tokens", "server-time-to-first-token", "server-processing-time",
            "tokenizer-queue-duration", "tokenizer-duration", "prefill-queue-duration", "prefill-duration",
            "generation-duration", "num-concurrent-requests", "deployment", "backend-host",
        }  # fmt: skip

    def test_a_stream_tells_at_its_beginning_how_long_its_prompt_took(self, client: httpx.Client) -> None:
        with client.stream("POST", "/v1/completions", json=complete(stream=True)) as answer:
            told = answer.headers["server-timing"]
        steps = dict(step.split(";dur=") for step in told.split(", "))
        assert list(steps) == ["tokenizer_queue", "tokenizer", "queue", "prefill"]
        assert float(steps["prefill"]) > 0

    def test_a_timeout_that_is_none_and_a_tenant_too_long_are_refused(self, client: httpx.Client) -> None:
        assert refused(client, complete(), x_request_timeout="soon") == "x-request-timeout"
        assert refused(client, complete(), x_firedeck_tenant="t" * 300) == "x-firedeck-tenant"

    def test_a_request_ends_at_its_deadline_streamed_or_whole(self, client: httpx.Client) -> None:
        body = complete(max_tokens=490, ignore_eos=True)
        answer = client.post("/v1/completions", json=body, headers={"x-request-timeout": "0.05"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "DEADLINE_EXCEEDED")
        stream = client.post("/v1/completions", json=body | {"stream": True}, headers={"x-request-timeout": "0.2"})
        assert "DEADLINE_EXCEEDED" in stream.text
        assert "[DONE]" not in stream.text

    def test_what_changes_no_text_changes_none(self, client: httpx.Client) -> None:
        plain = text_of(ask(client, complete()))
        for fields in (
            {"service_tier": "priority"}, {"service_tier": "flex"}, {"metadata": {"a": "b"}}, {"user": "u"},
            {"prompt_cache_key": "k"}, {"disable_speculation": True}, {"rewrite_speculation": True}, {"lora": []},
        ):  # fmt: skip
            assert text_of(ask(client, complete(**fields))) == plain
        answer = client.post("/v1/completions", json=complete(), headers={"x-request-timeout": "60"})
        assert text_of(answer.json()) == plain

    def test_an_adapter_that_is_not_there_is_refused_by_name(self, client: httpx.Client) -> None:
        answer = client.post("/v1/completions", json=complete(lora=[{"id": "nobody", "scale": 1}]))
        assert answer.status_code in (400, 404)
        assert answer.json()["error"]["param"] == "lora"
