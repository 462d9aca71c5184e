"""The gateway under load, beside the replica's own socket in the same run; replicas replay timings, so that what is
measured is the gateway.

1. What it adds to a first token at 50 requests a second, and to a whole answer at 300.
2. Its processor time for 256 streams of 20 tokens a second each, for each token and each request.
3. Four times what the replica can do: goodput, and how fast the others are told to come back.
4. A thousand clients that read nothing: memory, and what the others notice.
Aims stand beside the figures; processor time is the engine process's own, which a busy machine lengthens least.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from client.bench.load import poisson
from client.bench.wire import Endpoint
from tests.load.clients import Asking, Heard, ask
from tests.load.stand import Stand, Usage, stand
from tests.processes import PATIENCE_S

WIDE = 2048  # slots: no request waits for another
BLOCK_S, ROUNDS = 5.0, 3  # each side's turn, and how many
STREAMS, STREAM_TOKENS, TOKEN_MS = 256, 400, 50.0
SLOTS, LATE_MS, TIMES, OVERLOAD_S = 8, 100.0, 4, 15.0
DEADLINE_S = 2.0
SLOW, SLOW_TOKENS = 1000, 6000
JSON = Path("build/bench-load.json")


@dataclass(frozen=True)
class Row:
    """One figure and its aim, in words where it is no number."""

    name: str
    figure: str
    aim: str = ""


async def main() -> None:
    """Print the table, and write it."""
    print(f"\ngateway under load: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {ROUNDS} rounds turn about\n")
    rows: list[Row] = []

    def told(found: list[Row]) -> None:
        for row in found:
            print(f"{row.name:<66} {row.figure:>20}   {row.aim}", flush=True)
        rows.extend(found)

    with tempfile.TemporaryDirectory() as folder:
        async with stand(Path(folder) / "wide", WIDE) as one:
            told(await _added(one, rate=50, stream=True))
            told(await _added(one, rate=300, stream=False))
            told(await _streams(one))
        async with stand(Path(folder) / "narrow", SLOTS) as one:
            told(await _overload(one))
        async with stand(Path(folder) / "slow", WIDE) as one:
            told(await _slow(one))
    JSON.parent.mkdir(parents=True, exist_ok=True)
    JSON.write_text(json.dumps([asdict(row) for row in rows], indent=2))
    print(f"\nfigures in {JSON}")


async def arrivals(endpoint: Endpoint, body: dict[str, object], rate: float, seconds: float, seed: int) -> list[Heard]:
    """Open loop: requests come by a Poisson process, whatever becomes of the others."""
    began, tasks = time.monotonic(), list[asyncio.Task[Heard]]()
    headers = {"x-request-timeout": f"{PATIENCE_S:g}"}
    for at in poisson(rate, seed):
        if at > seconds:
            break
        await asyncio.sleep(began + at - time.monotonic())
        tasks.append(asyncio.create_task(ask(endpoint, body, headers)))
    return await asyncio.gather(*tasks)


async def _added(one: Stand, *, rate: float, stream: bool) -> list[Row]:
    """Blocks turn about; each side's figure is over all its blocks. The same arrivals for both."""
    body, seconds = one.body(8, first_ms=20, token_ms=10, stream=stream), dict[str, list[float]]()
    errors, cpu_s, count = 0, 0.0, 0
    for number in range(ROUNDS):
        for name, endpoint in (("gateway", one.gateway), ("replica", one.replica))[:: 1 if number % 2 else -1]:
            used = Usage(one.process)
            heard = await arrivals(endpoint, body, rate, BLOCK_S, seed=number)
            if name == "gateway":
                cpu_s, count = cpu_s + used.cpu_s, count + len(heard)
                errors += sum(not (answer.whole(8) if stream else answer.status == 200) for answer in heard)
            seconds.setdefault(name, []).extend(answer.ttft_s if stream else answer.seconds for answer in heard)
    what = f"first token at {rate:g} requests/s" if stream else f"whole answer at {rate:g} requests/s"
    added = [_ms(_percentile(seconds["gateway"], p) - _percentile(seconds["replica"], p)) for p in (50, 99)]
    return [
        Row(f"{what}: the gateway adds, p50", added[0], "at most 3 ms"),
        Row(f"{what}: the gateway adds, p99", added[1], "at most 20 ms"),
        Row(f"{what}: failed of {count}", str(errors), "0"),
        Row(f"{what}: CPU of each", f"{cpu_s / count * 1e6:.0f} us"),
    ]


