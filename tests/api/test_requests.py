"""`/firedeck/v1/accounts/{account}/requests`, `firedeck requests` and `firedeck explain`: every request has its trace,
whatever came of it, and none has a word of what was said.

A whole engine in this process with a simulated fleet: real sockets between client, gateway, replica and collector.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from client.cli.main import main
from client.errors import NotFound
from client.resources import Client
from client.trace_types import RequestTrace
from client.types import DeploymentSpec
from engine.fleet.reply import Reply
from engine.placement.simulated.replica import SimulatedReplica
from engine.telemetry.otlp import Target
from engine.telemetry.trace import Trace
from tests.collector import Collector, collecting
from tests.conftest import until_ready
from tests.house import Home, served
from tests.processes import PATIENCE_S
from tests.simulated_models import SIMULATED_8B

MODEL = "accounts/fireworks/models/simulated-8b"
CHAT = "accounts/local/deployments/chat"
ASK = {"model": CHAT, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
CANARY = "canary-prompt-7c1e"
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
FLEET = f"""
seed = 7
start_delay = "0s"
[latency]
first_token = "20ms"
prompt_tokens_per_second = 8000
tokens_per_second = 2000
[[node]]
name = "n"
region = "US_IOWA_1"
accelerator_type = "NVIDIA_H100_80GB"
accelerators = 8
memory = "1024GiB"
threads = 96
{SIMULATED_8B}"""


@dataclass
class Stage:
    url: str
    home: Home
    collector: Collector

    def http(self, key: str | None = None) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {key or self.home.admin_key}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=PATIENCE_S)

    def client(self) -> Client:
        return self.home.client()

    async def traced(self, answer: httpx.Response, key: str | None = None) -> RequestTrace:
        """The whole trace of an answer, once it is over: the client may be told before the last is noted."""
        request_id = answer.headers["x-request-id"]
        async with self.http(key) as http, asyncio.timeout(PATIENCE_S):
            while True:
                found = await http.get(f"/firedeck/v1/accounts/local/requests/{request_id}")
                trace = RequestTrace.model_validate(found.raise_for_status().json())
                if trace.request.status is not None:
                    return trace
                await asyncio.sleep(0.02)

    def open(self) -> list[Trace]:
        return [t for t in self.home.engine.house.traces.newest("local") if t.ended_at is None]

    def cli(self, *words: str) -> Any:
        shared = ["--base-url", self.url, "--api-key", self.home.admin_key]
        return CliRunner().invoke(main, [*words, *shared])


@asynccontextmanager
async def acting(folder: Path, replicas: int = 1) -> AsyncIterator[Stage]:
    fleet = folder / "fleet.toml"
    fleet.write_text(FLEET)
    async with collecting() as collector:
        target = Target(f"{collector.url}/v1/traces")
        async with served(folder / "data", simulate=fleet, otlp=target) as (url, home):
            stage = Stage(url, home, collector)
            async with stage.client() as client:
                spec = DeploymentSpec(base_model=MODEL, min_replica_count=replicas, max_replica_count=replicas)
                await client.deployments.create(spec, "chat")
                await until_ready(client, "chat")
            keeper = home.engine.house.fleet.get(CHAT)
            await until(lambda: len(keeper.ready()) == replicas)
            yield stage
            for replica in keeper.replicas:  # what they still answer is for nobody
                if replica.placed is not None:  # the one for another that died may not be yet
                    home.engine.house.fleet.rooms.driver.stop(replica.placed, force=True)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with acting(tmp_path) as found:
        yield found


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.02)


def names(trace: RequestTrace) -> list[str]:
    return [span.name.split(" ")[0] for span in trace.spans]


async def test_a_whole_and_a_streamed_answer_are_explained_and_belong_to_the_clients_trace(stage: Stage) -> None:
    async with stage.http() as http:
        for stream in (False, True):
            body = ASK | {"stream": stream}
            answer = await http.post("/inference/v1/chat/completions", json=body, headers={"traceparent": PARENT})
            assert answer.status_code == 200
            found = await stage.traced(answer)
            one = found.request
            assert (one.status, one.deployment, one.model, one.stream) == (200, CHAT, MODEL, stream)
            assert (one.generated_tokens, one.tries, one.trace_id, found.simulated) == (3, 1, PARENT[3:35], True)
            steps = ["queue", "prefill", "decode"]  # as the replica reports them: a simulated one has no tokenizer
            assert names(found) == ["chat", "admit", "queue", "route", "replica", *steps]
            assert found.spans[0].parent_span_id == PARENT[36:52]
            told = " ".join(found.explanation)
            assert f"of {CHAT} (model {MODEL}), by admin (key admin)" in told
            assert "It got a place at once." in told
            assert "the only replica that took requests" in told
            assert re.search(r"It was answered with 200 after [0-9.]+ m?s\.$", told)


async def test_every_refusal_has_a_trace_that_says_why(stage: Stage) -> None:
    async with stage.http() as http, stage.client() as client, stage.http("fd_wrong") as wrong:
        path, json_type = "/v1/completions", {"content-type": "application/json"}
        await client.deployments.create(DeploymentSpec(base_model=MODEL, max_replica_count=0), "off")
        asked = {
            404: await http.post(path, json={"model": f"nope-{CANARY}", "prompt": CANARY}),
            400: await http.post(path, content=f'{{"prompt": "{CANARY}', headers=json_type),
            405: await http.get(path, params={"q": CANARY}),
            415: await http.post(path, content=CANARY, headers={"content-type": f"text/{CANARY}"}),
            403: await http.post(path, json=ASK, headers={"host": f"{CANARY}.example"}),
            401: await wrong.post(path, json={"prompt": CANARY}),
            503: await http.post(path, json={"model": "accounts/local/deployments/off", "prompt": CANARY}),
        }
        await client.quotas.update("requests-per-minute", 0)
        asked[429] = await http.post(path, json={"model": CHAT, "prompt": CANARY})
        await client.quotas.update("monthly-spend-usd", 0)
        asked[402] = await http.post(path, json={"model": CHAT, "prompt": CANARY})
    why = {
        400: "the request itself is wrong", 401: "the API key you provided", 402: "US dollars of this month",
        403: "its key, or where it came from", 404: "is not there", 405: "takes another method",
        415: "is not sent as JSON", 429: "requests of this minute", 503: "the deployment is switched off",
    }  # fmt: skip
    for status, answer in asked.items():
        assert answer.status_code == status, answer.text
        found = await stage.traced(answer)
        assert found.request.status == status
        assert why[status] in found.explanation[-1], found.explanation
        assert found.spans[0].attributes["error.type"] == found.request.error
        assert names(found)[1] == "admit"
        assert CANARY not in found.model_dump_json()


async def test_who_leaves_in_the_middle_of_a_stream_is_seen_to_have_left(stage: Stage) -> None:
    async with stage.http() as http:
        async with http.stream(
            "POST", "/v1/chat/completions", json=ASK | {"max_tokens": 100_000, "stream": True}
        ) as answer:
            chunks = answer.aiter_raw()
            await anext(chunks)
            [under_way] = stage.open()
            found = await http.get(f"/firedeck/v1/accounts/local/requests/{under_way.request_id}")
            assert found.json()["explanation"][-1].startswith("It is still under way")
            listed = await http.get("/firedeck/v1/accounts/local/requests?status=open")
            assert [one["requestId"] for one in listed.json()["requests"]] == [under_way.request_id]
        gone = await stage.traced(answer)
    assert gone.request.status == 499
    assert "The client left after" in gone.explanation[-1]
    assert [event.name for event in gone.spans[0].events][-1] == "firedeck.client_gone"


async def test_who_leaves_with_the_whole_answer_was_answered(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    took, for_ever = Reply.chunk, asyncio.Event()

    async def chunk(reply: Reply) -> bytes:
        """Its end comes later than all that it says."""
        if reply.ended and not reply._parts:
            await for_ever.wait()
        return await took(reply)

    monkeypatch.setattr(Reply, "chunk", chunk)
    async with stage.http() as http, http.stream("POST", "/v1/chat/completions", json=ASK | {"stream": True}) as answer:
        async for line in answer.aiter_lines():
            if line == "data: [DONE]":
                break
    found = await stage.traced(answer)
    assert (found.request.status, found.request.generated_tokens) == (200, ASK["max_tokens"])
    assert "It was answered with 200" in found.explanation[-1]
    meter = stage.home.engine.house.fleet.get(CHAT).meter
    assert (meter.codes["200"], meter.codes["499"]) == (1, 0)


async def test_a_replica_that_dies_under_a_request_is_told_with_the_try_after_it(tmp_path: Path, monkeypatch) -> None:
    async with acting(tmp_path, replicas=2) as stage, stage.http() as http:
        words, go_on = SimulatedReplica._words, asyncio.Event()

        async def held_up(replica: SimulatedReplica, answer: Any) -> AsyncIterator[str]:
            await go_on.wait()
            async for word in words(replica, answer):
                yield word

        monkeypatch.setattr(SimulatedReplica, "_words", held_up)
        keeper = stage.home.engine.house.fleet.get(CHAT)
        asking = asyncio.create_task(http.post("/v1/chat/completions", json=ASK))
        await until(lambda: stage.open() and stage.open()[0].attempts and stage.open()[0].attempts[0].sent_at)
        first = stage.open()[0].replica
        placed = keeper.replicas.replicas[first].placed
        assert placed is not None
        stage.home.engine.house.fleet.rooms.driver.stop(placed, force=True)
        await until(lambda: len(stage.open()[0].attempts) == 2)
        go_on.set()
        answer = await asking
        assert answer.status_code == 200
        found = await stage.traced(answer)
        async with asyncio.timeout(PATIENCE_S):
            while not any("its process died" in line for line in found.explanation):  # told by whoever buries it
                await asyncio.sleep(0.05)
                found = await stage.traced(answer)
    assert found.request.tries == 2
    assert found.request.replica != first
    lost = next(span for span in found.spans if span.name == f"replica {first}")
    assert [event.name for event in lost.events] == [
        "firedeck.replica.lost", "firedeck.replica.died", "firedeck.retry"
    ]  # fmt: skip
    assert lost.error


async def test_it_is_said_what_a_cold_request_waited_for(stage: Stage) -> None:
    async with stage.http() as http, stage.client() as client:
        await client.deployments.create(
            DeploymentSpec(base_model=MODEL, min_replica_count=0, max_replica_count=1), "cold"
        )
        answer = await http.post("/v1/completions", json={"model": "accounts/local/deployments/cold", "prompt": "x"})
        assert answer.status_code == 200
        found = await stage.traced(answer)
    assert any("for a place: no replica took requests then." in line for line in found.explanation), found.explanation


async def test_no_prompt_and_no_answer_is_in_any_span_of_any_route(stage: Stage) -> None:
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": CANARY}], "user": CANARY, "max_tokens": 2}),
        ("/v1/chat/completions", {"messages": [{"role": CANARY, "content": CANARY}], "stream": True, "max_tokens": 2}),
        ("/v1/chat/completions", {"messages": [], "metadata": {CANARY: CANARY}, "prompt_cache_key": CANARY}),
        ("/v1/completions", {"prompt": CANARY, "stop": [CANARY], "stream": CANARY}),
        ("/v1/completions", {"prompt": CANARY, "model": CANARY}),
        ("/v1/completions", {"prompt": CANARY, "max_tokens": CANARY}),
        ("/v1/embeddings", {"input": CANARY}), ("/v1/rerank", {"query": CANARY, "documents": [CANARY]}),
        (f"/v1/{CANARY}", {}), (f"/v1/models/{CANARY}", {}), ("/inference/v1/chat/completions", {"messages": CANARY}),
    ]  # fmt: skip
    headers = {"traceparent": CANARY, "tracestate": f"a={CANARY}", "x-request-id": CANARY, "user-agent": CANARY}
    async with stage.http() as http:
        answers = [await http.post(path, json={"model": CHAT} | body, headers=headers) for path, body in bodies]
        answers.append(await http.get(f"/v1/models/{CANARY}", headers=headers))
        said = next(a for a in answers if a.status_code == 200).json()["choices"][0]["message"]["content"]
        assert "[simulated]" in said
        for answer in answers:
            assert (await stage.traced(answer)).request.status == answer.status_code
        listed = await http.get("/firedeck/v1/accounts/local/requests?pageSize=200")
        whole = [
            (await http.get(f"/firedeck/v1/accounts/local/requests/{one['requestId']}")).text
            for one in listed.json()["requests"]
        ]
    exporter = stage.home.engine._exporter
    assert exporter is not None
    await exporter.close()
    sent = b"".join(stage.collector.bodies)
    assert len(whole) >= len(answers)
    assert f'"{answers[0].headers["x-request-id"]}"'.encode() in sent
    for text in (CANARY, said):
        assert text not in "".join(whole) + listed.text
        assert text.encode() not in sent


async def test_what_is_sent_to_a_collector_is_what_is_shown(stage: Stage) -> None:
    async with stage.http() as http:
        found = await stage.traced(await http.post("/v1/chat/completions", json=ASK))
        metrics = (await http.get("/metrics")).text
    exporter = stage.home.engine._exporter
    assert exporter is not None
    await exporter.close()
    sent = {span.span_id.hex(): span for span in stage.collector.spans()}
    assert {span.span_id: span.name for span in found.spans} == {key: sent[key].name for key in sent}
    for name in ("firedeck_traces_exported_total", "firedeck_trace_export_failures_total"):
        assert re.search(rf"^{name} [0-9.]+$", metrics, re.MULTILINE)
    resource = json.loads(stage.collector.bodies[0])["resourceSpans"][0]["resource"]["attributes"]
    assert {"key": "firedeck.simulated", "value": {"boolValue": True}} in resource


async def test_a_request_is_its_own_accounts_alone_and_the_key_is_named_to_its_owner_and_admins(stage: Stage) -> None:
    person, other = await stage.home.person("eve", "inference-user"), await stage.home.person("bob", "inference-user")
    stranger = await stage.home.stranger()
    async with stage.http(person) as http:
        answer = await http.post("/v1/chat/completions", json=ASK)
    for key, named in ((person, True), (stage.home.admin_key, True), (other, False)):
        found = await stage.traced(answer, key)
        assert found.request.user == "eve"
        assert (found.request.key_id is not None) == named
        assert ("firedeck.key.id" in found.spans[0].attributes) == named
        assert ("(key " in found.explanation[0]) == named
    request_id = answer.headers["x-request-id"]
    async with stage.http(stranger) as http:
        assert (await http.get(f"/firedeck/v1/accounts/local/requests/{request_id}")).status_code == 403
        assert (await http.get("/firedeck/v1/accounts/local/requests")).status_code == 403
        assert (await http.get(f"/firedeck/v1/accounts/elsewhere/requests/{request_id}")).status_code == 404
        assert (await http.get("/firedeck/v1/accounts/elsewhere/requests")).json()["requests"] == []


async def test_lists_are_newest_first_filtered_and_paged(stage: Stage) -> None:
    async with stage.http() as http, stage.client() as client:
        ids = []
        for n in range(5):
            body = ASK | ({"model": "nope"} if n % 2 else {})
            ids.append((await http.post("/v1/chat/completions", json=body)).headers["x-request-id"])
        await until(lambda: not stage.open())
        ids.reverse()

        async def listed(**query: Any) -> list[str]:
            answer = await http.get("/firedeck/v1/accounts/local/requests", params=query)
            return [one["requestId"] for one in answer.raise_for_status().json()["requests"]]

        assert await listed() == ids
        assert await listed(status="404") == await listed(status="4xx") == await listed(status="failed") == ids[1::2]
        assert (
            await listed(status="200") == await listed(deployment="chat") == await listed(deployment=CHAT) == ids[::2]
        )
        assert await listed(slowerThan="1h") == await listed(status="open") == await listed(deployment="other") == []
        assert await listed(slowerThan="0s") == ids
        assert await listed(filter="status=404 OR generatedTokens>100") == ids[1::2]
        assert await listed(filter=f'deployment="{CHAT}" AND ttft_s>0 AND keyId=admin') == ids[::2]
        assert await listed(filter="router:*") == []
        async with stage.http(await stage.home.person("ann", "user")) as other:
            path = "/firedeck/v1/accounts/local/requests"
            hidden = await other.get(path, params={"filter": "keyId:a"})
            assert hidden.json()["requests"] == [], "whose key it was is not told by a filter either"
        first = (await http.get("/firedeck/v1/accounts/local/requests", params={"pageSize": 3})).json()
        assert await listed(pageToken=first["nextPageToken"]) == ids[3:]
        assert [one.request_id for one in (await client.requests.list(limit=4)).requests] == ids[:4]
        for query in (
            {"status": "bad"},
            {"slowerThan": "soon"},
            {"pageToken": "x"},
            {"deployment": "a/b/c/d"},
            {"filter": "nope=1"},
        ):
            answer = await http.get("/firedeck/v1/accounts/local/requests", params=query)
            assert (answer.status_code, answer.json()["code"]) == (400, 3), answer.text
        with pytest.raises(NotFound, match="none any more"):
            await client.requests.get("nope")


async def test_the_command_line_lists_and_explains(stage: Stage) -> None:
    async with stage.http() as http:
        answer = await http.post("/v1/chat/completions", json=ASK | {"stream": True})
    request_id = answer.headers["x-request-id"]
    await stage.traced(answer)
    listed = await asyncio.to_thread(stage.cli, "requests", "--deployment", "chat", "--status", "200")
    assert listed.exit_code == 0, listed.output
    assert listed.output.splitlines()[1].startswith(request_id)
    assert "SIMULATED" in listed.output
    alone = await asyncio.to_thread(stage.cli, "requests", "--filter", "status=200", "-q")
    assert alone.stdout == f"{request_id}\n"
    told = await asyncio.to_thread(stage.cli, "explain", request_id)
    assert told.exit_code == 0, told.output
    assert "the only replica that took requests" in told.output
    rows = told.output[told.output.index("SPAN") :].splitlines()
    assert [line.split("  ")[0] for line in rows[:2]] == ["SPAN", f"chat {MODEL}"]
    assert any(re.match(r"    decode +[0-9.]+ m?s +[0-9.]+ m?s +=+", line) for line in rows)
    as_json = await asyncio.to_thread(stage.cli, "explain", request_id, "-o", "json")
    assert json.loads(as_json.stdout)["request"]["requestId"] == request_id
    wrong = await asyncio.to_thread(stage.cli, "explain", "nope")
    assert (wrong.exit_code, "firedeck requests lists" in wrong.output) == (1, True)
    bad = await asyncio.to_thread(stage.cli, "requests", "--slower-than", "soon")
    assert bad.exit_code == 2


@pytest.mark.parametrize("wrong", ["collector:4318", "grpc://127.0.0.1:4317"])
def test_an_endpoint_that_is_none_is_refused_before_anything_is_started(wrong: str, tmp_path: Path) -> None:
    told = CliRunner().invoke(main, ["serve", "--data-dir", str(tmp_path / "new"), "--otlp-endpoint", wrong])
    assert (told.exit_code, "as http://127.0.0.1:4318" in told.output) == (2, True), told.output
    assert not (tmp_path / "new").exists()
