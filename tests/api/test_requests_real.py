"""The traces of requests to a real model: what its replica reports of itself lies in the spans, for streams too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from click.testing import CliRunner

from client.cli.main import main
from tests.conftest import SHARED, deploy
from tests.processes import PATIENCE_S, EngineProcess, poll

pytestmark = pytest.mark.model
DEPLOYMENT = f"accounts/local/deployments/{SHARED}"
CANARY = "canary-prompt-51d0"
TEXT = f"{CANARY}. The quick brown fox jumps over the lazy dog, and then it rests in the shade of an old tree. " * 3


def client_of(engine: EngineProcess) -> httpx.Client:
    headers = {"authorization": f"Bearer {engine.key}"}
    return httpx.Client(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S)


def traced(http: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    path = f"/firedeck/v1/accounts/local/requests/{answer.headers['x-request-id']}"
    poll(lambda: "status" in http.get(path).raise_for_status().json()["request"])
    found: dict[str, Any] = http.get(path).json()
    assert CANARY not in json.dumps(found)
    return found


def spans(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By name, those of the replica before the gateway's queue of the same name."""
    return {("gateway " if span["name"] == "queue" and at < 4 else "") + span["name"].split(" ")[0]: span
            for at, span in enumerate(found["spans"])}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_replica_measured_is_in_the_spans(engine: EngineProcess, stream: bool) -> None:
    body = {
        "model": DEPLOYMENT,
        "prompt": TEXT,
        "max_tokens": 8,
        "temperature": 0,
        "stream": stream,
        "ignore_eos": True,
    }
    with client_of(engine) as http:
        http.post("/v1/completions", json=body).raise_for_status()
        answer = http.post("/v1/completions", json=body).raise_for_status()
        assert "server-timing" not in answer.headers, "that is between the replica and the gateway"
        found = traced(http, answer)
    one, by_name = found["request"], spans(found)
    assert one["generatedTokens"] == 8
    assert one["cachedTokens"] > 20
    assert one["ttftS"] > 0
    assert list(by_name) == [
        "text_completion", "admit", "gateway queue", "route", "replica", "tokenize", "queue", "prefill", "decode"
    ]  # fmt: skip
    replica = by_name["replica"]
    assert replica["attributes"]["gen_ai.usage.cache_read.input_tokens"] == one["cachedTokens"]
    inside = sum(by_name[name]["durationMs"] for name in ("tokenize", "queue", "prefill", "decode"))
    assert 0 < inside <= replica["durationMs"] * 1.001
    assert by_name["prefill"]["durationMs"] > 0
    told = " ".join(found["explanation"])
    assert f"Its {one['promptTokens']} prompt tokens, {one['cachedTokens']} of them cached, took" in told
    assert "in the replica's own queue. 8 tokens were generated in" in told


@pytest.mark.parametrize("stream", [False, True])
def test_of_speculation_is_told_what_the_replica_tells(engine: EngineProcess, stream: bool) -> None:
    """Whether drafts pay is measured there, so that there may be none."""
    body = {"model": DEPLOYMENT, "prompt": "One, two, three, four,", "max_tokens": 24, "temperature": 0}
    with client_of(engine) as http:
        text = http.post("/v1/completions", json=body).json()["choices"][0]["text"]
        body |= {"prediction": {"type": "content", "content": text}, "stream": stream}
        before = drafts(http)
        found = traced(http, http.post("/v1/completions", json=body).raise_for_status())
        accepted, rejected = (now - then for now, then in zip(drafts(http), before, strict=True))
    told = spans(found)["replica"]["attributes"]
    print(f"{accepted} accepted, {rejected} rejected")
    assert told.get("firedeck.speculation.accepted", 0) == accepted
    assert told.get("firedeck.speculation.drafted", 0) == accepted + rejected
    said = f"{accepted} of {accepted + rejected} drafted tokens were accepted"
    assert any(said in line for line in found["explanation"]) == bool(accepted + rejected)


def drafts(http: httpx.Client) -> tuple[int, int]:
    """Tokens that were drafted for all requests of the account, as they are on its bill: accepted and rejected."""
    told = http.get("/firedeck/v1/accounts/local/usage:tokens").raise_for_status().json()
    return told["total"].get("acceptedDraftTokens", 0), told["total"].get("rejectedDraftTokens", 0)


def test_what_a_replica_refuses_is_told_without_its_words(engine: EngineProcess) -> None:
    with client_of(engine) as http:
        body = {"model": DEPLOYMENT, "prompt": "x", "max_tokens": 1, "stop": [[CANARY]]}
        answer = http.post("/v1/completions", json=body)
        assert answer.status_code == 400
        found = traced(http, answer)
    assert "The replica refused it: 400." in found["explanation"]
    assert found["explanation"][-1].endswith("the request itself is wrong, and its answer says where.")


@pytest.fixture
def mortal(engine: EngineProcess) -> Iterator[psutil.Process]:
    """The one replica of a deployment `mortal`."""
    before = {one.pid for one in engine.replicas()}
    asyncio.run(deploy(engine, "mortal", min_replica_count=1, max_replica_count=1))
    [replica] = [one for one in engine.replicas() if one.pid not in before]
    yield replica
    with client_of(engine) as http:
        http.delete("/v1/accounts/local/deployments/mortal?hard=true&ignoreChecks=true").raise_for_status()


def test_a_real_replica_killed_under_a_stream_is_told_as_a_death(engine: EngineProcess, mortal: psutil.Process) -> None:
    with client_of(engine) as http:
        body = {"model": "accounts/local/deployments/mortal", "prompt": "Hi", "max_tokens": 1500, "stream": True,
                "ignore_eos": True}  # fmt: skip
        with http.stream("POST", "/v1/completions", json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            mortal.kill()
            path = f"/firedeck/v1/accounts/local/requests/{answer.headers['x-request-id']}"
            # It goes on elsewhere, and then its client leaves.
            poll(lambda: http.get(path).raise_for_status().json()["request"].get("tries") == 2)
            lines.close()
        poll(lambda: any("its process died" in line for line in traced(http, answer)["explanation"]))
        replica = next(span for span in traced(http, answer)["spans"] if span["name"].startswith("replica "))
        assert [event["name"] for event in replica["events"]][:2] == ["firedeck.replica.lost", "firedeck.replica.died"]
        told = CliRunner().invoke(
            main,
            ["explain", answer.headers["x-request-id"], "--base-url", engine.context.base_url, "--api-key", engine.key],
        )
    assert told.exit_code == 0, told.output
    assert "That replica was lost" in told.output
