"""The same for a long time: what an hour leaves behind, a minute would hardly show. In `make test` it is the same for a
moment; half an hour and a whole one are behind `make soak`. What is counted is asserted, what is timed is printed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from client.resources import Client
from client.types import DeploymentSpec
from tests import seeds
from tests.conftest import SHARED, until_ready
from tests.load.clients import Asking, ask
from tests.load.stand import Stand, stand
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]
SEED = seeds.of_run()
MIB = 1 << 20
CLIENTS = 8
FLAT = 0.05  # of what it was after the warm-up
FEW = 8  # descriptors, threads and tasks that come and go
LITTLE_BYTES = 32 * MIB
BODY = {"model": f"accounts/local/deployments/{SHARED}", "temperature": 0, "ignore_eos": True, "max_tokens": 24}
GREEDY = ("Count: 1, 2,", "The fox jumps over the dog. " * 12, "Once upon a time", "Roses are red,")


def full(*sizes: float) -> object:
    return pytest.param(*sizes, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])


def metric(http: httpx.Client, name: str, **labels: str) -> float:
    """The sum of a series over what matches; 0 where there is none."""
    families = text_string_to_metric_families(http.get("/metrics").text)
    return sum(
        s.value for f in families for s in f.samples if s.name == name and labels.items() <= s.labels.items()
    )  # fmt: skip


class Streaming:
    """A client of the real model that reads one stream after the other, and leaves every third in the middle."""

    def __init__(self, number: int, engine: EngineProcess, until: float, least: int) -> None:
        self._chance = random.Random(SEED + number)
        self._engine, self._until, self._least = engine, until, least
        self.read: Counter[tuple[str, str]] = Counter()  # prompt and text of those that were read to their end
        self.left = 0

    async def go_on(self) -> None:
        headers = {"Authorization": f"Bearer {self._engine.key}"}
        async with httpx.AsyncClient(
            base_url=self._engine.context.base_url, headers=headers, timeout=PATIENCE_S
        ) as http:
            while sum(self.read.values()) < self._least or time.monotonic() < self._until:
                await self._one(http, leaves=self._chance.random() < 1 / 3)

    async def _one(self, http: httpx.AsyncClient, *, leaves: bool) -> None:
        prompt = self._chance.choice(GREEDY)
        after = self._chance.randint(1, 12)
        text = ""
        async with http.stream("POST", "/v1/completions", json={**BODY, "prompt": prompt, "stream": True}) as got:
            assert got.status_code == 200
            events = 0
            async for line in got.aiter_lines():
                events += line.startswith("data: {")
                assert '"error"' not in line
                text += line.removeprefix("data: ") if line.startswith("data: {") else ""
                if leaves and events >= after:
                    self.left += 1
                    return
        assert text.count('"finish_reason":"length"') == 1
        self.read[prompt, _text(text)] += 1


def _text(events: str) -> str:
    return "".join(piece.partition('"')[0] for piece in events.split('"text":"')[1:])


@pytest.mark.parametrize(("seconds", "least"), [(0.0, 3), full(1800.0, 3)])
async def test_streams_on_the_real_model_leak_no_slot(engine: EngineProcess, seconds: float, least: int) -> None:
    """T7: of eight clients some leave in the middle, and what the others read is the same to the end."""
    [replica] = [one for one in engine.replicas() if any(SHARED in word for word in one.cmdline())]
    until = time.monotonic() + seconds
    clients = [Streaming(number, engine, until, least) for number in range(CLIENTS)]
    before = replica.memory_info().rss
    await asyncio.gather(*(client.go_on() for client in clients))
    read = sum((client.read for client in clients), Counter[tuple[str, str]]())
    print(f"FIREDECK_SEED={SEED}, {seconds:.0f} s: {read.total()} read, {sum(client.left for client in clients)} left;"
          f" the replica's RSS {(replica.memory_info().rss - before) / MIB:+.0f} MiB")  # fmt: skip
    assert len(read) == len({prompt for prompt, _ in read}), "each prompt has one text, first and last"
    headers = {"Authorization": f"Bearer {engine.key}"}
    with httpx.Client(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S) as http:
        async with asyncio.timeout(PATIENCE_S), Client(engine.context) as client:
            while True:
                now = await client.fleet.status(SHARED)
                [one] = now.replicas
                free = metric(http, "firedeck_replica_free_slots", deployment=BODY["model"])  # type: ignore[arg-type]
                if not (now.stats.running or now.stats.queue or one.running or one.waiting) and free == one.slots:
                    break
                await asyncio.sleep(0.1)


@dataclass(frozen=True)
class Size:
    """What a process takes; `tasks` of its event loop."""

    rss: int
    files: int
    threads: int
    tasks: int

    @classmethod
    def of(cls, process: psutil.Process, http: httpx.Client) -> Size:
        tasks = int(metric(http, "firedeck_tasks"))
        return cls(process.memory_info().rss, process.num_fds(), process.num_threads(), tasks)


@pytest.fixture
async def new(tmp_path: Path) -> AsyncIterator[Stand]:
    async with stand(tmp_path / "data", 256) as one:
        yield one


class Day:
    """What happens to an engine in a while: requests of all kinds, replicas that come and go, deployments too."""

    def __init__(self, at: Stand, client: Client) -> None:
        self.at, self.client = at, client
        self.asked = 0

    async def round(self) -> None:
        await self._requests()
        await self._scaled(2)
        await self._requests()
        await self._scaled(1)
        await self._deployment()
        await self._looks()

    async def _requests(self) -> None:
        at = self.at
        leaving = [Asking(at.gateway, at.body(100_000, token_ms=1)) for _ in range(8)]
        for one in leaving:
            await one.run(reading=False)
        heard = await asyncio.gather(
            *(ask(at.gateway, at.body(20, token_ms=5)) for _ in range(24)),
            *(ask(at.gateway, at.body(4, stream=False)) for _ in range(24)),
            *(ask(at.gateway, {"model": "nobody/knows", "prompt": "a"}) for _ in range(8)),
        )
        for one in leaving:
            await one.leave()
        assert Counter(one.status for one in heard) == {200: 48, 404: 8}
        self.asked += len(heard) + len(leaving)

    async def _scaled(self, count: int) -> None:
        spec = DeploymentSpec(min_replica_count=count, max_replica_count=count)
        await self.client.deployments.update(self.at.deployment, spec)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                stages = [one.stage for one in (await self.client.fleet.status(self.at.deployment)).replicas]
                if stages == ["READY"] * count:
                    return
                await asyncio.sleep(0.1)

    async def _deployment(self) -> None:
        spec = DeploymentSpec(base_model=SMOLLM2, min_replica_count=1, max_replica_count=1)
        await self.client.deployments.create(spec, "replay-4")
        await until_ready(self.client, "replay-4")
        await self.client.deployments.delete("replay-4", hard=True, ignore_checks=True)

    async def _looks(self) -> None:
        newest = (await self.client.requests.list(limit=20)).requests[0]
        await self.client.requests.get(newest.request_id)
        await self.client.usage.get(group_by="hour,deployment")
        await self.client.fleet.events(self.at.deployment)

    async def rest(self) -> None:
        """Until nothing is under way."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                now = await self.client.fleet.status(self.at.deployment)
                if not (now.stats.running or now.stats.queue):
                    return
                await asyncio.sleep(0.1)


