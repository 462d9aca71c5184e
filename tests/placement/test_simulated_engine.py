"""A simulated fleet through the very same control plane: real engine process, real sockets, virtual nodes."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import openai
import pytest
from click.testing import CliRunner, Result

from client.cli import exits
from client.cli.main import main
from client.errors import FailedPrecondition, InvalidArgument
from client.resources import Client
from client.types import AutoscalingPolicy, Deployment, DeploymentSpec, Placement
from engine.access.rules import OPEN, RULES
from tests.conftest import events_of, until_ready
from tests.processes import NOT_PASSED, PATIENCE_S, EngineProcess, environment, firedeck
from tests.simulated_models import SIMULATED_8B

FLEET = Path(__file__).parent / "fleet.toml"
BIG = "accounts/fireworks/models/simulated-70b"
SMALL = "accounts/fireworks/models/simulated-8b"
H100, L4 = "NVIDIA_H100_80GB", "NVIDIA_L4_24GB"


def quick_fleet(folder: Path) -> Path:
    """The fleet to try, whose replicas start sooner and are never preempted."""
    quick = folder / "fleet.toml"
    text = FLEET.read_text().replace('start_delay = "6s"', 'start_delay = "200ms"')
    quick.write_text(text.replace("preemptions_per_day = 24", "preemptions_per_day = 0"))
    return quick


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    folder = tmp_path_factory.mktemp("simulated")
    running = EngineProcess(folder / "data", ("--simulate", str(quick_fleet(folder)), "--rehearsal")).start()
    yield running
    running.stop()


@pytest.fixture
async def fleet(simulated: EngineProcess) -> AsyncIterator[Client]:
    async with Client(simulated.context) as client:
        yield client
        for deployment in await client.deployments.list():
            await client.deployments.delete(deployment.id, hard=True, ignore_checks=True)


async def until(fleet: Client, condition, deployment: str = "d") -> Deployment:
    async with asyncio.timeout(PATIENCE_S):
        while not condition(found := await fleet.deployments.get(deployment)):
            await asyncio.sleep(0.1)
    return found


def ready(deployment: Deployment) -> int:
    return deployment.replica_stats.ready_replica_count if deployment.replica_stats else 0


def said(deployment: Deployment) -> str:
    """What its status says is wrong."""
    return deployment.status.message if deployment.status else ""


async def nodes(engine: EngineProcess) -> dict[str, dict]:
    headers = {"Authorization": f"Bearer {engine.key}"}
    async with httpx.AsyncClient(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S) as http:
        return {node["name"]: node for node in (await http.get("/firedeck/v1/nodes")).json()["nodes"]}


async def test_everything_that_is_simulated_says_so(fleet: Client, simulated: EngineProcess):
    made = await fleet.deployments.create(
        DeploymentSpec(base_model=SMALL, min_replica_count=1, annotations={"team": "a"}), "d"
    )
    assert made.annotations == {"team": "a", "firedeck.simulated": "true"}
    await until_ready(fleet, "d")
    status = await fleet.fleet.status("d")
    while not all(replica.device for replica in status.replicas):  # known from the first look at a ready one
        await asyncio.sleep(0.05)
        status = await fleet.fleet.status("d")
    assert status.simulated
    assert status.deployment.cluster == "simulated"
    assert all((replica.device or "").startswith("simulated ") for replica in status.replicas)
    assert (await fleet.fleet.snapshot()).engine.simulated
    assert all(node["simulated"] for node in (await nodes(simulated)).values())
    shown = await asyncio.to_thread(cli, simulated, "--once")
    assert "[SIMULATED]" in shown
    assert "SIMULATED" in await asyncio.to_thread(cli, simulated, "deployment", "list")
    assert "SIMULATED" in await asyncio.to_thread(cli, simulated, "deployment", "get", "d")
    assert "SIMULATED" in simulated.log.read_text()
    with openai.OpenAI(base_url=f"{simulated.context.base_url}/v1", api_key=simulated.key, max_retries=0) as client:
        raw = await asyncio.to_thread(ask, client, stream=False)
        assert raw.headers["x-firedeck-simulated"] == "true"
        answer = raw.parse()
        assert answer.choices[0].message.content.startswith("[simulated]")
        assert answer.system_fingerprint == "simulated"
        assert answer.usage.completion_tokens == 12
        streamed = await asyncio.to_thread(ask, client, stream=True)
        assert streamed.headers["x-firedeck-simulated"] == "true"
        text = "".join(chunk.choices[0].delta.content or "" for chunk in streamed.parse())
    assert text.startswith("[simulated]")
    assert len(text.split()) == 12


async def test_every_answer_of_a_simulated_engine_says_so_whoever_gives_it(fleet: Client, simulated: EngineProcess):
    await fleet.deployments.create(DeploymentSpec(base_model=SMALL, min_replica_count=1), "d")
    await until_ready(fleet, "d")
    gateway = [("POST", f"/v1/{path}") for path in ("chat/completions", "completions", "embeddings", "nothing")]
    gateway += [("GET", "/v1/models"), ("GET", "/inference/v1/models"), ("GET", "/nowhere"), ("PUT", "/healthz")]
    context = simulated.context
    async with httpx.AsyncClient(base_url=context.base_url, timeout=PATIENCE_S) as http:
        for method, template in [*sorted({*RULES, *OPEN}), *gateway]:
            path = re.sub(r"{(\w+)[^}]*}", lambda name: "local" if name[1] == "account" else "none", template)
            for key in (simulated.key, "wrong"):
                asked = http.stream(method, path, headers={"authorization": f"Bearer {key}"}, json={})
                async with asked as answer:  # some have no end
                    assert answer.headers.get_list("x-firedeck-simulated") == ["true"], (method, path, answer)
        headers = {"authorization": f"Bearer {simulated.key}"}
        listed = (await http.get("/v1/models", headers=headers)).json()["data"]
        assert listed
        assert all(one["simulated"] and not one["supports_tools"] for one in listed)
        figures = (await http.get("/v1/accounts/local/metrics", headers=headers)).text
        assert "SIMULATED" in figures.splitlines()[0]


@pytest.mark.parametrize(
    "words",
    [("model", "list"), ("user", "list"), ("deployed-model", "list"), ("deployment", "list"), ("quota", "list")],
)
async def test_a_command_says_once_that_what_it_shows_is_simulated(fleet: Client, simulated: EngineProcess, words):
    await fleet.deployments.create(DeploymentSpec(base_model=SMALL, max_replica_count=0), "d")
    ran = await asyncio.to_thread(invoke, simulated, *words)
    assert (ran.stdout + ran.stderr).count("SIMULATED: no model answers here") == 1


async def test_a_scaling_that_waits_ends_with_just_so_many_ready_replicas(fleet: Client, simulated: EngineProcess):
    calm = AutoscalingPolicy(scale_down_window=timedelta(hours=1))
    spec = DeploymentSpec(base_model=SMALL, min_replica_count=1, max_replica_count=3, autoscaling_policy=calm)
    await fleet.deployments.create(spec, "d")
    await until_ready(fleet, "d")
    for count in (3, 1, 2):
        words = ("deployment", "scale", "d", "--replica-count", str(count), "--wait", "-o", "json")
        shown = Deployment.model_validate_json(await asyncio.to_thread(cli, simulated, *words))
        assert (ready(shown), shown.replica_count) == (count, count)


def ask(client: openai.OpenAI, *, stream: bool):
    return client.chat.completions.with_raw_response.create(
        model="accounts/local/deployments/d", messages=[{"role": "user", "content": "Hi"}], max_tokens=12, stream=stream
    )


def cli(engine: EngineProcess, *words: str) -> str:
    return str(invoke(engine, *words).stdout)


def invoke(engine: EngineProcess, *words: str) -> Result:
    """A command as given on the engine's machine, but in this process: a new interpreter for each takes seconds."""
    here = dict.fromkeys(NOT_PASSED) | {"FIREDECK_DATA_DIR": str(engine.data_dir)}
    done = CliRunner().invoke(main, words, env=here)
    assert done.exit_code == 0, done.output
    return done


