"""The gateway, measured: what it adds to a stream, and what a cold start costs.

1. Streams through the gateway at widths 1 to 16: tokens per second, TTFT, and the part of it that the gateway added
   (what the client measured less what the replica reports in `perf_metrics`), and the engine's CPU time a token.
2. The same streams through the gateway and on the replica's own socket, turn about: tokens per second.
3. Cold start: from a deployment at zero to the first token, beside a warm first token.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil

from client.bench.load import Limit, Run
from client.bench.wire import Endpoint, Wire
from client.resources import Client
from client.types import AutoscalingPolicy, DeploymentSpec
from tests.conftest import until_ready
from tests.load.stand import Stand
from tests.processes import SMOLLM2, EngineProcess

WIDTHS = (1, 2, 4, 8, 16)
BESIDE = 8
TOKENS = 64
ROUNDS = 3
COLD_STARTS = 5
NAME = "accounts/local/deployments/bench"


@dataclass(frozen=True)
class Answer:
    """One streamed answer; seconds as the client saw them, `replica_ttft_s` as the replica reports it."""

    ttft_s: float
    replica_ttft_s: float
    tokens: int


async def main() -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as folder:
        engine = EngineProcess(Path(folder) / "data").start()
        try:
            async with Client(engine.context) as client:
                await _bench(client, psutil.Process(engine.process.pid if engine.process else None), engine)
        finally:
            engine.stop()


async def _bench(client: Client, gateway: psutil.Process, engine: EngineProcess) -> None:
    policy = AutoscalingPolicy(scale_to_zero_window=timedelta(seconds=1))
    spec = DeploymentSpec(base_model=SMOLLM2, min_replica_count=1, max_replica_count=1, autoscaling_policy=policy)
    await client.deployments.create(spec, "bench")
    await until_ready(client, "bench")
    replica = (await client.fleet.status("bench")).replicas[0]
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}, device {replica.device}, {SMOLLM2}, {TOKENS} tokens a stream\n")
    await _widths(client, gateway)
    await _beside(Stand(engine, "bench"))
    await _cold(client)


async def _widths(client: Client, gateway: psutil.Process) -> None:
    head = f"{'streams':>8} {'tok/s':>8} {'of 1':>6} {'TTFT p50':>10} {'p95':>10} {'gateway adds p50':>17} {'max':>9}"
    print(f"{head} {'CPU a token':>12}")
    await _stream(client)
    alone = 0.0
    for width in WIDTHS:
        began, used_s = time.monotonic(), _cpu_s(gateway)
        answers: list[Answer] = []
        for _ in range(ROUNDS):
            answers += await asyncio.gather(*(_stream(client) for _ in range(width)))
        tokens = sum(a.tokens for a in answers)
        speed, cpu_us = tokens / (time.monotonic() - began), (_cpu_s(gateway) - used_s) / tokens * 1e6
        alone = alone or speed
        ttft = sorted(a.ttft_s for a in answers)
        added = sorted(a.ttft_s - a.replica_ttft_s for a in answers)
        print(
            f"{width:>8} {speed:>8.0f} {speed / alone:>5.2f}x {_ms(statistics.median(ttft))} {_ms(_p95(ttft))} "
            f"{_ms(statistics.median(added), 17)} {_ms(added[-1], 9)} {cpu_us:>9.0f} us"
        )


async def _beside(one: Stand) -> None:
    """Closed loops of the same clients; who begins changes each round. Round -1 warms up and does not count."""
    speeds: dict[str, list[float]] = {"gateway": [], "replica": []}
    for number in range(-1, ROUNDS):
        for name, endpoint in (("gateway", one.gateway), ("replica", one.replica))[:: 1 if number % 2 else -1]:
            speed = await _speed(endpoint, f"{name} {number}")
            if number >= 0:
                speeds[name].append(speed)
    ours, own = (statistics.median(speeds[name]) for name in ("gateway", "replica"))
    ratios = [a / b for a, b in zip(speeds["gateway"], speeds["replica"], strict=True)]
    print(
        f"\n{BESIDE} clients, tokens/s: gateway {ours:.0f}, the replica's own socket {own:.0f}; {ours / own:.2f}x",
        end="",
    )
    print(f"   (medians of {ROUNDS} rounds; of each {', '.join(f'{ratio:.2f}x' for ratio in ratios)})")


async def _speed(endpoint: Endpoint, mark: str) -> float:
    def body(number: int) -> dict[str, object]:
        return {
            "model": NAME, "prompt": f"{mark} {number}. The lighthouse", "max_tokens": TOKENS, "temperature": 0,
            "ignore_eos": True, "stream": True,
        }  # fmt: skip

    wire = Wire(endpoint)
    run = Run(wire, "/completions", body, Limit(requests=3 * BESIDE))
    try:
        await run.closed(BESIDE)
    finally:
        wire.close()
    assert not any(sample.error for sample in run.samples)
    return sum(sample.output_tokens for sample in run.samples) / max(sample.end_s for sample in run.samples)


async def _cold(client: Client) -> None:
    warm = [(await _stream(client, tokens=1)).ttft_s for _ in range(COLD_STARTS)]
    await client.deployments.update("bench", DeploymentSpec(min_replica_count=0))
    cold = []
    for _ in range(COLD_STARTS):
        while (await client.deployments.get("bench")).replica_count:
            await asyncio.sleep(0.1)
        cold.append((await _stream(client, tokens=1)).ttft_s)
    print(f"\nfirst token, warm {_ms(statistics.median(warm))}   from zero {_ms(statistics.median(cold))}", end="")
    print(f"   ratio {statistics.median(cold) / statistics.median(warm):.0f}x   (medians of {COLD_STARTS})")


async def _stream(client: Client, tokens: int = TOKENS) -> Answer:
    body = {
        "model": NAME, "prompt": f"Run {time.monotonic_ns()}. The lighthouse", "max_tokens": tokens, "temperature": 0,
        "ignore_eos": True, "perf_metrics_in_response": True,
    }  # fmt: skip
    began, first, reported, count = time.monotonic(), 0.0, 0.0, 0
    async for event in client.inference.stream_completion(body):
        if not first and any(choice.get("text") for choice in event.get("choices", [])):
            first = time.monotonic() - began
        count = (event.get("usage") or {}).get("completion_tokens", count)
        reported = float((event.get("perf_metrics") or {}).get("server-time-to-first-token", reported))
    return Answer(first, reported, count)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _p95(ordered: Sequence[float]) -> float:
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


def _ms(seconds: float, width: int = 10) -> str:
    return f"{seconds * 1000:.1f} ms".rjust(width)
