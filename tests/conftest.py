"""What tests share: one real engine with one loaded replica, and clients of it."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import openai
import pytest
from hypothesis import HealthCheck, settings
from prometheus_client.parser import text_string_to_metric_families

from client.errors import NotFound
from client.fleet_types import Event
from client.resources import Client
from client.types import DeploymentSpec
from tests import in_memory, seeds
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess

# Shared and noisy machines: hypothesis must not judge by time. What it tries is decided by the code alone, so that the
# same code fails or passes each time; `make soak` looks for what nobody has tried yet.
_RULES = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("same", derandomize=True, database=None, **_RULES)
settings.register_profile("search", **_RULES)
settings.load_profile("same")

DISTURBED = [Path(__file__).parent / folder for folder in ("api", "faults", "load", "placement", "tui")]
SHARED = "shared"  # the deployment that all tests may ask and none may change


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("markexpr") == "soak":
        settings.load_profile("search")
        seeds.NEW = True
    if config.option.basetemp is None and (folder := in_memory.folder()) is not None:
        config.option.basetemp = str(folder)
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of real processes and sockets, and of screens drawn by timers, get a second attempt: machines stop any of
    them for seconds. The summary names each that needed it: there is a race to be found. All others get none."""
    for item in items:
        if item.get_closest_marker("model") or item.path.parent in DISTURBED:
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """A running engine with one READY deployment, `shared` (SmolLM2, one replica)."""
    running = EngineProcess(tmp_path_factory.mktemp("engine")).start()
    try:
        asyncio.run(deploy(running, SHARED, min_replica_count=1))
        yield running
    finally:
        running.stop()


@pytest.fixture
def own_engine(tmp_path: Path) -> Iterator[EngineProcess]:
    """An engine that a test may kill."""
    running = EngineProcess(tmp_path / "data").start()
    yield running
    if running.process is not None and running.process.poll() is None:
        running.stop()
    for replica in running.replicas():
        replica.kill()


@pytest.fixture
async def fleet(engine: EngineProcess) -> AsyncIterator[Client]:
    async with Client(engine.context) as client:
        yield client


@pytest.fixture
def openai_client(engine: EngineProcess) -> Iterator[openai.OpenAI]:
    """The official SDK, unmodified."""
    with openai.OpenAI(base_url=f"{engine.context.base_url}/inference/v1", api_key=engine.key, max_retries=0) as client:
        yield client


async def deploy(running: EngineProcess, deployment_id: str, model: str = SMOLLM2, **spec: object) -> None:
    """Create a deployment and wait until it is READY."""
    async with Client(running.context) as client:
        await client.deployments.create(DeploymentSpec(base_model=model, **spec), deployment_id)
        await until_ready(client, deployment_id)


def all_counted(running: EngineProcess, deployment_id: str = SHARED) -> bool:
    """Whether every request that has begun is counted: it is when it is over, which its client may learn first."""
    name = f"accounts/local/deployments/{deployment_id}"
    headers = {"Authorization": f"Bearer {running.key}"}
    with httpx.Client(base_url=running.context.base_url, headers=headers, timeout=PATIENCE_S) as http:
        begun = http.get(f"/firedeck/v1/{name}").json()["stats"]["requestsTotal"]
        families = list(text_string_to_metric_families(http.get("/metrics").text))
    ended = [s for f in families for s in f.samples if s.name == "firedeck_requests_total"]
    return bool(begun == sum(s.value for s in ended if s.labels["deployment"] == name))


async def events_of(client: Client, deployment_id: str, *reasons: str) -> list[Event]:
    """Those of a deployment, once one of each reason is among them: an event is written after what it tells of."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await client.fleet.events(deployment_id)
            if Counter(reasons) <= Counter(event.reason for event in found):
                return found
            await asyncio.sleep(0.1)


async def until_ready(client: Client, deployment_id: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (found := await client.deployments.get(deployment_id)).state != "READY":
            assert found.state != "FAILED", found.status
            await asyncio.sleep(0.1)


@asynccontextmanager
async def removed_afterwards(fleet: Client, deployment_id: str) -> AsyncIterator[None]:
    """Whatever is deployed under this id in between is gone afterwards."""
    yield
    with suppress(NotFound):
        await fleet.deployments.delete(deployment_id, hard=True, ignore_checks=True)
