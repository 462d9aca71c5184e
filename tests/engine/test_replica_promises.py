"""Same seed, same text: on a quantized model the output depends on the request alone, not on what a replica does
beside it, on what it did before, or on how the text is drafted.

It holds token for token where the weights are quantized and every sequence has cells of its own. It is weaker

- on BF16, F16 and F32 weights, whose kernels add in another order for other widths of a step: where two tokens are
  about as likely (LEAST_CERTAIN), greedy text may go on with the other one, and so may seeded text where a draw falls
  close to the border between two tokens. On the K-quants that llama.cpp repacks, and on GPUs, it is the same.
- with `--kv-tokens` below slots times context, where all sequences share cells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.models.quantize import quantize
from tests.engine.conftest import SMOLLM2, Launch, Replica, model_file
from tests.engine.promises import (
    COLD,
    SLOTS,
    Answer,
    Body,
    Known,
    ask_all,
    ask_alone,
    assert_same,
    certainty_lost,
    gather,
    greedy_and_seeded,
    real_prompts,
    serve,
    stats,
)

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]

LEAST_CERTAIN = 0.5  # difference of two tokens' log-probabilities
BURST = 4  # urgent requests at the same time
ALL_ANEW = range(64, 68)  # tokens of prompts of which 64 are evaluated in any case, and too few are left to reuse

Way = Callable[[Launch, Known], None]


def among_seven_others(launch: Launch, known: Known) -> None:
    replica = serve(launch, known)
    cold = [body | COLD for body in known.bodies]
    assert_same(ask_all(replica, cold, at_once=SLOTS), known.answers)
    widths = stats(replica)["histograms"]["batch_width"]
    assert sum(widths["counts"][1:]) > 0


def with_a_warm_prefix(launch: Launch, known: Known) -> None:
    """Prompts that go on where this one ends, or end before it, come first: much of it is there."""
    replica = serve(launch, known)
    opening = known.bodies[0]["prompt"]
    bodies: list[Body] = []
    for greedy, seeded in zip(known.bodies[::2], known.bodies[1::2], strict=True):
        longer, shorter = (greedy["prompt"] + opening)[:230], greedy["prompt"][: len(greedy["prompt"]) * 2 // 3]
        first = longer if len(bodies) % 2 else shorter
        bodies += [greedy | {"prompt": first, "max_tokens": 2}, greedy, seeded]
    answers = ask_all(replica, bodies)
    again = [one for number, one in enumerate(answers) if number % 3]
    assert_same(again, known.answers)
    assert all(one.cached for one in again[1::2] if len(one.body["prompt"]) not in ALL_ANEW)
    assert sum(one.cached > 0 for one in again[::2]) > len(again) // 4


def after_preemption(launch: Launch, known: Known, *options: str) -> None:
    """Urgent requests keep coming while all slots are taken: somebody has to give way to each of them."""
    replica = serve(launch, known, *options)
    answers, urgent = asyncio.run(_with_urgent_ones(replica, known))
    assert_same(answers, known.answers)
    assert all(one.tokens == known.answers[number % BURST].tokens[:2] for number, one in enumerate(urgent))
    assert stats(replica)["counters"]["preemptions_total"] > 0


def after_preemption_without_ram(launch: Launch, known: Known) -> None:
    """What was pushed aside is not kept but computed again, the tokens that were generated included."""
    few = Known(known.model, known.draft, known.costs, known.answers[-40:])
    after_preemption(launch, few, "--prefix-ram-mib", "0")


async def _with_urgent_ones(replica: Replica, known: Known) -> tuple[list[Answer], list[Answer]]:
    """The answers to all requests, which are in no hurry, and to the first of them asked again and again in a hurry."""
    urgent: list[Answer] = []
    async with replica.async_client() as client:
        asking = asyncio.create_task(gather(client, [b | {"service_tier": "flex"} for b in known.bodies], SLOTS + 2))
        while not asking.done():
            burst = [body | {"service_tier": "priority", "max_tokens": 2} for body in known.bodies[:BURST]]
            urgent += await gather(client, burst, BURST)
        return await asking, urgent


def with_a_prediction(launch: Launch, known: Known) -> None:
    """Predictions with one wrong token each."""
    replica = serve(launch, known)
    predicted = [one.body | {"speculation": [*one.tokens[:4], one.tokens[5], *one.tokens[5:]]} for one in known.answers]
    assert_same(ask_all(replica, predicted, at_once=4), known.answers)
    _drafts_were_made(replica, "prediction")


def with_ngrams(launch: Launch, known: Known) -> None:
    options = ("--ngram-speculation-length", "3", "--draft-token-count", "8")
    replica = serve(launch, known, *options)
    assert_same(ask_all(replica, known.bodies, at_once=4), known.answers)
    _drafts_were_made(replica, "ngram")


def with_a_draft_model(launch: Launch, known: Known) -> None:
    """Two at once: prompts are read to the draft model one after the other, and short answers are soon over. On a busy
    machine most of them are over before it drafts, so all is asked again until some drafts were wrong."""
    options = ("--draft-model", str(known.draft), "--draft-token-count", "4")
    replica = serve(launch, known, *options)
    for _time in range(5):
        assert_same(ask_all(replica, known.bodies, at_once=2), known.answers)
        told = stats(replica)["speculation"]["draft_model"]
        if told["accepted"] < told["drafted"]:
            break
    _drafts_were_made(replica, "draft_model")


def _drafts_were_made(replica: Replica, source: str) -> None:
    """Some were right and some were wrong."""
    told = stats(replica)["speculation"][source]
    assert 0 < told["accepted"] < told["drafted"]


WAYS: dict[str, Way] = {
    way.__name__: way
    for way in (
        among_seven_others,
        with_a_warm_prefix,
        after_preemption,
        after_preemption_without_ram,
        with_a_prediction,
        with_ngrams,
        with_a_draft_model,
    )
}


def made_from(smollm2: Path, tmp_path_factory: pytest.TempPathFactory, precision: str) -> Path:
    return quantize(smollm2, tmp_path_factory.mktemp("model") / f"{precision}.gguf", precision)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory, q4_0: Path) -> Known:
    """A dozen prompts, greedy and seeded; `make soak` has 100, with longer answers and more precisions."""
    draft = made_from(model_file(SMOLLM2), tmp_path_factory, "Q8_0")  # of those that are sometimes wrong, a fast one
    prompts = real_prompts(q4_0, 12)
    return ask_alone(tmp_path_factory.mktemp("alone"), q4_0, draft, greedy_and_seeded(prompts))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, smollm2: Path, q4_0: Path) -> Known:
    """The same of the model as it comes, with fewer prompts: it is slow."""
    bodies = greedy_and_seeded(real_prompts(smollm2, 8), max_tokens=8)
    return ask_alone(tmp_path_factory.mktemp("alone"), smollm2, q4_0, bodies)


@pytest.mark.parametrize("way", WAYS)
def test_text_is_the_same_as_when_asked_alone(launch: Launch, known: Known, way: str) -> None:
    WAYS[way](launch, known)


# Those in which its kernels are called in other widths. States are bytes of cells, whatever the weights are.
@pytest.mark.parametrize("way", ["among_seven_others", "with_a_warm_prefix", "with_a_prediction"])
def test_text_of_the_embedded_model_is_the_same_as_when_asked_alone(launch: Launch, embedded: Known, way: str) -> None:
    WAYS[way](launch, embedded)


@pytest.mark.parametrize("fields", [{"mirostat_target": 3.0}, {"best_of": 3}], ids=str)
def test_drafts_change_nothing_of_what_mirostat_or_best_of_choose(
    launch: Launch, known: Known, fields: dict[str, Any]
) -> None:
    replica = serve(launch, known)
    body = {"prompt": "Once upon a time", "max_tokens": 24, "temperature": 0.7, "seed": 2, "return_token_ids": True}
    (plain,) = ask_all(replica, [body | fields | {"disable_speculation": True}])
    (drafted,) = ask_all(replica, [body | fields | {"speculation": plain.tokens}])
    assert drafted.tokens == plain.tokens
    assert stats(replica)["speculation"]["prediction"]["accepted"] > 0


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("precision", ["Q4_0", "Q4_1", "Q8_0"])
def test_long_text_is_the_same_in_all_ways(
    launch: Launch, q4_0: Path, tmp_path_factory: pytest.TempPathFactory, precision: str
) -> None:
    model = made_from(model_file(SMOLLM2), tmp_path_factory, precision)
    bodies = greedy_and_seeded(real_prompts(model, 100), max_tokens=48)
    known = ask_alone(tmp_path_factory.mktemp("alone"), model, q4_0, bodies)
    for way in WAYS.values():
        way(launch, known)


# A conversation


def turn(client: httpx.Client, messages: list[dict[str, str]], **fields: Any) -> str:
    body = {"messages": messages, "max_tokens": 16, "ignore_eos": True} | fields
    reply = client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["choices"][0]["message"]["content"])


@pytest.mark.parametrize("fields", [{"temperature": 0}, {"temperature": 1.0, "seed": 7}])
def test_a_turn_that_contains_the_answers_before_it_is_answered_as_when_cold(
    launch: Launch, q4_0: Path, fields: dict[str, Any]
) -> None:
    replica = launch(q4_0, "--context", "512")
    replica.wait_ready()
    questions = ["What is a fox?", "And where does it live, in summer and in winter?", "Say that again in one line."]
    messages: list[dict[str, str]] = []
    with replica.client() as client:
        for question in questions:
            messages.append({"role": "user", "content": question})
            warm = turn(client, messages, **fields)
            assert warm == turn(client, messages, **fields, **COLD)
            messages.append({"role": "assistant", "content": warm})
        assert stats(replica)["counters"]["cached_prompt_tokens_total"] > 0


# What is weaker without quantized weights


@pytest.mark.parametrize("count", [6, pytest.param(60, marks=pytest.mark.soak)])
def test_bf16_text_differs_only_where_two_tokens_are_about_as_likely(
    launch: Launch, tmp_path_factory: pytest.TempPathFactory, count: int
) -> None:
    model = made_from(model_file(SMOLLM2), tmp_path_factory, "BF16")
    scores = {"logprobs": True, "top_logprobs": 5}
    bodies = [body | scores for body in greedy_and_seeded(real_prompts(model, count), max_tokens=16)[::2]]
    known = ask_alone(tmp_path_factory.mktemp("alone"), model, model, bodies)
    replica = serve(launch, known)
    for cold in (COLD, {}):  # among others, then with prefixes of others and of its own, too
        for want, got in zip(
            known.answers, ask_all(replica, [body | cold for body in bodies], at_once=SLOTS), strict=True
        ):
            assert certainty_lost(want, got.tokens) <= LEAST_CERTAIN
