"""Faults injected for real: replicas and engines killed, stopped, started twice, on folders that cannot be used."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from click.testing import CliRunner

from client.cli.main import main
from client.config import Context
from client.errors import Unavailable
from client.resources import Client
from client.types import Deployment, DeploymentSpec
from tests.conftest import deploy, events_of, until_ready
from tests.processes import GEMMA, NOT_PASSED, PATIENCE_S, SMOLLM2, EngineProcess, environment, firedeck, poll

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]
HASTY = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).with_name("hasty")), str(Path(__file__).parents[2])])}
NAME = "accounts/local/deployments/d"
COMPARED = 200  # tokens of a broken stream that are compared with an unbroken one


def stream(context: Context, model: str = NAME, max_tokens: int = 1900) -> openai.Stream[openai.types.Completion]:
    client = openai.OpenAI(base_url=f"{context.base_url}/v1", api_key=context.api_key, max_retries=0)
    extra = {"ignore_eos": True}
    return client.completions.create(
        model=model, prompt="Count: 1, 2,", max_tokens=max_tokens, temperature=0, stream=True, extra_body=extra
    )


def ask_whole(context: Context, max_tokens: int = 400) -> str:
    with openai.OpenAI(base_url=f"{context.base_url}/v1", api_key=context.api_key, max_retries=0) as client:
        answer = client.completions.create(
            model=NAME, prompt="Count: 1, 2,", max_tokens=max_tokens, extra_body={"ignore_eos": True}
        )
    return answer.choices[0].text


def rest(answer: openai.Stream[openai.types.Completion]) -> str:
    return "".join(chunk.choices[0].text for chunk in answer if chunk.choices)


def goes_on(answer: openai.Stream[openai.types.Completion], text: str, unbroken: str) -> bool:
    """Whether what follows `text` makes it begin as `unbroken`."""
    for chunk in answer:
        text += chunk.choices[0].text
        if len(text) >= len(unbroken):
            break
    answer.close()
    return text.startswith(unbroken)


def ask(context: Context, max_tokens: int = 4) -> str:
    return rest(stream(context, max_tokens=max_tokens))


@pytest.fixture
def hasty_engine(tmp_path: Path) -> Iterator[EngineProcess]:
    """An engine that waits less long for what does not come."""
    running = EngineProcess(tmp_path / "data", environment=HASTY).start()
    yield running
    running.stop()


async def test_a_killed_replica_is_replaced_and_costs_neither_its_streams_nor_those_who_wait(
    own_engine: EngineProcess,
) -> None:
    await deploy(own_engine, "d", min_replica_count=1, max_batch_size=2)
    context = own_engine.context
    unbroken = await asyncio.to_thread(ask, context, COMPARED)
    streaming = [stream(context), stream(context)]
    begun = [next(iter(answer)).choices[0].text for answer in streaming]  # both slots are busy: who comes now waits
    waiting = [asyncio.to_thread(ask, context) for _ in range(3)]
    tasks = [asyncio.ensure_future(w) for w in waiting]
    async with Client(context) as client:
        while (await client.fleet.status("d")).stats.queue < 1:
            await asyncio.sleep(0.05)
        (victim,) = own_engine.replicas()
        victim.kill()
        for first, answer in zip(begun, streaming, strict=True):
            assert await asyncio.to_thread(goes_on, answer, first, unbroken)
        assert all(await asyncio.gather(*tasks))
        await events_of(client, "d", "ReplicaDied")
    (successor,) = own_engine.replicas()
    assert successor.pid != victim.pid


async def test_what_a_killed_replica_had_counted_stays_in_the_totals(own_engine: EngineProcess) -> None:
    await deploy(own_engine, "d", min_replica_count=1)
    context = own_engine.context

    def counted() -> dict[str, float]:
        lines = httpx.get(f"{context.base_url}/metrics", timeout=PATIENCE_S).text.splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("firedeck_replica_"))
        totals = ("_total{", "_bucket{", "_sum{", "_count{")
        return {name: float(value) for name, value in pairs if any(part in name for part in totals)}

    generated = f'firedeck_replica_request_generated_tokens_sum{{deployment="{NAME}"}}'
    await asyncio.to_thread(ask, context, 40)
    poll(lambda: counted().get(generated, 0) >= 40)
    before = counted()
    (victim,) = own_engine.replicas()
    victim.kill()
    async with Client(context) as client:
        await events_of(client, "d", "ReplicaDied")
        _not_less(counted(), before)
        await asyncio.to_thread(ask, context, 20)
    poll(lambda: counted()[generated] >= before[generated] + 20)
    _not_less(counted(), before)


def _not_less(now: dict[str, float], before: dict[str, float]) -> None:
    assert {name: now.get(name) for name, value in before.items() if now.get(name, -1) < value} == {}


async def test_a_replica_that_somebody_else_ends_is_replaced_before_it_is_gone(own_engine: EngineProcess) -> None:
    await deploy(own_engine, "d", min_replica_count=1)
    (victim,) = own_engine.replicas()
    # Few tokens: a replica that somebody else ends breaks off after half a minute, also on a machine that is busy.
    streaming = stream(own_engine.context, max_tokens=40)
    first = next(iter(streaming))
    victim.terminate()  # it drains: what runs there goes on, what comes must go elsewhere
    answers = await asyncio.gather(*(asyncio.to_thread(ask, own_engine.context) for _ in range(4)))
    assert all(answers)
    assert first.choices[0].text + rest(streaming)
    poll(lambda: victim.pid not in {r.pid for r in own_engine.replicas()})


async def test_a_replica_that_stops_answering_is_ended_replaced_and_costs_no_answer(
    hasty_engine: EngineProcess,
) -> None:
    await deploy(hasty_engine, "d", min_replica_count=1, max_batch_size=2)
    context = hasty_engine.context
    (victim,) = hasty_engine.replicas()
    unbroken = await asyncio.to_thread(ask, context, COMPARED)
    async with Client(context) as client:
        streaming = stream(context)
        first = next(iter(streaming)).choices[0].text
        whole = asyncio.create_task(asyncio.to_thread(ask_whole, context))
        while (await client.fleet.status("d")).replicas[0].running != 2:
            await asyncio.sleep(0.05)
        victim.send_signal(signal.SIGSTOP)
        assert await asyncio.to_thread(goes_on, streaming, first, unbroken)
        assert await whole
        await asyncio.to_thread(poll, lambda: victim.pid not in {r.pid for r in hasty_engine.replicas()})
        await until_ready(client, "d")
        events = {event.reason: event.message for event in await events_of(client, "d", "ReplicaUnhealthy")}
    assert "no answer" in events["ReplicaUnhealthy"]
    assert await asyncio.to_thread(ask, context)


async def test_what_cannot_start_fails_with_the_reason_and_recovers_when_mended(
    hasty_engine: EngineProcess, tmp_path: Path
) -> None:
    """A model file that was damaged, and a draft model of another vocabulary."""
    async with Client(hasty_engine.context) as client:
        library = await client.models.get(SMOLLM2)
        assert library.firedeck is not None
        whole = Path(library.firedeck.file or "").read_bytes()
        file = tmp_path / "own.gguf"
        file.write_bytes(whole)
        await client.models.create_from_file("own", str(file))
        file.write_bytes(whole[: len(whole) // 2])
        await client.deployments.create(DeploymentSpec(base_model="own", min_replica_count=1), "d")
        drafts = DeploymentSpec(base_model=SMOLLM2, draft_model=GEMMA, draft_token_count=2, min_replica_count=1)
        await client.deployments.create(drafts, "drafts")
        why = [(await until_state(client, name, "FAILED")).status for name in ("d", "drafts")]
        assert why[0] is not None
        assert why[1] is not None
        assert "own.gguf" in why[0].message or "model" in why[0].message
        assert "vocabular" in why[1].message
        with pytest.raises(openai.InternalServerError, match="has failed"):
            await asyncio.to_thread(ask, hasty_engine.context)
        file.write_bytes(whole)
        await client.deployments.update("d", DeploymentSpec(description="mended"))
        changed = await client.deployments.update("drafts", DeploymentSpec(draft_token_count=0))
        assert changed.draft_model == GEMMA  # kept as declared, but off
        for name in ("d", "drafts"):
            await until_state(client, name, "READY")
    assert await asyncio.to_thread(ask, hasty_engine.context)


async def until_state(client: Client, name: str, state: str) -> Deployment:
    async with asyncio.timeout(PATIENCE_S):
        while (found := await client.deployments.get(name)).state != state:
            await asyncio.sleep(0.1)
    return found


async def test_after_kill_9_of_the_engine_everything_is_back_and_live_replicas_are_taken_over(
    own_engine: EngineProcess,
) -> None:
    await deploy(own_engine, "d", min_replica_count=1)
    async with Client(own_engine.context) as client:
        await client.deployments.create(DeploymentSpec(base_model=SMOLLM2, max_replica_count=0), "off")
        await client.deployments.create(DeploymentSpec(base_model=SMOLLM2, max_replica_count=0), "gone")
        await client.deployments.delete("gone")
        before = {d.id: d.to_wire() for d in await client.deployments.list(show_deleted=True)}
    (survivor,) = own_engine.replicas()
    own_engine.kill()
    assert survivor.is_running()
    own_engine.start()
    async with Client(own_engine.context) as client:
        after = {d.id: d.to_wire() for d in await client.deployments.list(show_deleted=True)}
        seen = ("state", "replicaStats", "replicaCount", "status", "desiredReplicaCount", "updateTime")
        assert {i: _without(d, seen) for i, d in after.items()} == {i: _without(d, seen) for i, d in before.items()}
        await until_ready(client, "d")
        assert await asyncio.to_thread(ask, own_engine.context)
        await events_of(client, "d", "ReplicaAdopted")
    assert [r.pid for r in own_engine.replicas()] == [survivor.pid]


async def test_replicas_that_nobody_wants_any_more_are_cleaned_up(own_engine: EngineProcess) -> None:
    await deploy(own_engine, "d", min_replica_count=1)
    (orphan,) = own_engine.replicas()
    own_engine.kill()
    for file in own_engine.data_dir.glob("firedeck.db*"):
        file.unlink()  # an engine that knows nothing of it
    own_engine.start()
    poll(lambda: orphan.pid not in {r.pid for r in own_engine.replicas()})
    assert own_engine.replicas() == []


def test_a_clean_end_leaves_no_process_behind(own_engine: EngineProcess) -> None:
    asyncio.run(deploy(own_engine, "d", min_replica_count=1))
    assert own_engine.replicas()
    assert own_engine.stop() == 0
    assert own_engine.replicas() == []


def test_a_second_engine_on_the_same_folder_is_refused(own_engine: EngineProcess) -> None:
    ended = _serve("--data-dir", str(own_engine.data_dir), "--port", "0")
    assert ended.returncode == 1
    assert "another engine is running" in ended.stderr
    assert "--data-dir" in ended.stderr
    assert httpx.get(f"{own_engine.context.base_url}/healthz", timeout=PATIENCE_S).status_code == 200


def test_a_port_in_use_is_told_with_the_remedy(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = _serve("--data-dir", str(tmp_path / "data"), "--port", str(taken.getsockname()[1]))
    assert ended.returncode == 1
    assert "in use" in ended.stderr
    assert "--port" in ended.stderr


def test_a_data_folder_that_cannot_be_used_is_told_with_the_remedy(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    for unusable in (file, file / "below", Path("/proc/firedeck")):
        ended = _serve("--data-dir", str(unusable), "--port", "0")
        assert ended.returncode == 1
        assert ("not writable" if unusable.is_relative_to("/proc") else "there is a file") in ended.stderr
        assert "--data-dir" in ended.stderr


def test_a_damaged_database_is_told_and_not_overwritten(tmp_path: Path) -> None:
    database = tmp_path / "firedeck.db"
    database.write_bytes(b"this is no database" * 100)
    ended = _serve("--data-dir", str(tmp_path), "--port", "0")
    assert ended.returncode == 1
    assert "firedeck.db" in ended.stderr
    assert database.read_bytes().startswith(b"this is no database")


def test_a_full_disk_refuses_changes_clearly_and_inference_goes_on(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", disk]).returncode:
        pytest.skip("needs the right to mount a small disk")
    engine = EngineProcess(disk / "data")
    try:
        asyncio.run(_fill_and_check(engine, disk))
    finally:
        if engine.process is not None:
            engine.stop()
        subprocess.run(["umount", "-l", disk], check=True)


async def _fill_and_check(engine: EngineProcess, disk: Path) -> None:
    engine.start()
    await deploy(engine, "d", min_replica_count=1)
    with (disk / "filler").open("wb", buffering=0) as filler:
        try:
            while filler.write(b"x" * 65536):
                filler.flush()
        except OSError:
            pass
    async with Client(engine.context) as client:
        with pytest.raises(Unavailable, match="disk is full"):
            await _change_until_refused(client)
        assert await asyncio.to_thread(ask, engine.context)
        (disk / "filler").unlink()
        changed = await client.deployments.update("d", DeploymentSpec(description="room again"))
        assert changed.description == "room again"


async def _change_until_refused(client: Client) -> None:
    for i in range(200):  # the database has some room of its own left
        await client.deployments.update("d", DeploymentSpec(description="x" * 900 + str(i)))


def test_the_tools_say_what_to_do_when_no_engine_runs(tmp_path: Path) -> None:
    given = {"FIREDECK_DATA_DIR": str(tmp_path), "FIREWORKS_BASE_URL": "http://127.0.0.1:9"}
    for words in (["--once"], ["deployment", "list"]):
        ended = CliRunner().invoke(main, words, env=dict.fromkeys(NOT_PASSED) | given)
        assert ended.exit_code == 1
        assert "firedeck serve" in ended.stderr
        assert "Traceback" not in ended.stderr


def _serve(*words: str) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        firedeck("serve", *words), env=environment(), capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert "Traceback" not in ended.stderr
    return ended


def _without(document: dict[str, object], fields: tuple[str, ...]) -> dict[str, object]:
    return {key: value for key, value in document.items() if key not in fields}