async def test_a_model_gets_the_fewest_accelerators_that_hold_it(fleet: Client):
    made = await fleet.deployments.create(DeploymentSpec(base_model=BIG, max_replica_count=0), "d", validate_only=True)
    assert made.accelerator_count == 2  # 141 GB of weights on accelerators of 80 GB
    small = await fleet.deployments.create(DeploymentSpec(base_model=SMALL), "d", validate_only=True)
    assert small.accelerator_count == 1


async def test_what_cannot_fit_is_refused_with_the_numbers_and_what_would(fleet: Client):
    one = DeploymentSpec(base_model=BIG, accelerator_count=1)
    with pytest.raises(FailedPrecondition) as refused:
        await fleet.deployments.create(one, "d")
    assert "131.32 weights" in refused.value.text  # GiB
    assert "acceleratorCount 2" in refused.value.text
    assert refused.value.field == "acceleratorCount"
    wide = DeploymentSpec(base_model=BIG, max_context_length=131072, max_batch_size=64)
    with pytest.raises(
        FailedPrecondition, match=r"2560\.00 KV cache.*it would fit with maxContextLength \d+ or maxBatch"
    ):
        await fleet.deployments.create(wide, "d")
    long = DeploymentSpec(base_model=SMALL, accelerator_type=L4, max_context_length=131072, max_batch_size=8)
    with pytest.raises(FailedPrecondition) as refused:
        await fleet.deployments.create(long, "d")
    assert "KV cache" in refused.value.text
    assert "it would fit with maxContextLength" in refused.value.text
    assert await fleet.deployments.list() == []
    long.disable_deployment_size_validation = True
    await fleet.deployments.create(long, "d")
    found = await until(fleet, said)
    assert "no node can hold such a replica" in said(found)
    assert ready(found) == 0


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"accelerator_type": "AMD_MI300X_192GB"}, "acceleratorType"),
        ({"accelerator_type": L4, "placement": Placement(multi_region="EUROPE")}, "placement"),
        ({"placement": Placement(region="US_TEXAS_1")}, "placement"),
        ({"accelerator_count": 9}, "acceleratorCount"),
    ],
)
async def test_a_wish_that_no_node_can_ever_meet_is_refused_with_what_there_is(fleet: Client, wish, field):
    with pytest.raises(
        FailedPrecondition, match=r"what there is:.* 1 node with 8 x NVIDIA_H100_80GB in EU_FRANKFURT_1"
    ) as refused:
        await fleet.deployments.create(DeploymentSpec(base_model=SMALL, **wish), "d")
    assert refused.value.field == field


