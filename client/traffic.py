"""Labelled synthetic traffic: streams chat and completions through the gateway like any client, in repeating phases.

Closed loop: each phase has a number of users, a user asks, reads the whole stream, thinks, and asks again. Every
request carries the header `x-firedeck-synthetic`, by which the engine counts it apart and the dashboard labels it.
Run alone: `python -m client.traffic` (connection from the environment, see `client.config`).
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from client.config import Context
from client.errors import FiredeckError, NotFound
from client.resources import Client

LABEL = {"x-firedeck-synthetic": "1"}
RETRY_S = 1.0

TOPICS = (
    "a lighthouse keeper", "how rain forms", "a small robot", "the taste of bread", "a city at night", "old maps",
    "learning to swim", "a letter to a friend", "the colour blue", "why cats purr",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Phase:
    """For `seconds`, `users[id]` users ask deployment `id` and think `think_s` between answers."""

    name: str
    seconds: float
    users: dict[str, int]
    think_s: float = 0.5


# Steady, rush, calm, then silence long enough for scale-to-zero: 0 -> 1 -> 2 and back within a minute.
DEMO_PHASES = (
    Phase("steady", 8, {"chat": 2, "base": 1}),
    Phase("rush", 12, {"chat": 10, "base": 1}, think_s=0.1),
    Phase("calm", 14, {"chat": 1, "base": 0}, think_s=1.0),
    Phase("silence", 11, {}),
)


@dataclass(slots=True)
class Tally:
    """What the traffic saw from outside: TTFTs in seconds from sending to first token, answers and failures."""

    requests: int = 0
    tokens: int = 0
    ttfts_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Traffic:
    """Users in phases. `run()` goes on until it is cancelled."""

    def __init__(self, client: Client, phases: Sequence[Phase] = DEMO_PHASES, seed: int = 7) -> None:
        self._client = client
        self._phases = phases
        self._random = random.Random(seed)
        self.tally = Tally()
        self.phase = ""

    async def run(self) -> None:
        for phase in itertools.cycle(self._phases):
            self.phase = phase.name
            users = [self._user(name, phase) for name, count in phase.users.items() for _ in range(count)]
            async with asyncio.TaskGroup() as tasks:
                # Users finish the answer they are reading: a phase ends softly, as real load does.
                for user in users:
                    tasks.create_task(user)
                tasks.create_task(asyncio.sleep(phase.seconds))

    async def _user(self, deployment: str, phase: Phase) -> None:
        until = time.monotonic() + phase.seconds
        await asyncio.sleep(self._random.uniform(0, phase.think_s))
        while time.monotonic() < until:
            try:
                await self._ask(deployment)
            except NotFound:
                return  # deleted by whoever plays with the demo
            except FiredeckError as error:
                self.tally.failures.append(error.text)
                await asyncio.sleep(RETRY_S)
            await asyncio.sleep(self._random.uniform(0.5, 1.5) * phase.think_s)

    async def _ask(self, deployment: str) -> None:
        began = time.monotonic()
        first: float | None = None
        async for event in self._stream(deployment):
            if first is None and any(_text(choice) for choice in event.get("choices", [])):
                first = time.monotonic() - began
            usage = event.get("usage")
            if usage:
                self.tally.tokens += int(usage.get("completion_tokens", 0))
        self.tally.requests += 1
        if first is not None:
            self.tally.ttfts_s.append(first)

    def _stream(self, deployment: str) -> AsyncIterator[dict[str, Any]]:
        name = f"accounts/{self._client.context.account}/deployments/{deployment}"
        topic = self._random.choice(TOPICS)
        body = {"model": name, "max_tokens": self._random.randint(16, 64), "temperature": 0.8, "user": "synthetic"}
        if deployment == "base":  # a base model: it continues texts, it does not chat
            return self._client.inference.stream_completion(body | {"prompt": f"A short story about {topic}:"}, LABEL)
        message = {"role": "user", "content": f"Write two sentences about {topic}."}
        return self._client.inference.stream_chat(body | {"messages": [message]}, LABEL)


def _text(choice: dict[str, Any]) -> str | None:
    return choice.get("text") or (choice.get("delta") or {}).get("content")


async def _main() -> None:
    async with Client(Context.resolve()) as client:
        await Traffic(client).run()


if __name__ == "__main__":
    asyncio.run(_main())
