"""Deployments over `/v1/accounts/...` on a real engine: made, changed, scaled, emptied, woken, deleted, undeleted."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import openai
import pytest

from client.errors import FailedPrecondition, NotFound
from client.resources import Client
from client.types import AutoscalingPolicy, ColdOptions, Deployment, DeploymentSpec
from tests.conftest import PATIENCE_S, SHARED, all_counted, removed_afterwards, until_ready
from tests.processes import SMOLLM2, EngineProcess, poll

pytestmark = pytest.mark.model


@pytest.fixture
async def own(fleet: Client) -> AsyncIterator[Client]:
    """The engine, with whatever a test deploys as `own` removed afterwards."""
    async with removed_afterwards(fleet, "own"):
        yield fleet


async def until(fleet: Client, condition: object, deployment: str = "own") -> Deployment:
    async with asyncio.timeout(PATIENCE_S):
        while not condition(found := await fleet.deployments.get(deployment)):  # type: ignore[operator]
            await asyncio.sleep(0.1)
    return found


async def told(fleet: Client, reason: str, words: str, deployment: str = "own") -> None:
    """Wait for an event of this reason with these words in its message."""
    async with asyncio.timeout(PATIENCE_S):
        while not any(e.reason == reason and words in e.message for e in await fleet.fleet.events(deployment)):
            await asyncio.sleep(0.1)


def ready(deployment: Deployment) -> int:
    assert deployment.replica_stats is not None
    return deployment.replica_stats.ready_replica_count


def ask(engine: EngineProcess, model: str, **fields: object) -> openai.types.Completion:
    with openai.OpenAI(base_url=f"{engine.context.base_url}/v1", api_key=engine.key, max_retries=0) as client:
        return client.completions.create(model=model, prompt="One, two,", **{"max_tokens": 2, **fields})  # type: ignore[call-overload, no-any-return]


@asynccontextmanager
async def asking(engine: EngineProcess, askers: int = 6) -> AsyncIterator[None]:
    """Meanwhile so many clients ask one thing after the other; each is answered at least once, and nothing fails."""
    stop = threading.Event()

    def keep_asking() -> int:
        asked = 0
        while not (stop.is_set() and asked):
            assert ask(engine, OWN, max_tokens=16).choices[0].text
            asked += 1
        return asked

    with concurrent.futures.ThreadPoolExecutor(askers) as pool:
        loop = asyncio.get_running_loop()
        asked = [loop.run_in_executor(pool, keep_asking) for _ in range(askers)]
        try:
            yield
        finally:
            stop.set()
        await asyncio.gather(*asked)


OWN = "accounts/local/deployments/own"
QUICK_ZERO = AutoscalingPolicy(scale_to_zero_window=timedelta(seconds=1.5))


async def test_a_new_deployment_has_the_products_defaults(own: Client) -> None:
    made = await own.deployments.create(DeploymentSpec(base_model=SMOLLM2), "own", validate_only=True)
    policy = made.autoscaling_policy
    assert (made.min_replica_count, made.max_replica_count, made.state) == (0, 1, "CREATING")
    assert policy is not None
    assert policy.scale_up_window == timedelta(seconds=30)
    assert policy.scale_down_window == timedelta(minutes=10)
    assert policy.scale_to_zero_window == timedelta(hours=1)
    with pytest.raises(NotFound):
        await own.deployments.get("own")  # validateOnly made nothing


async def test_an_id_is_made_up_when_none_is_given(fleet: Client) -> None:
    made = await fleet.deployments.create(DeploymentSpec(base_model=SMOLLM2, max_replica_count=0))
    try:
        assert len(made.id) == 8
    finally:
        await fleet.deployments.delete(made.id, hard=True)


async def test_a_deployment_is_ready_only_after_it_has_answered(own: Client, engine: EngineProcess) -> None:
    await own.deployments.create(DeploymentSpec(base_model=SMOLLM2), "own")
    await until_ready(own, "own")
    await told(own, "StateChanged", "")  # after the state itself
    reasons = [event.reason for event in await own.fleet.events("own")]
    assert reasons.index("ReplicaStarted") < reasons.index("ReplicaReady") < reasons.index("StateChanged")
    assert ask(engine, OWN).usage.completion_tokens == 2  # type: ignore[union-attr]


async def test_an_update_changes_what_it_names_and_nothing_else(own: Client) -> None:
    spec = DeploymentSpec(base_model=SMOLLM2, max_replica_count=0, autoscaling_policy=QUICK_ZERO)
    before = await own.deployments.create(spec, "own")
    policy = AutoscalingPolicy(scale_up_window=timedelta(seconds=7))
    after = await own.deployments.update("own", DeploymentSpec(description="new", autoscaling_policy=policy))
    assert after.description == "new"
    assert after.autoscaling_policy is not None
    assert after.autoscaling_policy.scale_up_window == timedelta(seconds=7)
    assert after.autoscaling_policy.scale_to_zero_window == timedelta(seconds=1.5)
    assert (after.max_replica_count, after.base_model) == (before.max_replica_count, before.base_model)


async def test_scaling_by_hand_adds_and_removes_replicas(own: Client) -> None:
    await own.deployments.create(DeploymentSpec(base_model=SMOLLM2, min_replica_count=1, max_replica_count=2), "own")
    await until(own, lambda d: ready(d) == 1)
    await own.deployments.scale("own", 2)
    await until(own, lambda d: ready(d) == 2)
    pids = {r.pid for r in (await own.fleet.status("own")).replicas}
    assert len(pids) == 2
    await own.deployments.scale("own", 1)
    left = await until(own, lambda d: ready(d) == 1 and d.replica_count == 1)
    assert left.state == "READY"
    with pytest.raises(FailedPrecondition, match="maxReplicaCount"):
        await own.deployments.scale("own", 3)


async def test_an_idle_deployment_goes_to_zero_and_the_first_request_is_held_then_served(
    own: Client, engine: EngineProcess
) -> None:
    await own.deployments.create(DeploymentSpec(base_model=SMOLLM2, autoscaling_policy=QUICK_ZERO), "own")
    await until_ready(own, "own")
    zero = await until(own, lambda d: d.replica_count == 0)
    assert (zero.state, zero.desired_replica_count) == ("READY", 0)
    answer = await asyncio.to_thread(ask, engine, OWN)
    assert answer.choices[0].text
    stats = (await own.fleet.status("own")).stats
    assert (stats.requests_total, stats.errors_total) == (1, 0)
    await told(own, "ScaledUp", "held at zero")


async def test_a_burst_on_a_deployment_at_zero_is_all_served(own: Client, engine: EngineProcess) -> None:
    await own.deployments.create(DeploymentSpec(base_model=SMOLLM2, autoscaling_policy=QUICK_ZERO), "own")
    await until(own, lambda d: d.state == "READY" and d.replica_count == 0)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        loop = asyncio.get_running_loop()
        answers = await asyncio.gather(*(loop.run_in_executor(pool, ask, engine, OWN) for _ in range(16)))
    assert all(answer.choices[0].text for answer in answers)


async def test_a_rejecting_deployment_at_zero_answers_the_documented_503_and_wakes(
    own: Client, engine: EngineProcess
) -> None:
    spec = DeploymentSpec(base_model=SMOLLM2, firedeck=ColdOptions(cold_policy="reject"))
    await own.deployments.create(spec, "own")
    await until_ready(own, "own")
    await own.deployments.scale("own", 0)  # and once awake it stays so for an hour
    await until(own, lambda d: d.state == "READY" and d.replica_count == 0)
    with pytest.raises(openai.InternalServerError) as caught:
        await asyncio.to_thread(ask, engine, OWN)
    assert caught.value.status_code == 503
    assert caught.value.code == "DEPLOYMENT_SCALING_UP"
    assert "scaled to zero and is scaling up" in caught.value.message
    assert int(caught.value.response.headers["retry-after"]) >= 1
    await until(own, lambda d: ready(d) == 1)
    assert ask(engine, OWN).choices[0].text


async def test_load_above_the_target_adds_a_replica_and_the_reasons_say_why(own: Client, engine: EngineProcess) -> None:
    policy = AutoscalingPolicy(
        scale_up_window=timedelta(seconds=1), scale_down_window=timedelta(seconds=2),
        load_targets={"concurrent_requests": 2.0},
    )  # fmt: skip
    spec = DeploymentSpec(base_model=SMOLLM2, min_replica_count=1, max_replica_count=2, autoscaling_policy=policy)
    await own.deployments.create(spec, "own")
    await until_ready(own, "own")
    async with asking(engine):
        await told(own, "ScaledUp", "concurrent requests")
        await until(own, lambda d: d.desired_replica_count == 2)
    await told(own, "ScaledDown", "2 -> 1")
    await until(own, lambda d: d.replica_count == 1)


async def test_from_zero_to_two_and_back_to_zero_with_no_failed_request(own: Client, engine: EngineProcess) -> None:
    """The product's windows divided by sixty or more, and everything else real."""
    policy = AutoscalingPolicy(
        scale_up_window=timedelta(seconds=1), scale_down_window=timedelta(seconds=3),
        scale_to_zero_window=timedelta(seconds=9), load_targets={"concurrent_requests": 2.0},
    )  # fmt: skip
    await own.deployments.create(
        DeploymentSpec(base_model=SMOLLM2, max_replica_count=2, autoscaling_policy=policy), "own"
    )
    await until_ready(own, "own")
    await own.deployments.scale("own", 0)
    await until(own, lambda d: d.replica_count == 0)
    async with asking(engine):
        await until(own, lambda d: ready(d) == 2)
    await until(own, lambda d: d.replica_count == 0)
    assert (await own.fleet.status("own")).stats.errors_total == 0
    await told(own, "ScaledDown", "no requests for 9s")
    scalings = [e.message for e in await own.fleet.events("own") if e.reason in {"ScaledUp", "ScaledDown"}]
    assert [m.partition(" replicas: ")[2] != "" for m in scalings] == [True] * len(scalings)
    woken = next(number for number, message in enumerate(scalings) if "held at zero" in message)
    steps = [m.partition(" replicas: ")[0] for m in scalings[woken:]]
    assert steps[:2] == ["0 -> 1", "1 -> 2"]
    # Between them: askers that are held up for a while are a load that sinks, and rises again.
    assert set(steps[2:-1]) <= {"2 -> 1", "1 -> 2"}
    # An engine that was stopped for a while finds both windows over at once.
    assert steps[-2:] == ["2 -> 1", "1 -> 0"] or steps[-1] == "2 -> 0"