async def test_replicas_stand_where_they_may_and_on_what_they_asked_for(fleet: Client):
    spec = DeploymentSpec(base_model=SMALL, min_replica_count=2, max_replica_count=2)
    spec.placement, spec.accelerator_type = Placement(multi_region="US"), H100
    await fleet.deployments.create(spec, "d")
    found = await until(fleet, lambda d: ready(d) == 2)
    assert found.region == "US_IOWA_1"
    replicas = (await fleet.fleet.status("d")).replicas
    assert {(r.region, r.accelerator_type) for r in replicas} == {("US_IOWA_1", H100)}
    for change in (DeploymentSpec(placement=Placement(multi_region="APAC")), DeploymentSpec(accelerator_type=L4)):
        with pytest.raises(InvalidArgument, match="cannot be changed"):
            await fleet.deployments.update("d", change)


async def test_no_room_now_is_a_stockout_that_keeps_the_wish_and_says_when_it_asks_again(fleet: Client):
    spec = DeploymentSpec(base_model=SMALL, min_replica_count=4, max_replica_count=4, accelerator_type=L4)
    await fleet.deployments.create(spec, "d")  # three such machines
    found = await until(fleet, lambda d: ready(d) == 3 and said(d))
    assert found.desired_replica_count == 4
    assert found.status.code == "RESOURCE_EXHAUSTED"
    assert "STOCKOUT: 3 of 4 replicas placed" in found.status.message
    status = await fleet.fleet.status("d")
    (condition,) = status.conditions
    assert (condition.type, condition.reason, condition.wanted, condition.placed) == (
        "CapacityLimited", "STOCKOUT", 4, 3,
    )  # fmt: skip
    assert condition.retry_at is not None
    assert condition.since is not None
    assert condition.retry_at > condition.since
    await events_of(fleet, "d", "Stockout")
    await fleet.deployments.update("d", DeploymentSpec(min_replica_count=3))
    await fleet.deployments.scale("d", 3)
    await until(fleet, lambda d: not said(d))
    async with asyncio.timeout(PATIENCE_S):
        while (await fleet.fleet.status("d")).conditions:
            await asyncio.sleep(0.05)


