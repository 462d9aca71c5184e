"""Many clients at once, on a real engine with replicas that replay timings: what is counted is asserted (answers,
order, bounds, memory, descriptors), what is timed is printed. Full sizes are behind `make soak`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from client.fleet_types import DeploymentStatus
from client.resources import Client
from client.types import ColdOptions
from engine.control.route import PREFETCH
from engine.fleet.lobby import QUEUE_MAX
from tests.conftest import all_counted
from tests.load.clients import Asking, Heard, ask
from tests.load.stand import Stand, Usage, deployed, engine_of_replays, stand
from tests.processes import PATIENCE_S

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]
MIB = 1 << 20
FEW = 8  # descriptors and threads that come and go
LATE_MS = 10.0


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """For all that leave nothing behind."""
    with engine_of_replays(tmp_path_factory.mktemp("wide")) as running:
        yield asyncio.run(deployed(running, 2048))


@pytest.fixture
async def new(tmp_path: Path) -> AsyncIterator[Stand]:
    """Nothing was asked of it: what it takes now, it takes for the first time."""
    async with stand(tmp_path / "data", 2048) as one:
        yield one


def full(*sizes: object) -> object:
    return pytest.param(*sizes, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():
            await asyncio.sleep(0.05)


async def status(one: Stand) -> DeploymentStatus:
    async with Client(one.engine.context) as client:
        return await client.fleet.status(one.deployment)


async def until_it_stands(one: Stand) -> None:
    """Until the replica makes no more tokens: all that lies between it and its clients is full. Of a thousand clients
    that is a gigabyte: it takes what it takes, and the test's own time is its end."""
    former, made = -1.0, -1.0
    while not former == made == 0.0:
        await asyncio.sleep(1.0)  # two looks of the engine at it
        former, made = made, (await status(one)).stats.tokens_per_second or 0.0


async def quiet(one: Stand) -> None:
    """Until nothing is under way, and every request is counted."""

    async def idle() -> bool:
        now = (await status(one)).stats
        return not now.running and not now.queue and all_counted(one.engine, one.deployment)

    await until(idle)


@pytest.mark.parametrize(("streams", "tokens", "gap_ms"), [(128, 40, 20.0), full(256, 2400, 50.0)])
async def test_many_streams_at_once_bring_every_token_once_and_in_order(
    wide: Stand, streams: int, tokens: int, gap_ms: float
) -> None:
    used = Usage(wide.process)
    body = wide.body(tokens, first_ms=gap_ms, token_ms=gap_ms)
    heard = await asyncio.gather(*(ask(wide.gateway, body) for _ in range(streams)))
    all_tokens = sum(one.tokens for one in heard)
    print(f"{streams} streams, {all_tokens} tokens: {used.cpu_s / all_tokens * 1e6:.0f} us of CPU a token, "
          f"RSS +{used.grown_bytes / MIB:.0f} MiB")  # fmt: skip
    assert [one.error_kind or one.wrong for one in heard if not one.whole(tokens)] == []
    assert used.grown_bytes <= 64 * MIB
    await quiet(wide)


@pytest.mark.parametrize(("clients", "each"), [(32, 20), full(32, 600)])
async def test_many_whole_answers_come_without_an_error(wide: Stand, clients: int, each: int) -> None:
    used = Usage(wide.process)
    before = (await status(wide)).stats.requests_total
    headers = {"authorization": f"Bearer {wide.engine.key}"}
    url = f"{wide.engine.context.base_url}/inference/v1/completions"

    async def client(http: httpx.AsyncClient) -> Counter[tuple[int, str]]:
        said: Counter[tuple[int, str]] = Counter()
        for _ in range(each):
            answer = await http.post(url, json=wide.body(8, stream=False))
            said[answer.status_code, answer.json()["choices"][0]["text"]] += 1
        return said

    async with httpx.AsyncClient(headers=headers, timeout=PATIENCE_S) as http:
        said = sum(await asyncio.gather(*(client(http) for _ in range(clients))), Counter[tuple[int, str]]())
    print(f"{clients * each} answers: {used.cpu_s / clients / each * 1e6:.0f} us of CPU each")
    assert said == {(200, " 0 1 2 3 4 5 6 7"): clients * each}
    await quiet(wide)
    assert (await status(wide)).stats.requests_total - before == clients * each