async def _streams(one: Stand) -> list[Row]:
    body = one.body(STREAM_TOKENS, first_ms=TOKEN_MS, token_ms=TOKEN_MS)
    used, began = Usage(one.process), time.monotonic()
    heard = await asyncio.gather(*(ask(one.gateway, body) for _ in range(STREAMS)))
    seconds, tokens = time.monotonic() - began, sum(answer.tokens for answer in heard)
    cores = used.cpu_s / seconds
    broken = sum(not answer.whole(STREAM_TOKENS) for answer in heard)
    what = f"{STREAMS} streams of {1000 / TOKEN_MS:g} tokens/s"
    return [
        Row(f"{what}: not every token once and in order", str(broken), "0"),
        Row(f"{what}: cores of CPU", f"{cores:.2f}", "at most 1"),
        Row(f"{what}: CPU of each token", f"{used.cpu_s / tokens * 1e6:.0f} us"),
        Row(f"{what}: speed, of what was asked", f"{tokens / seconds / (STREAMS * 1000 / TOKEN_MS):.2f}x", "0.97x"),
        Row(f"{what}: memory", f"{used.grown_bytes / 2**20:+.0f} MiB", "at most 64 MiB"),
    ]


async def _overload(one: Stand) -> list[Row]:
    capacity = SLOTS / (LATE_MS / 1000)
    body, seconds = one.body(1, first_ms=LATE_MS), OVERLOAD_S
    began, tasks = time.monotonic(), list[asyncio.Task[Heard]]()
    for number in range(round(TIMES * capacity * seconds)):
        await asyncio.sleep(began + number / capacity / TIMES - time.monotonic())
        tasks.append(asyncio.create_task(ask(one.gateway, body, {"x-request-timeout": f"{DEADLINE_S:g}"})))
    heard = await asyncio.gather(*tasks)
    span_s = time.monotonic() - began
    good = [answer for answer in heard if answer.status == 200]
    refused = [answer for answer in heard if answer.status in (429, 503)]
    untold = sum(not int(answer.headers.get("retry-after", "0")) for answer in refused)
    fast = [answer.seconds for answer in refused]
    what = f"{TIMES} times what it can do ({capacity:g} requests/s)"
    return [
        Row(f"{what}: goodput, of the capacity", f"{len(good) / span_s / capacity:.2f}", "at least 0.90"),
        Row(f"{what}: neither served nor 429/503", str(len(heard) - len(good) - len(refused)), "0"),
        Row(f"{what}: refused without a time to come back", str(untold), "0"),
        Row(f"{what}: refused after, p50", _ms(_percentile(fast, 50)), "at most 100 ms"),
        Row(f"{what}: refused after, p99", _ms(_percentile(fast, 99)), "at most 100 ms"),
    ]


async def _slow(one: Stand) -> list[Row]:
    alone = await asyncio.gather(*(ask(one.gateway, one.body(50, token_ms=20)) for _ in range(16)))
    used = Usage(one.process)
    stuck = [Asking(one.gateway, one.body(SLOW_TOKENS)) for _ in range(SLOW)]
    for each in stuck:
        await each.run(reading=False)
    before_s = -1.0
    while used.cpu_s - before_s > 0.2:  # until all that lies between replica and client is full
        before_s = used.cpu_s
        await asyncio.sleep(1)
    beside = await asyncio.gather(*(ask(one.gateway, one.body(50, token_ms=20)) for _ in range(16)))
    grown = used.grown_bytes
    for each in stuck:
        await each.leave()
    what = f"{SLOW} clients that read nothing"
    return [
        Row(f"{what}: memory", f"{grown / 2**20:+.0f} MiB", "at most 256 MiB"),
        Row(f"{what}: others without every token", str(sum(not answer.whole(50) for answer in beside)), "0"),
        Row(
            f"{what}: others' first token, p50 (alone)",
            f"{_ms(_percentile([a.ttft_s for a in beside], 50))} ({_ms(_percentile([a.ttft_s for a in alone], 50))})",
        ),
    ]


def _percentile(values: Sequence[float], p: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(p / 100 * len(ordered)))] if ordered else float("nan")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