@pytest.mark.parametrize(("warm_up_s", "seconds", "rounds"), [(0.0, 0.0, 2), full(600.0, 3600.0, 2)])
async def test_an_hour_of_everything_leaves_nothing_behind(
    new: Stand, warm_up_s: float, seconds: float, rounds: int
) -> None:
    """T3: memory, descriptors, threads and tasks are as after the warm-up, to within a twentieth or a few."""
    headers = {"Authorization": f"Bearer {new.engine.key}"}
    with httpx.Client(base_url=new.engine.context.base_url, headers=headers, timeout=PATIENCE_S) as http:
        async with Client(new.engine.context) as client:
            day = Day(new, client)
            await _go_on(day, warm_up_s, 1)
            before, asked = Size.of(new.process, http), day.asked
            await _go_on(day, seconds, rounds)
            async with asyncio.timeout(PATIENCE_S):  # connections that are idle are closed after 5 s
                while not _as_before(before, now := Size.of(new.process, http)):
                    await asyncio.sleep(0.5)
    grown = f"{(now.rss - before.rss) / MIB:+.1f} MiB of {before.rss / MIB:.0f}"
    print(f"after {day.asked - asked} more requests: RSS {grown},"
          f" {now.files - before.files:+d} descriptors, {now.threads - before.threads:+d} threads,"
          f" {now.tasks - before.tasks:+d} tasks")  # fmt: skip
    allowed = max(FLAT * before.rss, LITTLE_BYTES if not seconds else 0)
    assert now.rss - before.rss <= allowed


async def _go_on(day: Day, seconds: float, rounds: int) -> None:
    until, done = time.monotonic() + seconds, 0
    while done < rounds or time.monotonic() < until:
        await day.round()
        done += 1
    await day.rest()


def _as_before(before: Size, now: Size) -> bool:
    pairs = ((before.files, now.files), (before.threads, now.threads), (before.tasks, now.tasks))
    return all(b <= a * (1 + FLAT) + FEW for a, b in pairs)
