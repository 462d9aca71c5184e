"""What routing by prefix is worth: conversations with four replicas of a stated model, on a clock that tests turn.

The replicas are made up, and said to be: slots, a prefill that one prompt has at a time, decoding that slows with what
runs beside it, and a cache of so many blocks of 64 tokens, least recently used out first. The lobby, the balancer and
the choice are the real ones.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import pytest

from engine.clock import FakeClock
from engine.control.prefix import BLOCK_CHARACTERS, BLOCK_TOKENS, links_of
from engine.control.route import Prompt
from engine.fleet.balancer import Balancer
from engine.fleet.lobby import Lobby
from engine.fleet.report import Report
from tests.unit.places import counted

REPLICAS, SLOTS = 4, 4
TOKEN_S, STEP_S, ANSWER_TOKENS = 0.001, 0.02, 32
CLIENTS, CONVERSATIONS, TURNS = 10, 60, 6
SYSTEM_BLOCKS, TURN_BLOCKS = 4, 3  # 64 tokens each
TICK_S = 0.01
SEED = 20


@dataclass
class Made:
    """A replica by its model."""

    view: Any  # as the gateway sees it
    blocks: int
    cache: OrderedDict[int, None] = field(default_factory=OrderedDict)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    running: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SLOTS))

    def report(self) -> None:
        held, most = (blocks * BLOCK_TOKENS for blocks in (len(self.cache), self.blocks))
        said = {"prefill_token_ms": TOKEN_S * 1000, "kv_used_tokens": held, "kv_capacity_tokens": most}
        self.view.report = Report(said)

    async def answer(self, links: tuple[int, ...], clock: FakeClock) -> tuple[int, float]:
        """How many blocks were cached, and when the first token came."""
        async with self.running:
            async with self.reading:
                known = next((n for n, link in enumerate(links) if link not in self.cache), len(links))
                await clock.sleep((len(links) - known) * BLOCK_TOKENS * TOKEN_S)
                for link in reversed(links):
                    self.cache[link] = None
                    self.cache.move_to_end(link)
                while len(self.cache) > self.blocks:
                    self.cache.popitem(last=False)
                self.report()
            first = clock.monotonic()
            beside = self.view.in_flight - 1
            await clock.sleep(ANSWER_TOKENS * STEP_S * (1 + 0.1 * beside))
        return known, first


@dataclass
class Outcome:
    cached: int = 0
    asked: int = 0
    ttft_s: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.cached / self.asked


class World:
    def __init__(self, replicas: int, slots: int, blocks: int, *, knows: bool) -> None:
        self.clock, self.knows, self.outcome = FakeClock(), knows, Outcome()
        views = [counted(f"r{n}", slots) for n in range(replicas)]
        self.made = {view.id: Made(view, blocks) for view in views}
        for made in self.made.values():
            made.running = asyncio.Semaphore(slots)
            made.report()
        self.lobby = Lobby(lambda: views, lambda: None, self.clock, balancer=Balancer(self.clock))

    async def conversation(self, source: random.Random, system: str) -> None:
        text = system
        for _ in range(TURNS):
            text += "".join(chr(source.randrange(65, 60_000)) * BLOCK_CHARACTERS for _ in range(TURN_BLOCKS))
            links, began = links_of(text, None), self.clock.monotonic()
            prompt = Prompt(links, len(text)) if self.knows else Prompt()
            async with self.lobby.place(3600.0, prompt=prompt) as view:
                view.unread += (unread := prompt.taken.unread if prompt.taken else 0)
                known, first = await self.made[view.id].answer(links, self.clock)
                view.unread -= unread
            self.outcome.cached += known
            self.outcome.asked += len(links)
            self.outcome.ttft_s.append(first - began)
            await self.clock.sleep(source.uniform(0.0, 2.0))

    async def run(self) -> Outcome:
        left = iter(range(CONVERSATIONS))

        async def client() -> None:
            for number in left:
                system = chr(65 + number % 2) * BLOCK_CHARACTERS * SYSTEM_BLOCKS
                await self.conversation(random.Random(f"{SEED} {number}"), system)

        clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
        while not all(task.done() for task in clients):
            for _ in range(8):
                await asyncio.sleep(0)
            self.clock.advance(TICK_S)
        for task in clients:
            task.result()
        return self.outcome


@pytest.mark.parametrize("blocks", [160, 50, 30], ids=["room for all", "just enough", "too little"])
async def test_conversations_find_nearly_as_much_cached_as_with_one_large_replica_and_their_first_token_sooner(
    blocks: int,
) -> None:
    print(f"seed {SEED}")
    ours = await World(REPLICAS, SLOTS, blocks, knows=True).run()
    least = await World(REPLICAS, SLOTS, blocks, knows=False).run()
    one = await World(1, REPLICAS * SLOTS, REPLICAS * blocks, knows=True).run()
    ttft, blind = statistics.median(ours.ttft_s), statistics.median(least.ttft_s)
    shares = f"ours {ours.share:.3f}, one large {one.share:.3f}, least load {least.share:.3f}"
    print(f"cached: {shares}; TTFT p50 {ttft * 1000:.0f} ms, least load {blind * 1000:.0f} ms ({ttft / blind:.2f}x)")
    assert ours.share >= 0.9 * one.share
    assert ttft <= 0.6 * blind
