"""What the tests of promises share: prompts as token ids, requests, answers as token ids, costs that favour drafts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from engine.replica.llama import load_vocabulary, start_backend
from tests import real_text
from tests.engine.conftest import Launch, Replica, running

Body = dict[str, Any]
SIZE = ("--context", "256")
SLOTS = 8
COLD = {"prompt_cache_max_len": 0}
# Milliseconds: as if a step took ten seconds and a draft of any length could be checked in a tenth of one.
STEP_MS, VERIFY_MS = 10_000.0, {"1": 100.0, "64": 100.0}


@dataclass(frozen=True)
class Answer:
    """`tokens` of the output; `cached`: prompt tokens that were not evaluated; `told`: the whole answer."""

    body: Body
    tokens: tuple[int, ...]
    cached: int
    told: Any


@dataclass(frozen=True)
class Known:
    """What a model answers when each request is all that a replica has to do, and no state is taken over from another.

    `costs`: of this model on this machine, changed so that steps are shared and drafts are made at every occasion.
    `draft`: a model to draft for it.
    """

    model: Path
    draft: Path
    costs: Path
    answers: list[Answer]

    @property
    def bodies(self) -> list[Body]:
        return [answer.body for answer in self.answers]


def real_prompts(model: Path, count: int) -> list[list[int]]:
    """`count` prompts of 8 to 200 tokens, some with long beginnings in common."""
    start_backend()
    vocabulary = load_vocabulary(str(model))
    return real_text.cut(
        [vocabulary.tokenize(text, add_special=False, parse_special=False) for text in real_text.passages(count)]
    )


def greedy_and_seeded(prompts: list[list[int]], max_tokens: int = 12) -> list[Body]:
    """For every prompt a greedy request and a sampled one with a seed of its own, one after the other."""
    common = {"max_tokens": max_tokens, "ignore_eos": True, "return_token_ids": True}
    ways: list[Body] = [{"temperature": 0}, {"temperature": 0.9, "top_p": 0.95}]
    return [{"prompt": prompt, "seed": number} | common | way for number, prompt in enumerate(prompts) for way in ways]


def ask_alone(folder: Path, model: Path, draft: Path, bodies: list[Body]) -> Known:
    """Ask a replica of its own, one request after the other, all cold."""
    costs = folder / "costs.json"
    with running(folder, model, *SIZE, "--costs", str(costs)) as replica:
        answers = ask_all(replica, [body | COLD for body in bodies])
    _make_drafts_pay(costs)
    assert not any(answer.cached for answer in answers)
    return Known(model, draft, costs, [Answer(b, a.tokens, 0, a.told) for b, a in zip(bodies, answers, strict=True)])


def _make_drafts_pay(costs: Path) -> None:
    entries = json.loads(costs.read_text())
    assert len(entries) == 1
    for entry in entries.values():
        entry |= {"step_ms": dict.fromkeys(entry["step_ms"], STEP_MS), "verify_ms": VERIFY_MS}
    costs.write_text(json.dumps(entries))


def serve(launch: Launch, known: Known, *options: str) -> Replica:
    """A replica that shares steps and makes drafts whenever it can, whether that pays on this machine or not."""
    replica = launch(known.model, *SIZE, "--costs", str(known.costs), *options)
    replica.wait_ready()
    return replica


def ask_all(replica: Replica, bodies: list[Body], at_once: int = 1) -> list[Answer]:
    """The answers in the order of the requests, of which `at_once` are under way at any time."""

    async def ask() -> list[Answer]:
        async with replica.async_client() as client:
            return await gather(client, bodies, at_once)

    return asyncio.run(ask())


async def gather(client: httpx.AsyncClient, bodies: list[Body], at_once: int) -> list[Answer]:
    places = asyncio.Semaphore(at_once)

    async def one(body: Body) -> Answer:
        async with places:
            return await answer(client, body)

    return await asyncio.gather(*map(one, bodies))


async def answer(client: httpx.AsyncClient, body: Body) -> Answer:
    path = "/v1/chat/completions" if "messages" in body else "/v1/completions"
    reply = await client.post(path, json=body, timeout=300)
    assert reply.status_code == 200, reply.text
    told = reply.json()
    cached = told["usage"]["prompt_tokens_details"]["cached_tokens"]
    return Answer(body, tuple(told["choices"][0]["token_ids"]), cached, told)


def assert_same(answers: list[Answer], known: list[Answer]) -> None:
    """Fail with all requests whose answers are not token for token the known ones."""
    wrong = [
        (number, len(want.body["prompt"]), want.body["temperature"], got.cached, want.tokens, got.tokens)
        for number, (want, got) in enumerate(zip(known, answers, strict=True))
        if got.tokens != want.tokens
    ]
    told = "\n".join(map(str, wrong[:10]))
    assert not wrong, f"{len(wrong)} of {len(known)} (number, prompt tokens, temperature, cached, want, got):\n{told}"


def stats(replica: Replica) -> Any:
    with replica.client() as client:
        return client.get("/stats").json()


def certainty_lost(want: Answer, got: tuple[int, ...]) -> float:
    """How much likelier the wanted token was than the one that came (difference of log-probabilities) where the two
    texts part; 0 if they do not. `want` was asked with top_logprobs."""
    content = want.told["choices"][0]["logprobs"]["content"]
    for place, ours, theirs in zip(content, want.tokens, got, strict=False):
        if ours != theirs:
            likely = {item["token_id"]: item["logprob"] for item in place["top_logprobs"]}
            return float(likely[ours] - likely.get(theirs, float("-inf")))
    return 0.0