@dataclass
class Watched:
    """The longest queue that was seen, here and in the replica."""

    held: int = 0
    inside: int = 0
    running: int = 0

    async def watch(self, one: Stand) -> None:
        async with Client(one.engine.context) as client:
            while True:
                now = await client.fleet.status(one.deployment)
                self.held = max(self.held, now.stats.queue)
                self.running = max(self.running, now.stats.running)
                self.inside = max(self.inside, *(replica.waiting or 0 for replica in now.replicas))
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(("slots", "crowd", "rounds"), [(8, 700, 1), full(16, 1400, 5)])
async def test_far_more_than_it_can_do_is_refused_with_a_time_and_the_queue_keeps_its_bound(
    tmp_path: Path, slots: int, crowd: int, rounds: int
) -> None:
    async with stand(tmp_path / "data", slots) as one:
        seen = Watched()
        watching = asyncio.create_task(seen.watch(one))
        body, heard = one.body(4, first_ms=LATE_MS, token_ms=LATE_MS), list[Heard]()
        for _ in range(rounds):
            heard += await asyncio.gather(*(ask(one.gateway, body, {"x-request-timeout": "60"}) for _ in range(crowd)))
        watching.cancel()
        counts = Counter(answer.status for answer in heard)
        refused = [answer for answer in heard if answer.status != 200]
        print(f"{crowd} at once on {slots} slots: {dict(counts)}; {seen}")
        assert set(counts) <= {200, 429, 503}
        assert counts[200] >= min(crowd, QUEUE_MAX) // 4
        assert refused
        assert all(int(answer.headers.get("retry-after", "0")) > 0 for answer in refused), "none without a time"
        assert [answer.wrong for answer in heard if answer.status == 200 and not answer.whole(4)] == []
        assert seen.held <= QUEUE_MAX + PREFETCH
        assert seen.running <= slots + PREFETCH
        assert seen.inside <= PREFETCH
        await quiet(one)
        assert (await ask(one.gateway, body)).whole(4), "afterwards all is as before"


async def test_where_nobody_is_to_wait_long_who_would_is_refused_at_once_and_told_why(tmp_path: Path) -> None:
    async with stand(tmp_path / "data", 2, ColdOptions(max_queue_wait=timedelta(milliseconds=100))) as one:
        body = one.body(4, first_ms=LATE_MS, token_ms=4 * LATE_MS)
        first = await asyncio.gather(*(ask(one.gateway, body) for _ in range(24)))
        heard = [*first, *await asyncio.gather(*(ask(one.gateway, body) for _ in range(400)))]
        counts = Counter(answer.status for answer in heard)
        refused = [answer for answer in heard if answer.status == 429]
        print(f"{counts}; the last refusal: {refused[-1].refusal.decode() if refused else None}")
        assert set(counts) == {200, 429}
        assert all(b"maxQueueWait" in answer.refusal for answer in refused)
        assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
        assert all(answer.whole(4) for answer in heard if answer.status == 200)
        async with Client(one.engine.context) as client:
            told = await client.requests.get(refused[-1].headers["x-request-id"])
        assert "maxQueueWait" in " ".join(told.explanation)


@pytest.mark.parametrize(("slow", "bound_mib"), [(64, 24), full(1000, 192)])
async def test_clients_that_read_nothing_cost_little_memory_and_nobody_else_a_token(
    new: Stand, slow: int, bound_mib: int
) -> None:
    tokens = 6_000  # over a megabyte a stream: more than the system's own buffers take
    await ask(new.gateway, new.body(8))
    used, replica = Usage(new.process), Usage(new.engine.replicas()[0])
    stuck = [Asking(new.gateway, new.body(tokens)) for _ in range(slow)]
    for one in stuck:
        await one.run(reading=False)

    async def all_there() -> bool:
        return (await status(new)).stats.running == slow

    await until(all_there)
    await until_it_stands(new)
    others = await asyncio.gather(*(ask(new.gateway, new.body(50, token_ms=10)) for _ in range(16)))
    print(f"{slow} clients that read nothing: RSS +{used.grown_bytes / MIB:.0f} MiB here, "
          f"+{replica.grown_bytes / MIB:.0f} MiB in the replica")  # fmt: skip
    assert all(one.whole(50) for one in others)
    assert used.grown_bytes <= bound_mib * MIB
    assert not any(one.heard.tokens for one in stuck)
    heard = [await one.finish() for one in stuck[:8]]
    assert [one.wrong for one in heard if not one.whole(tokens)] == [], "who reads again misses nothing"
    for one in stuck[8:]:
        await one.leave()
    await quiet(new)


@pytest.mark.parametrize("rounds", [3, full(60)])
async def test_after_any_mixture_nothing_is_left_behind(wide: Stand, rounds: int) -> None:
    """Streams, whole answers, clients that leave in the middle, refusals: descriptors, threads and memory stay."""

    async def mixture() -> None:
        leaving = [Asking(wide.gateway, wide.body(100_000, token_ms=1)) for _ in range(24)]
        for one in leaving:
            await one.run(reading=False)
        bad = {"model": "nobody/knows", "prompt": "a"}
        heard = await asyncio.gather(
            *(ask(wide.gateway, wide.body(20, token_ms=5)) for _ in range(48)),
            *(ask(wide.gateway, wide.body(4, stream=False)) for _ in range(48)),
            *(ask(wide.gateway, bad) for _ in range(24)),
        )
        for one in leaving:
            await one.leave()
        assert Counter(one.status for one in heard) == {200: 96, 404: 24}
        await quiet(wide)

    process = wide.process
    files, threads = process.num_fds(), process.num_threads()
    await mixture()
    used = Usage(process)
    for _ in range(rounds):
        await mixture()

    async def as_before() -> bool:  # connections that are idle are closed after 5 s
        return bool(process.num_fds() <= files + FEW and process.num_threads() <= threads + FEW)

    await until(as_before)
    print(f"after {rounds} rounds: RSS {used.grown_bytes / MIB:+.1f} MiB, {process.num_fds() - files:+d} descriptors")
    assert used.grown_bytes <= 32 * MIB
