"""Equal requests answered once: over real sockets, with virtual replicas whose every answer is another one."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import timedelta
from typing import Any

import httpx
import pytest

from client.resources import Client
from client.types import ColdOptions, DeploymentSpec
from engine.control.limits import Kind
from engine.fleet.keeper import Keeper
from tests.api.test_requests import ASK, CHAT, Stage, acting, until
from tests.virtual import virtual

HEADER = "x-firedeck-response-cache"
ZERO = ASK | {"temperature": 0, "max_tokens": 12}
PATH = "/v1/chat/completions"
SEED = 20_261_122


@pytest.fixture
async def stage(tmp_path):
    async with acting(tmp_path) as found:
        yield found


def keeper_of(stage: Stage) -> Keeper:
    return stage.home.engine.house.fleet.get(CHAT)


async def switch(client: Client, on: bool = True, **more: Any) -> None:
    await client.deployments.update("chat", DeploymentSpec(firedeck=ColdOptions(response_cache=on, **more)))


async def ask(http: httpx.AsyncClient, path: str = PATH, **more: Any) -> httpx.Response:
    headers = more.pop("headers", {})
    answer = await http.post(path, json=ZERO | more, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def text_of(answer: httpx.Response) -> str:
    if "event-stream" not in answer.headers["content-type"]:
        choice = answer.json()["choices"][0]
        return str(choice["message"]["content"] if "message" in choice else choice["text"])
    assert answer.text.endswith("data: [DONE]\n\n")
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    assert events[-1]["usage"]["completion_tokens"] == 12
    said = [c.get("delta", {}).get("content") or c.get("text") or "" for e in events for c in e["choices"]]
    return "".join(said)


async def test_it_is_off_until_a_deployment_switches_it_on_and_off_again_afterwards(stage: Stage) -> None:
    async with stage.http() as http, stage.client() as client:
        off = [await ask(http) for _ in range(2)]
        assert len({text_of(answer) for answer in off}) == 2
        assert not any(HEADER in answer.headers for answer in off)
        await switch(client)
        declared = (await client.deployments.get("chat")).firedeck
        assert declared is not None
        assert declared.response_cache_ttl == timedelta(minutes=5)
        first, second = [await ask(http) for _ in range(2)]
        assert (first.headers[HEADER], second.headers[HEADER]) == ("miss", "hit")
        assert text_of(first) == text_of(second)
        assert second.headers["x-firedeck-simulated"] == "true"
        assert int(second.headers["age"]) < 300
        await switch(client, on=False)
        assert HEADER not in (await ask(http)).headers


async def test_both_forms_of_an_answer_are_served_from_either(stage: Stage) -> None:
    async with stage.http() as http, stage.client() as client:
        await switch(client)
        for number, stream in enumerate((False, True)):
            for path, prompt in ((PATH, {}), ("/v1/completions", {"prompt": "once", "messages": None})):
                asked = {"seed": number, **prompt}
                first = await ask(http, path, stream=stream, **asked)
                again = [await ask(http, path, stream=form, **asked) for form in (stream, not stream)]
                assert [answer.headers.get(HEADER) for answer in (first, *again)] == ["miss", "hit", "hit"]
                assert len({text_of(answer) for answer in (first, *again)}) == 1
                whole = next(answer.json() for answer in again if answer.headers["content-type"] == "application/json")
                usage = whole["usage"]
                assert usage["prompt_tokens_details"] == {"cached_tokens": usage["prompt_tokens"]}
                assert usage["completion_tokens"] == 12


async def test_requests_that_differ_or_may_not_be_cached_are_computed(stage: Stage) -> None:
    async with stage.http() as http, stage.client() as client:
        await switch(client)
        first = text_of(await ask(http))
        for more in (
            {"max_tokens": 11}, {"seed": 1}, {"messages": [{"role": "user", "content": "Ho"}]},
            {"headers": {"x-prompt-cache-isolation-key": "k"}}, {"prompt_cache_isolation_key": "l"},
            {"temperature": 0.5}, {"headers": {"cache-control": "no-store"}}, {"prompt_cache_max_len": 0},
        ):  # fmt: skip
            answer = await ask(http, **more)
            assert answer.headers.get(HEADER) != "hit", more
            assert answer.json()["choices"][0]["message"]["content"] != first, more
        assert text_of(await ask(http, user="ada", metadata={"a": "b"}, model=f"{CHAT}")) == first


async def test_another_account_never_gets_an_answer_that_was_kept(stage: Stage) -> None:
    key = await stage.home.stranger()
    async with stage.http() as http, stage.client() as client, stage.http(key) as other:
        await switch(client)
        await ask(http)
        assert (await ask(http)).headers[HEADER] == "hit"
        refused = await other.post(PATH, json=ZERO)
        assert refused.status_code == 404
        assert HEADER not in refused.headers


async def test_a_change_of_the_settings_that_change_the_text_ends_what_was_kept(stage: Stage) -> None:
    async with stage.http() as http, stage.client() as client:
        await switch(client)
        first = text_of(await ask(http))
        await client.deployments.update("chat", DeploymentSpec(max_context_length=1024))
        answer = await ask(http)
        assert answer.headers[HEADER] == "miss"
        assert text_of(answer) != first
        keeper = keeper_of(stage)
        await until(lambda: all(r.generation == keeper.generation for r in keeper.ready()) and keeper.ready())
        await client.deployments.update("chat", DeploymentSpec(max_context_length=None, display_name="renamed"))
        kept = text_of(await ask(http))
        assert text_of(await ask(http)) == kept


async def test_what_an_older_replica_answers_while_a_roll_out_is_under_way_is_not_kept(
    stage: Stage, monkeypatch
) -> None:
    async with stage.http() as http, stage.client() as client:
        await switch(client)
        monkeypatch.setattr(Keeper, "generation", property(lambda keeper: "newer"))
        assert [(await ask(http)).headers[HEADER] for _ in range(2)] == ["miss", "miss"]


async def test_a_hit_is_a_request_without_tokens_for_limits_figures_and_load(stage: Stage) -> None:
    async with stage.http() as http, stage.client() as client:
        await switch(client)
        await ask(http)
        await client.quotas.update("requests-per-minute", 4)
        await client.quotas.update("generated-tokens-per-minute", 40)
        keeper = keeper_of(stage)
        before = keeper.meter.generated_tokens, keeper.meter.prompt_tokens, keeper.meter.computed
        used = stage.home.engine.gateway.admission.used
        for _ in range(2):
            hit = await ask(http)
            assert hit.headers[HEADER] == "hit"
            assert hit.headers["x-ratelimit-remaining-tokens-generated"] == "16", "the estimate, while it is under way"
            await until(lambda: used("accounts/local", Kind.GENERATED) == 12)  # those of the one that was computed
        await until(lambda: keeper.meter.codes["200"] == keeper.meter.requests)
        assert (keeper.meter.generated_tokens, keeper.meter.prompt_tokens, keeper.meter.computed) == before
        assert (await ask(http)).headers["x-ratelimit-remaining-requests"] == "0"
        assert (await http.post(PATH, json=ZERO)).status_code == 429


async def test_an_answer_that_a_limit_made_shorter_is_not_kept(stage: Stage) -> None:
    async with stage.http() as http, stage.client() as client:
        await switch(client)
        await client.quotas.update("generated-tokens-per-minute", 1)
        short = await ask(http)
        assert short.headers["x-firedeck-max-tokens"] == "1"
        assert short.json()["usage"]["completion_tokens"] == 1
        await client.quotas.update("generated-tokens-per-minute", 1_000_000)
        whole = await ask(http)
        assert whole.headers[HEADER] == "miss"
        assert len(text_of(whole)) > len(text_of(short))
        assert (await ask(http)).headers[HEADER] == "hit"


async def test_a_deployment_without_replicas_answers_from_the_cache_and_is_not_woken(stage: Stage) -> None:
    async with stage.http() as http, stage.client() as client:
        await switch(client)
        first = text_of(await ask(http))
        await client.deployments.update("chat", DeploymentSpec(min_replica_count=0))
        await client.deployments.scale("chat", 0)
        keeper = keeper_of(stage)
        await until(lambda: not list(keeper.replicas))
        assert text_of(await ask(http)) == first
        answered_at = keeper.autoscaler.decided_at
        await until(lambda: keeper.autoscaler.decided_at > answered_at)
        assert keeper.decision is not None
        assert keeper.decision.desired == 0
        assert not list(keeper.replicas)


async def test_hits_are_explained_traced_counted_and_shown(stage: Stage) -> None:
    async with stage.http() as http, stage.client() as client:
        await switch(client)
        miss, hit = await ask(http), await ask(http)
        told = await stage.traced(miss)
        assert "The response cache had no answer to it." in told.explanation
        assert told.spans[0].attributes["firedeck.response_cache"] == "miss"
        told = await stage.traced(hit)
        assert told.spans[0].attributes["firedeck.response_cache"] == "hit"
        [looked] = [one for one in told.spans if one.name == "response cache"]
        assert looked.attributes["firedeck.response_cache"] == "hit"
        assert "gen_ai.usage.output_tokens" not in told.spans[0].attributes
        assert any("no replica was asked, and no tokens were computed" in line for line in told.explanation)
        assert told.request.tries == 0
        metrics = (await http.get("/metrics")).text
        name = f'firedeck_response_cache_requests_total{{deployment="{CHAT}",result="hit"}}'
        assert name in metrics
        stats = (await client.fleet.status(CHAT)).stats
        assert (stats.response_cache_hits_total, stats.response_cache_misses_total) == (1, 1)
    shown = await asyncio.to_thread(stage.cli, "deployment", "get", "chat")
    assert "Response Cache: on, for 5m" in shown.stdout
    scale = ("scale", "chat", "--replica-count", "1")
    for words in (("get", "chat"), ("update", "chat", "--display-name", "x"), scale):
        shown = await asyncio.to_thread(stage.cli, "deployment", *words)
        assert "Response Cache Hits: 1 of 2 requests (50 %)" in shown.stdout, shown.output


async def test_an_answer_that_failed_or_was_left_is_not_kept(stage: Stage) -> None:
    async with stage.http() as http, stage.client() as client:
        await switch(client)
        wrong = [await http.post(PATH, json=ZERO | {"n": 2}) for _ in range(2)]
        assert [(answer.status_code, answer.headers[HEADER]) for answer in wrong] == [(400, "miss")] * 2
        async with http.stream("POST", PATH, json=ZERO | {"max_tokens": 50_000, "stream": True}) as left:
            await anext(left.aiter_raw())
        assert len(stage.home.engine.gateway.shield.cached.store) == 0


async def test_a_change_of_the_time_to_live_is_refused_beyond_a_day(stage: Stage) -> None:
    async with stage.http() as http:
        for ttl in ("0s", "90000s"):
            body = {"firedeck": {"responseCache": True, "responseCacheTtl": ttl}}
            answer = await http.patch(f"/v1/{CHAT}", json=body)
            assert answer.status_code == 400
            assert "responseCacheTtl" in answer.text


async def test_no_answer_crosses_accounts_isolation_keys_or_prompts_nor_outlives_its_time(tmp_path) -> None:
    """T58, through the whole gateway: hits and misses are just those that a dictionary by all of these has."""
    chance = random.Random(SEED)
    kept: dict[tuple[object, ...], tuple[str, float]] = {}
    async with virtual(tmp_path / "virtual") as at:
        _, other_key = await at.engine.house.keyring.create("elsewhere", "root", "admin", "", None)
        keys = {"local": at.admin_key, "elsewhere": other_key}
        for account, key in keys.items():
            async with at.client(key, account) as client:
                await at.deploy(client, "chat")
                await switch(client, response_cache_ttl=timedelta(seconds=30))
        seen = {"hit": 0, "miss": 0}
        async with at.http(at.admin_key) as http:
            for step in range(100):
                account, isolation, in_body = (
                    chance.choice([*keys]),
                    chance.choice(["", "a", "b"]),
                    chance.random() < 0.5,
                )
                prompt, stream = chance.choice(["x", "y"]), chance.random() < 0.5
                body = {
                    "model": f"accounts/{account}/deployments/chat", "prompt": prompt, "max_tokens": 1,
                    "temperature": 0, "stream": stream,
                }  # fmt: skip
                headers = {"authorization": f"Bearer {keys[account]}"}
                if isolation and in_body:
                    body["prompt_cache_isolation_key"] = isolation
                elif isolation:
                    headers["x-prompt-cache-isolation-key"] = isolation
                whose, now = (account, isolation, prompt), at.clock.monotonic()
                expected = whose in kept and now - kept[whose][1] < 30
                answer = await http.post("/v1/completions", json=body, headers=headers)
                at_fault = f"seed {SEED}, step {step}, {whose}: {answer.text}"
                assert answer.headers.get(HEADER) == ("hit" if expected else "miss"), at_fault
                identifier = json.loads(answer.text.split("data: ")[1] if stream else answer.text)["id"]
                if expected:
                    assert identifier == kept[whose][0], at_fault
                else:
                    assert identifier not in {each for each, _ in kept.values()}, at_fault
                    kept[whose] = identifier, now
                seen[answer.headers[HEADER]] += 1
                if chance.random() < 0.1:
                    await at.pass_time(chance.choice((6.0, 16.0)))
    assert min(seen.values()) > 15, "both were to be seen"
    print(f"seed {SEED}: {seen}")