async def test_a_change_that_needs_new_replicas_fails_no_request(own: Client, engine: EngineProcess) -> None:
    await own.deployments.create(DeploymentSpec(base_model=SMOLLM2, min_replica_count=1), "own")
    await until_ready(own, "own")
    old = {r.pid for r in (await own.fleet.status("own")).replicas}
    async with asking(engine, askers=3):
        await own.deployments.update("own", DeploymentSpec(max_batch_size=4))
        await until(own, lambda d: d.state == "READY" and d.replica_count == 1)
        async with asyncio.timeout(PATIENCE_S):
            while {r.pid for r in (await own.fleet.status("own")).replicas} & old:
                await asyncio.sleep(0.1)
    assert (await own.fleet.status("own")).replicas[0].slots == 4


async def test_a_deleted_deployment_is_gone_for_requests_and_can_be_brought_back(
    own: Client, engine: EngineProcess
) -> None:
    await own.deployments.create(DeploymentSpec(base_model=SMOLLM2), "own")
    await until_ready(own, "own")
    await own.deployments.delete("own")
    gone = await until(own, lambda d: d.state == "DELETED")
    assert gone.delete_time is not None
    assert gone.purge_time is not None
    assert "own" not in {d.id for d in await own.deployments.list()}
    assert "own" in {d.id for d in await own.deployments.list(show_deleted=True)}
    with pytest.raises(openai.NotFoundError):
        await asyncio.to_thread(ask, engine, OWN)
    await own.deployments.undelete("own")
    await until_ready(own, "own")
    assert ask(engine, OWN).choices[0].text
    await own.deployments.delete("own", hard=True, ignore_checks=True)
    with pytest.raises(NotFound):
        await own.deployments.get("own")


