"""A simulated fleet under a real engine, for faults of the engine itself: which model answers matters not then."""

from __future__ import annotations

from pathlib import Path

import openai

from client.resources import Client
from client.types import DeploymentSpec
from tests.conftest import events_of, until_ready
from tests.processes import EngineProcess

FLEET = Path(__file__).parents[1] / "placement" / "fleet.toml"
MODEL = "accounts/fireworks/models/simulated-8b"
NAME = "accounts/local/deployments/d"


def simulated_engine(folder: Path, environment: dict[str, str] | None = None) -> EngineProcess:
    """An engine on virtual nodes whose replicas start at once and are never preempted; not started yet."""
    quick = folder / "fleet.toml"
    text = FLEET.read_text().replace('start_delay = "6s"', 'start_delay = "50ms"')
    quick.write_text(text.replace("preemptions_per_day = 24", "preemptions_per_day = 0"))
    return EngineProcess(folder / "data", ("--simulate", str(quick), "--rehearsal"), environment or {})


async def deploy_simulated(engine: EngineProcess, deployment_id: str = "d") -> None:
    """One READY replica, and the engine at rest."""
    async with Client(engine.context) as client:
        await client.deployments.create(DeploymentSpec(base_model=MODEL, min_replica_count=1), deployment_id)
        await until_ready(client, deployment_id)
        await until_told(client, deployment_id)


async def until_told(client: Client, deployment_id: str) -> None:
    """A deployment shows READY a moment before the events of that are written."""
    await events_of(client, deployment_id, "ReplicaReady", "StateChanged")


async def answers(engine: EngineProcess) -> bool:
    """Whether inference goes on: one stream, from its first chunk to its last."""
    base_url = f"{engine.context.base_url}/v1"
    async with openai.AsyncOpenAI(base_url=base_url, api_key=engine.key, max_retries=0) as client:
        stream = await client.completions.create(model=NAME, prompt="Count: 1, 2,", max_tokens=4, stream=True)
        texts = [chunk.choices[0].text async for chunk in stream if chunk.choices]
    return bool("".join(texts))
