"""What the headers of an answer say, and that all of them are documented: on a simulated fleet, over real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import openai
import pytest

from client.guard_types import GuardSpec
from client.types import ColdOptions, DeploymentSpec
from engine.gateway.documented_headers import GENERATED
from engine.perf_headers import perf_headers
from tests.api.test_requests import ASK, CHAT, Stage, acting
from tests.documented import check_headers

PATH = "/v1/chat/completions"
ZERO = ASK | {"temperature": 0, "perf_metrics_in_response": True}
# What a fleet without a model has nothing to tell of: it cuts no text into tokens, and drafts none.
UNTOLD = ("tokenizer", "speculation")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with acting(tmp_path) as found:
        yield found


def metrics(answer: httpx.Response) -> dict[str, str]:
    return {name.removeprefix("fireworks-"): value for name, value in answer.headers.items() if "fireworks-" in name}


def as_told(perf: dict[str, object]) -> dict[str, str]:
    return {name.decode().removeprefix("fireworks-"): value.decode() for name, value in perf_headers(perf)}


def test_numbers_are_plain_decimals_which_every_client_reads() -> None:
    perf = {"a": 5e-06, "b": 0.0, "c": 12.5, "d": 7, "e": "x", "f": 100.0}
    assert as_told(perf) == {"a": "0.000005", "b": "0", "c": "12.5", "d": "7", "e": "x", "f": "100"}


async def test_a_simulated_answer_has_the_perf_metrics_that_are_true_of_it(stage: Stage) -> None:
    async with stage.http() as http:
        answer = await http.post(PATH, json=ASK | {"perf_metrics_in_response": True})
        stream = await http.post(PATH, json=ASK | {"perf_metrics_in_response": True, "stream": True})
    found, body = metrics(answer), answer.json()
    told = {name.removeprefix("fireworks-") for name in GENERATED if not any(word in name for word in UNTOLD)}
    assert found.keys() == told
    assert found == as_told(body["perf_metrics"])
    assert found["deployment"] == CHAT
    assert int(found["prompt-tokens"]) == body["usage"]["prompt_tokens"]
    assert found["cached-prompt-tokens"] == "0"
    whole_s = float(found["server-processing-time"])
    parts = sum(float(found[name]) for name in ("prefill-queue-duration", "prefill-duration", "generation-duration"))
    assert parts == pytest.approx(whole_s, abs=1e-5)
    assert not metrics(stream), "a stream has them in its last chunk"
    last = json.loads(stream.text.split("data: ")[-2])
    assert last["perf_metrics"].keys() == told
    assert {one.headers["x-firedeck-simulated"] for one in (answer, stream)} == {"true"}
    found_in = await stage.traced(answer)
    assert {span.name for span in found_in.spans} >= {"prefill", "decode"}


async def test_a_hit_of_the_response_cache_tells_its_own_figures_and_none_of_the_replica_s(stage: Stage) -> None:
    async with stage.http() as http, stage.client() as client:
        await client.deployments.update("chat", DeploymentSpec(firedeck=ColdOptions(response_cache=True)))
        for stream in (False, True):
            miss, hit = [await http.post(PATH, json=ZERO | {"stream": stream}) for _ in range(2)]
            assert [one.headers["x-firedeck-response-cache"] for one in (miss, hit)] == ["miss", "hit"]
            body = json.loads(hit.text.split("data: ")[-2]) if stream else hit.json()
            found = as_told(body["perf_metrics"])
            assert metrics(hit) == ({} if stream else found)
            assert found.keys() == {
                "prompt-tokens", "cached-prompt-tokens", "server-time-to-first-token", "server-processing-time",
                "deployment",
            }  # fmt: skip
            prompt = str(body["usage"]["prompt_tokens"])
            assert {found["prompt-tokens"], found["cached-prompt-tokens"]} == {prompt}
            assert found["deployment"] == CHAT


async def test_headers_of_hits_misses_limits_refusals_and_lists_are_documented(stage: Stage) -> None:
    inner = "/chat/completions"
    async with stage.http() as http, stage.client() as client, stage.http("fd_wrong") as wrong:
        await client.deployments.update("chat", DeploymentSpec(firedeck=ColdOptions(response_cache=True)))
        await client.guards.create("words", GuardSpec(phases=["request"], keywords=["unwanted"]))
        await client.quotas.update("requests-per-minute", 5)
        refused = ZERO | {"messages": [{"role": "user", "content": "unwanted"}]}
        asked = [ZERO, ZERO, ZERO | {"stream": True}, ZERO | {"n": 2}, refused, ZERO]
        answers = [await http.post(PATH, json=body) for body in asked]
        assert [one.status_code for one in answers] == [200, 200, 200, 400, 400, 429]
        assert [one.headers["x-ratelimit-over-limit"] for one in answers] == ["no"] * 5 + ["yes"]
        for answer in [*answers, await wrong.post(PATH, json=ZERO)]:
            check_headers("post", inner, answer.status_code, answer.headers)
        listed = await http.get("/v1/models")
        check_headers("get", "/models", listed.status_code, listed.headers)


async def test_query_parameters_are_passed_over_on_inference_routes_as_sdks_may_send_them(stage: Stage) -> None:
    query = {"api-version": "2024-10-21", "beta": "true"}
    async with (
        stage.http() as http,
        openai.AsyncOpenAI(base_url=f"{stage.url}/v1", api_key=stage.home.admin_key, default_query=query) as sdk,
    ):
        chat = await sdk.chat.completions.create(
            model=CHAT, messages=[{"role": "user", "content": "Hi"}], max_tokens=1, extra_query={"seed": "1"}
        )
        text = await sdk.completions.create(model=CHAT, prompt="Hi", max_tokens=1)
        assert (chat.choices[0].finish_reason, text.choices[0].finish_reason) == ("length", "length")
        assert CHAT in [model.id async for model in sdk.models.list()]
        assert (await sdk.models.retrieve(CHAT)).id == CHAT
        refused = await http.get("/firedeck/v1/accounts/local/requests", params={"beta": "true"})
        assert refused.status_code == 400, "the control plane's are switches"