async def test_a_region_out_of_stock_waits_while_another_one_that_is_allowed_is_taken(fleet: Client):
    pinned = DeploymentSpec(base_model=SMALL, placement=Placement(region="EU_FRANKFURT_1"))
    await fleet.deployments.create(pinned, "d")
    await until(fleet, lambda d: "out of stock" in said(d))
    either = DeploymentSpec(base_model=SMALL, placement=Placement(regions=["EU_FRANKFURT_1", "US_IOWA_1"]))
    await fleet.deployments.create(either, "e")
    found = await until(fleet, lambda d: ready(d) == 1, "e")
    assert found.region == "US_IOWA_1"


async def test_an_engine_that_is_killed_comes_back_and_takes_over_its_virtual_replicas(tmp_path: Path):
    engine = EngineProcess(tmp_path / "data", ("--simulate", str(quick_fleet(tmp_path)))).start()
    try:
        async with Client(engine.context) as client:
            await client.deployments.create(DeploymentSpec(base_model=SMALL, min_replica_count=2), "d")
            await until(client, lambda d: ready(d) == 2)
            before = await identities(client)
        engine.kill()
        engine.start()
        async with Client(engine.context) as client:
            await until(client, lambda d: ready(d) == 2)
            assert await identities(client) == before
            adopted = [e for e in await events_of(client, "d", *["ReplicaAdopted"] * 2) if e.reason == "ReplicaAdopted"]
            assert len(adopted) == 2
        free = [node["freeAccelerators"] for node in (await nodes(engine)).values()]
        assert sum(free) == 3 * 8 + 3 * 1 - 2
    finally:
        engine.stop()
    real = await asyncio.to_thread(
        subprocess.run, firedeck("serve", "--port", "0", "--data-dir", str(tmp_path / "data")), capture_output=True,
        text=True, env=environment(),
    )  # fmt: skip
    assert real.returncode == 1
    assert "holds a simulated fleet" in real.stderr


async def test_a_replica_gets_as_many_accelerators_as_are_declared_or_no_place_when_the_nodes_have_changed(
    tmp_path: Path,
):
    def nodes_of(accelerators: int) -> None:
        nodes = f'[[node]]\nname = "a"\naccelerator_type = "{H100}"\naccelerators = {accelerators}\n'
        (tmp_path / "fleet.toml").write_text('start_delay = "0s"\n' + nodes + SIMULATED_8B)

    nodes_of(8)
    engine = EngineProcess(tmp_path / "data", ("--simulate", str(tmp_path / "fleet.toml"))).start()
    try:
        async with Client(engine.context) as client:
            spec = DeploymentSpec(base_model=SMALL, accelerator_count=8, min_replica_count=1)
            await client.deployments.create(spec, "d")
            await until(client, lambda d: ready(d) == 1)
        engine.stop()
        nodes_of(4)
        engine.start()
        async with Client(engine.context) as client:
            found = await until(client, said)
            assert "has 4 accelerators, not 8" in said(found)
            assert (found.accelerator_count, ready(found)) == (8, 0)
    finally:
        engine.stop()


async def identities(client: Client) -> set[tuple]:
    """Who the replicas are, how old, and where."""
    replicas = (await client.fleet.status("d")).replicas
    return {(r.id, r.pid, r.node, r.region, r.started_at) for r in replicas}


