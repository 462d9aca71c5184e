"""Prefix-aware routing over four replicas, on conversations of many turns, through the gateway and with the real model.

The same conversations (new texts each round) are held turn about with the routing as it is, and with a gateway that
knows nothing of prompts and so sends each request to the least loaded replica. Then with one replica that has the slots
and context of all four: what could be cached at best. Replicas have one thread each, whatever cores there are; what a
replica "said" in former turns is scripted, so that all three see the same text.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from client.bench.wire import Endpoint, Wire
from client.resources import Client
from client.types import ColdOptions, DeploymentSpec
from engine.control.route import Prompt
from engine.gateway import routes
from tests.bench.rows import Row, Rows, Wanted, told
from tests.bench.servers import NotServed
from tests.conftest import until_ready
from tests.house import served
from tests.processes import SMOLLM2

REPLICAS, SLOTS, CONTEXT = 4, 4, 2048
CLIENTS, CONVERSATIONS, TURNS = 4, 8, 4  # at once; in all, in each round; of each
BEGINNING_WORDS, TURN_WORDS, ANSWER_TOKENS = 150, 40, 8
THINKING_S = 1.0  # at most, between an answer and the next turn
ROUNDS = 2
WORDS = (
    "harbour", "lantern", "winter", "letter", "garden", "window", "river", "silver", "morning", "captain", "story",
    "island", "copper", "market", "shadow", "thunder", "velvet", "orchard", "candle", "meadow",
)  # fmt: skip


@dataclass
class Seen:
    """What the clients of one way saw in one round."""

    ttft_s: list[float] = field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0

    @property
    def cached_share(self) -> float:
        return self.cached_tokens / self.prompt_tokens

    @property
    def ttft_p50_ms(self) -> float:
        return 1000 * statistics.median(self.ttft_s)


async def main() -> None:
    """Print the table."""
    print(f"{CONVERSATIONS} conversations of {TURNS} turns, {CLIENTS} at once, {SMOLLM2}, {os.cpu_count()} cores, load"
          f" {os.getloadavg()[0]:.1f}; {REPLICAS} real replicas of {SLOTS} slots and 1 thread\n")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="fdbench-") as folder:
        async with served(Path(folder) / "data") as (url, home), home.client() as client:
            print(told(await _rows(client, Endpoint.of(url, home.admin_key))))


async def _rows(client: Client, endpoint: Endpoint) -> Rows:
    ours: list[Seen] = []
    blind: list[Seen] = []
    await _deploy(client, "four", REPLICAS, SLOTS)
    for number in range(-1, ROUNDS):  # the first warms up and does not count
        for with_prompts in (True, False) if number % 2 else (False, True):
            with _routing(with_prompts=with_prompts):
                seen = await _round(endpoint, "four", f"{number} {with_prompts}")
            if number >= 0:
                (ours if with_prompts else blind).append(seen)
    await client.deployments.delete("four", hard=True, ignore_checks=True)
    await _deploy(client, "one", 1, REPLICAS * SLOTS)
    one = [await _round(endpoint, "one", f"{number} one") for number in range(ROUNDS)]
    await client.deployments.delete("one", hard=True, ignore_checks=True)
    share = [seen.cached_share for seen in ours]
    alone, least = "one replica with all the memory", "least-load routing"
    return [
        Row("prompt tokens from a cache", "share", share, [s.cached_share for s in one], alone, Wanted(0.9)),
        Row("  the same", "share", share, [s.cached_share for s in blind], least),
        Row("TTFT p50", "ms", [s.ttft_p50_ms for s in ours], [s.ttft_p50_ms for s in blind], least,
            Wanted(0.6, at_least=False)),
    ]  # fmt: skip


async def _deploy(client: Client, name: str, replicas: int, slots: int) -> None:
    spec = DeploymentSpec(
        base_model=SMOLLM2, min_replica_count=replicas, max_replica_count=replicas, max_batch_size=slots,
        max_context_length=CONTEXT, firedeck=ColdOptions(threads=1),
    )  # fmt: skip
    await client.deployments.create(spec, name)
    await until_ready(client, name)
    while sum(r.stage == "READY" for r in (await client.fleet.status(name)).replicas) < replicas:
        await asyncio.sleep(0.1)


@contextmanager
def _routing(*, with_prompts: bool) -> Iterator[None]:
    """For this time the gateway knows of prompts, or of none: then the least load decides alone."""
    found = routes.prompt_of
    if not with_prompts:
        routes.prompt_of = lambda *_, **__: Prompt()
    try:
        yield
    finally:
        routes.prompt_of = found


async def _round(endpoint: Endpoint, deployment: str, name: str) -> Seen:
    """All conversations; those of a name are the same text each time."""
    seen, left = Seen(), iter(range(CONVERSATIONS))
    wire = Wire(endpoint)

    async def client() -> None:
        for number in left:
            await _conversation(wire, deployment, random.Random(f"{name} {number}"), seen)

    try:
        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(client())
    finally:
        wire.close()
    return seen


async def _conversation(wire: Wire, deployment: str, source: random.Random, seen: Seen) -> None:
    messages = [{"role": "system", "content": _words(source, BEGINNING_WORDS)}]
    for _ in range(TURNS):
        messages.append({"role": "user", "content": _words(source, TURN_WORDS)})
        body: dict[str, Any] = {
            "model": f"accounts/local/deployments/{deployment}", "messages": messages, "max_tokens": ANSWER_TOKENS,
            "temperature": 0, "ignore_eos": True, "stream": True,
        }  # fmt: skip
        began = monotonic()
        answer = await wire.post("/chat/completions", json.dumps(body).encode())
        if answer.error_kind is not None:
            raise NotServed(f"the gateway answered {answer.error_kind}: {answer.error_message}")
        usage: Any = answer.usage
        seen.prompt_tokens += usage["prompt_tokens"]
        seen.cached_tokens += (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        seen.ttft_s += [at - began for at in answer.arrivals[:1]]
        messages.append({"role": "assistant", "content": _words(source, ANSWER_TOKENS)})
        await asyncio.sleep(source.uniform(0, THINKING_S))


def _words(source: random.Random, count: int) -> str:
    return " ".join(source.choices(WORDS, k=count))
