"""What a deployment at zero costs the request that wakes it: a real engine, beside the bare script of `footprint`.

From the request to its first token: the gateway holds it, the keeper starts a process, which loads the model and is
probed, and the request goes there. Each wake is followed by a run of the bare script, on the same file.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from client.resources import Client
from client.types import AutoscalingPolicy, DeploymentSpec
from tests.bench import assets, footprint
from tests.bench.measure import Bench
from tests.bench.rows import Row, Rows, Wanted
from tests.bench.servers import Shape
from tests.conftest import until_ready
from tests.processes import SMOLLM2, EngineProcess

WAKES = 5
POLL_S = 0.1
NAME = "accounts/local/deployments/wake"


async def wake(bench: Bench) -> Rows:
    """From zero replicas to the first token, beside the bare script."""
    engine = EngineProcess(bench.starter.folder / "wake").start()
    try:
        async with Client(engine.context) as client:
            return [await _row(client, 2 if bench.quick else WAKES)]
    finally:
        engine.stop()


async def _row(client: Client, wakes: int) -> Row:
    policy = AutoscalingPolicy(scale_to_zero_window=timedelta(seconds=1))
    spec = DeploymentSpec(base_model=SMOLLM2, min_replica_count=0, max_replica_count=1, autoscaling_policy=policy)
    await client.deployments.create(spec, "wake")
    await until_ready(client, "wake")
    replica_threads = 1  # the engine's choice for one replica on two cores; more cores only help it
    shape = Shape(assets.model("Q4_1"), threads=replica_threads)
    ours, bare = [], []
    for _ in range(wakes):
        while (await client.deployments.get("wake")).replica_count:
            await asyncio.sleep(POLL_S)
        ours.append(await _first_token_s(client))
        bare.append(await asyncio.to_thread(footprint.bare_s, shape))
    return Row("wake from zero to first token", "s", ours, bare, "bare script", Wanted(3, at_least=False))


async def _first_token_s(client: Client) -> float:
    body = assets.completion(assets.tokens("wake", footprint.PROMPT), 1) | {"model": NAME}
    began = time.monotonic()
    async for event in client.inference.stream_completion(body):
        if any(choice.get("text") for choice in event.get("choices", [])):
            return time.monotonic() - began
    return time.monotonic() - began  # one token of arbitrary bytes may carry no text