def test_a_simulated_fleet_never_takes_a_real_ones_folder(tmp_path: Path):
    (tmp_path / "firedeck.db").touch()
    refused = subprocess.run(
        firedeck("serve", "--port", "0", "--data-dir", str(tmp_path), "--simulate", str(FLEET)),
        capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    assert refused.returncode == 1
    assert "holds a real fleet" in refused.stderr


def test_a_mistake_in_the_file_ends_the_start_with_its_name(tmp_path: Path):
    wrong = tmp_path / "fleet.toml"
    wrong.write_text('[[node]]\nname = "a"\ncolour = "red"\n')
    refused = subprocess.run(
        firedeck("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), "--simulate", str(wrong)),
        capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    assert refused.returncode == 1
    assert "unknown key 'colour'" in refused.stderr
    assert "Traceback" not in refused.stderr


def refused(*words: str, **variables: str) -> str:
    """What a `serve` says that cannot start."""
    ended = subprocess.run(firedeck("serve", *words), capture_output=True, text=True, env=environment(variables))
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_a_simulated_fleet_comes_back_with_the_folder_that_serve_prints(tmp_path: Path):
    quick = tmp_path / "fleet.toml"
    quick.write_text(FLEET.read_text())
    own = tmp_path / "x"
    for folder in (own, own / "simulated"):  # the second time as the first one's advice has it
        server = subprocess.Popen(
            firedeck("serve", "--port", "0", "--simulate", str(quick), "--until-eof"), text=True,
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment({"FIREDECK_DATA_DIR": str(folder)}),
        )  # fmt: skip
        assert server.stderr is not None
        printed = next(line for line in server.stderr if line.startswith("  state"))
        server.communicate(timeout=PATIENCE_S)
        assert printed.split() == ["state", str(own / "simulated")]
    assert not (own / "simulated" / "simulated").exists()
    assert not (own / "firedeck.db").exists()


def test_a_start_that_fails_makes_no_folder(tmp_path: Path):
    own = {"FIREDECK_DATA_DIR": str(tmp_path / "x")}
    assert "cannot be read" in refused("--port", "0", "--simulate", str(tmp_path / "none.toml"), **own)
    assert "shorter than" in refused("--port", "0", FIREDECK_API_KEY="short", **own)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "cannot listen" in refused("--port", port, "--simulate", str(FLEET), **own)
        assert "cannot listen" in refused("--port", port, **own)
    assert not (tmp_path / "x").exists()


def test_a_second_engine_on_the_folder_and_the_port_is_told_of_the_first(simulated: EngineProcess):
    port = simulated.context.base_url.rpartition(":")[2]
    words = ("--port", port, "--data-dir", str(simulated.data_dir), "--simulate", str(FLEET))
    assert "another engine is running" in refused(*words)


async def test_a_create_that_waits_tells_the_stockout_while_it_lasts_and_at_its_end(
    simulated: EngineProcess, fleet: Client
) -> None:
    taken = DeploymentSpec(base_model=SMALL, min_replica_count=3, max_replica_count=3, accelerator_type=L4)
    await fleet.deployments.create(taken, "taken")
    await until(fleet, lambda d: ready(d) == 3, "taken")  # three such machines
    words = f"deployment create {SMALL} --deployment-id d --min-replica-count 1 --accelerator-type {L4}".split()
    where = ["--base-url", simulated.context.base_url, "--api-key", simulated.key]
    waiting = [*words, "--wait", "--wait-timeout", "8s", *where]
    told = await asyncio.to_thread(CliRunner().invoke, main, waiting)
    assert told.exit_code == exits.TIMED_OUT
    *progress, last = told.stderr.splitlines()
    assert any(line.startswith("CREATING: ") and "STOCKOUT" in line and "next try at" in line for line in progress)
    assert len(progress) == len(set(progress)), "a line is told when it changes"
    assert "not READY within 8s" in last
    assert "STOCKOUT" in last


async def test_a_scale_an_update_a_delete_and_an_undelete_that_wait_return_when_it_has_come_about(
    simulated: EngineProcess, fleet: Client
) -> None:
    async def told(words: str) -> list[str]:
        where = ["--base-url", simulated.context.base_url, "--api-key", simulated.key]
        done = await asyncio.to_thread(CliRunner().invoke, main, [*words.split(), *where])
        assert done.exit_code == 0, done.output
        return done.stderr.splitlines()

    spec = DeploymentSpec(base_model=SMALL, min_replica_count=1, max_replica_count=2, accelerator_type=L4)
    await fleet.deployments.create(spec, "d")
    scaled = await told("deployment scale d --replica-count 2 --wait")
    assert scaled[-1] == "READY: 2 of 2 replicas ready"
    assert ready(await fleet.deployments.get("d")) == 2
    former = {replica.id for replica in (await fleet.fleet.status("d")).replicas}
    updated = await told("deployment update d --max-context-length 512 --wait")
    assert updated[-1] == "READY: 2 of 2 replicas ready"
    assert not former & {replica.id for replica in (await fleet.fleet.status("d")).replicas}
    deleted = await told("deployment delete d --ignore-checks --wait")
    assert deleted[-2] == "DELETED: 0 replicas left"
    assert (await fleet.fleet.status("d")).replicas == []
    back = await told("deployment undelete d --wait")
    assert back[-1].startswith("READY: ")
    now = await fleet.deployments.get("d")
    assert ready(now) == now.desired_replica_count == 1