async def test_a_deployment_in_use_is_not_deleted_by_accident(own: Client, engine: EngineProcess) -> None:
    await own.deployments.create(DeploymentSpec(base_model=SMOLLM2), "own")
    await until_ready(own, "own")
    ask(engine, OWN)
    with pytest.raises(FailedPrecondition, match="ignoreChecks"):
        await own.deployments.delete("own")
    await own.deployments.delete("own", ignore_checks=True)


async def test_lists_page_filter_and_order(fleet: Client, engine: EngineProcess) -> None:
    ids = ["page-a", "page-b", "page-c"]
    for deployment_id in ids:
        await fleet.deployments.create(DeploymentSpec(base_model=SMOLLM2, max_replica_count=0), deployment_id)
    try:
        named = await fleet.deployments.list(filter='display_name="page-b" AND state=READY')
        assert [d.id for d in named] == ["page-b"]
        seen, token = [], ""
        key = {"X-Api-Key": engine.key}
        async with httpx.AsyncClient(base_url=engine.context.base_url, headers=key, timeout=PATIENCE_S) as http:
            while True:
                query = {"pageSize": 2, "pageToken": token, "orderBy": "name desc"}
                page = (await http.get("/v1/accounts/local/deployments", params=query)).json()
                seen += [d["name"].rpartition("/")[2] for d in page["deployments"]]
                token = page["nextPageToken"]
                if not token:
                    break
        assert [i for i in seen if i.startswith("page-")] == ids[::-1]
        assert page["totalSize"] == len(seen)
        assert SHARED in seen
    finally:
        for deployment_id in ids:
            await fleet.deployments.delete(deployment_id, hard=True)


async def test_an_own_gguf_file_becomes_a_model_and_serves(own: Client, engine: EngineProcess) -> None:
    library = await own.models.get(SMOLLM2)
    assert library.firedeck is not None
    made = await own.models.create_from_file("my-model", library.firedeck.file or "")
    try:
        assert made.name == "accounts/local/models/my-model"
        await own.deployments.create(DeploymentSpec(base_model="my-model"), "own")
        await until_ready(own, "own")
        assert ask(engine, "my-model").choices[0].text
        with pytest.raises(FailedPrecondition, match="own"):
            await own.models.delete("my-model")
        await own.deployments.delete("own", hard=True, ignore_checks=True)
    finally:
        await own.models.delete("my-model")


async def test_the_numbers_of_the_fleet_add_up(fleet: Client, engine: EngineProcess) -> None:
    await asyncio.to_thread(poll, lambda: all_counted(engine))
    before = (await fleet.fleet.status(SHARED)).stats
    for _ in range(3):
        ask(engine, f"accounts/local/deployments/{SHARED}", max_tokens=5, extra_body={"ignore_eos": True})
    await asyncio.to_thread(poll, lambda: all_counted(engine))
    after = (await fleet.fleet.status(SHARED)).stats
    assert after.requests_total - before.requests_total == 3
    assert after.generated_tokens_total - before.generated_tokens_total == 15
    assert after.ttft_p50_ms is not None
    async with httpx.AsyncClient(base_url=engine.context.base_url, timeout=PATIENCE_S) as http:
        exposition = (await http.get("/metrics")).text
    assert f'firedeck_requests_total{{code="200",deployment="accounts/local/deployments/{SHARED}"}}' in exposition


async def test_the_fleet_can_be_watched_as_a_stream(fleet: Client) -> None:
    seen = []
    async for snapshot in fleet.fleet.watch(interval_s=0.2):
        seen.append(snapshot.time)
        if len(seen) == 3:
            break
    assert seen == sorted(set(seen))
    async with asyncio.timeout(PATIENCE_S):
        while not (history := await fleet.fleet.history(SHARED, 60)).times:
            await asyncio.sleep(0.1)
    assert len(history.times) == len(history.series["ttft_p50_ms"])
