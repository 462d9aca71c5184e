"""Guards before and behind requests: how they are declared, what they stop, whom their breakers refuse, what is told.

Over real sockets with virtual replicas, whose answers begin with `[simulated]` and say nothing of the prompt.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from client import errors
from client.errors import InvalidArgument, NotFound
from client.guard_types import BreakerSpec, GuardSpec
from client.types import ColdOptions, DeploymentSpec
from engine.access.guards import GUARDS_MAX
from engine.fleet.keeper import Keeper
from engine.gateway import shield
from engine.placement.simulated import replica as simulated
from engine.placement.simulated.replica import SimulatedReplica
from tests.api.test_requests import ASK, CHAT, Stage, acting, until
from tests.house import Home, field_of, home
from tests.processes import contents

PATH = "/v1/chat/completions"
CANARY = "canary-word-3f6d"
GUARDS = "accounts/local/guards"
STOPPED = f'firedeck_guard_verdicts_total{{deployment="{CHAT}",phase="request",verdict="refused"}}'
KEYS = f'firedeck_keys_refused_total{{deployment="{CHAT}"}}'


@pytest.fixture
async def stage(tmp_path) -> AsyncIterator[Stage]:
    async with acting(tmp_path) as found:
        yield found


def keeper_of(stage: Stage) -> Keeper:
    return stage.home.engine.house.fleet.get(CHAT)


def saying(text: str, **more: Any) -> dict[str, Any]:
    return ASK | {"messages": [{"role": "user", "content": text}]} | more


async def counted(http: httpx.AsyncClient, series: str) -> float:
    """Of the process, which may have had other engines."""
    lines = (await http.get("/metrics")).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))


def refused(answer: httpx.Response, status: int = 400, code: str = "GUARD_REFUSED") -> str:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (status, code, "error"), answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    return str(error["message"])


async def test_nothing_stands_in_the_way_where_nothing_was_declared(stage: Stage, monkeypatch) -> None:
    monkeypatch.setattr(shield, "_Shielded", None)  # would fail as soon as it is made
    async with stage.http() as http:
        assert (await http.post(PATH, json=saying("anything"))).status_code == 200


async def test_a_word_in_any_text_of_a_request_is_refused_and_told_to_nobody(stage: Stage) -> None:
    bodies = [
        (PATH, saying(f"say {CANARY.upper()}")),
        (PATH, saying("x") | {"messages": [{"role": "user", "content": [
            {"type": "text", "text": CANARY[:6]}, {"type": "text", "text": CANARY[6:]}]}]}),
        (PATH, saying("x", tools=[{"type": "function", "function": {"name": "f", "parameters": {
            "type": "object", "properties": {CANARY: {"type": "string"}}}}}])),
        (PATH, saying("x", response_format={"type": "grammar", "grammar": f'root ::= "{CANARY}"'})),
        (PATH, saying("x", stream=True, prediction={"type": "content", "content": CANARY})),
        (PATH, saying("x", some_field_of_a_later_year={"deep": [CANARY]})),
        ("/v1/completions", {"model": CHAT, "prompt": ["a", CANARY]}),
        ("/v1/embeddings", {"model": CHAT, "input": CANARY}),
        ("/v1/rerank", {"model": CHAT, "query": "q", "documents": [CANARY]}),
    ]  # fmt: skip
    async with stage.http() as http, stage.client() as client:
        before = await counted(http, STOPPED)
        await client.guards.create("words", GuardSpec(keywords=[CANARY], phases=["request"]))
        for path, body in bodies:
            answer = await http.post(path, json=body)
            message = refused(answer)
            assert message.startswith("guard words of account local refused the request")
            told = await stage.traced(answer)
            assert CANARY not in told.model_dump_json() + answer.text
            assert told.request.error == "GUARD_REFUSED"
            assert any(line.startswith("Guard words was asked about the request") for line in told.explanation)
            assert "guard words of account local refused the request" in told.explanation[-1]
            [span] = [one for one in told.spans if one.name == "guard words"]
            assert span.attributes == {"firedeck.guard.phase": "request", "firedeck.guard.verdict": "refused"}
            assert told.request.tries == 0
        for body in (saying("x", user=CANARY), saying("x", metadata={"a": f"no word but prose: {CANARY}"})):
            assert (await http.post(PATH, json=body)).status_code == 200, "no model sees that"
        ids = await http.post("/v1/completions", json={"model": CHAT, "prompt": [[1, 2, 3]]})
        assert "token ids" in refused(ids, code="INVALID_ARGUMENT")
        assert await counted(http, STOPPED) - before == len(bodies)
        keeper = keeper_of(stage)
        await until(lambda: sum(keeper.meter.codes.values()) == keeper.meter.requests)
        assert keeper.meter.errors == 0
    holders = [
        file.name for file, content in contents(stage.home.data_dir)
        if CANARY.encode() in content and not file.name.startswith("firedeck.db")
    ]  # fmt: skip
    assert holders == [], "the database has it: as the guard's own rule"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_judged_before_any_of_it_is_released(stage: Stage, monkeypatch, stream: bool) -> None:
    words, go_on = SimulatedReplica._words, asyncio.Event()

    async def held_up(replica: SimulatedReplica, answer: Any) -> AsyncIterator[str]:
        number = 0
        async for word in words(replica, answer):
            number += 1
            if number == 2:
                await go_on.wait()
            yield f" {CANARY}" if number == 3 else word

    monkeypatch.setattr(SimulatedReplica, "_words", held_up)
    async with stage.http() as http, stage.client() as client:
        await client.guards.create("words", GuardSpec(keywords=[CANARY], phases=["answer"]))
        asking = asyncio.create_task(http.post(PATH, json=saying(CANARY, stream=stream)))
        await until(lambda: stage.open() and stage.open()[0].attempts and stage.open()[0].attempts[0].sent_at)
        if stream:
            await until(lambda: stage.open()[0].attempts[0].answered_at)
        assert not asking.done()
        go_on.set()
        answer = await asking
        assert refused(answer).startswith("guard words of account local refused the answer")
        told = await stage.traced(answer)
        assert CANARY not in told.model_dump_json()
        assert any(line.startswith("Guard words was asked about the answer") for line in told.explanation)
        assert (told.request.generated_tokens, told.request.tries) == (3, 1), "it was computed, and is accounted"
        await client.guards.update("words", GuardSpec(disabled=True))
        assert (await http.post(PATH, json=saying("x", stream=stream))).status_code == 200


async def test_a_streamed_answer_that_passes_comes_whole_with_its_usage(stage: Stage) -> None:
    async with stage.http() as http, stage.client() as client:
        await client.guards.create("words", GuardSpec(keywords=[CANARY]))
        answer = await http.post(PATH, json=saying("x", stream=True))
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        assert events[-1]["usage"]["completion_tokens"] == 3
        assert answer.text.endswith("data: [DONE]\n\n")
        told = await stage.traced(answer)
        names = [span.name.split(" ")[0] for span in told.spans]
        assert names == ["chat", "admit", "guard", "queue", "route", "replica", "queue", "prefill", "decode", "guard"]
        assert sum("let it pass" in line for line in told.explanation) == 2


def letting(monkeypatch: pytest.MonkeyPatch, *said: str) -> asyncio.Event:
    """Replicas say this, a token each, and the last one only when the event is set."""
    words, go_on = SimulatedReplica._words, asyncio.Event()

    async def spoken(replica: SimulatedReplica, answer: Any) -> AsyncIterator[str]:
        answer.tokens, number = len(said), 0
        async for _ in words(replica, answer):
            number += 1
            if number == len(said):
                await go_on.wait()
            yield said[number - 1]

    monkeypatch.setattr(SimulatedReplica, "_words", spoken)
    return go_on


WINDOWED = GuardSpec(keywords=["forbidden"], patterns=["[0-9]{4}"], phases=["answer"], release="window")


@pytest.mark.parametrize("last", [(" 1234 and more",), (" forbidden",), (" FOR", "bidden"), ("9",)])
async def test_a_windowed_stream_is_let_out_as_it_comes_and_ends_with_the_refusal(
    stage: Stage, monkeypatch, last: tuple[str, ...]
) -> None:
    said, passes = ["one two three four five six seven eight", " nine ten eleven twelve", *last], last == ("9",)
    go_on = letting(monkeypatch, *said)
    async with stage.http() as http, stage.client() as client:
        await client.guards.create("words", WINDOWED)
        async with http.stream("POST", PATH, json=saying("x", stream=True)) as answer:
            events = (line[6:] async for line in answer.aiter_lines() if line.startswith("data: "))
            assert text_of(await anext(events)) == said[0], "it was let out while the rest was not there yet"
            go_on.set()
            rest = [one async for one in events]
        if passes:
            assert rest.pop() == "[DONE]"
            assert "".join(map(text_of, rest)) == "".join(said[1:])
        else:
            error = json.loads(rest.pop())
            assert (error["error"]["code"], error["request_id"]) == ("GUARD_REFUSED", answer.headers["x-request-id"])
            assert "".join(said[1:]).startswith("".join(map(text_of, rest)))
            assert not any(last[0] in text_of(one) for one in rest)
        told = await stage.traced(answer)
        assert told.request.status == (200 if passes else 400)
        assert any(line.startswith("Guard words was asked about the answer") for line in told.explanation)
        used = (await client.usage.tokens(group_by=[])).total
        assert (used.requests, used.failed_requests, used.prompt_tokens > 0) == (1, 0 if passes else 1, True)
        whole = await http.post(PATH, json=saying("x"))
        assert whole.status_code == (200 if passes else 400), "what does not stream is judged whole"


def text_of(event: str) -> str:
    return str(json.loads(event)["choices"][0]["delta"].get("content") or "")


async def test_a_window_is_for_rules_and_for_answers(own: Home) -> None:
    async with own.http(own.admin_key) as http, own.client() as client:
        for spec in ({"keywords": ["x"], "phases": ["request"]}, {"keywords": ["x"], "model": "chat"}):
            path = f"/firedeck/v1/{GUARDS}?guardId=g"
            answer = await http.post(path, json=spec | {"release": "window"})
            assert (answer.status_code, field_of(answer)) in {(400, "release"), (400, "model")}, answer.text
        made = await client.guards.create("g", GuardSpec(keywords=["x"]))
        assert made.release == "whole"
        asked = await client.guards.create("h", GuardSpec(keywords=["x"], phases=["request"]))
        assert asked.release is None


async def test_an_engine_that_stops_tells_who_waits_for_a_judged_stream_in_the_envelope(
    stage: Stage, monkeypatch
) -> None:
    words = SimulatedReplica._words

    async def endless(replica: SimulatedReplica, answer: Any) -> AsyncIterator[str]:
        async for word in words(replica, answer):
            yield word
            break
        await asyncio.Event().wait()

    monkeypatch.setattr(SimulatedReplica, "_words", endless)
    async with stage.http() as http, stage.client() as client:
        await client.guards.create("words", GuardSpec(keywords=[CANARY]))
        asking = asyncio.create_task(http.post(PATH, json=saying("x", stream=True)))
        await until(lambda: stage.open() and stage.open()[0].attempts and stage.open()[0].attempts[0].answered_at)
        stage.home.engine.house.breaking_off.give()
        refused(await asking, 503, "UNAVAILABLE")


async def test_guards_are_of_one_account_and_of_the_deployments_that_they_name(stage: Stage) -> None:
    async with stage.http() as http, stage.client() as client:
        await client.guards.create("words", GuardSpec(keywords=[CANARY], deployments=["elsewhere"]))
        assert (await http.post(PATH, json=saying(CANARY))).status_code == 200
        await client.guards.update("words", GuardSpec(deployments=["chat"]))
        refused(await http.post(PATH, json=saying(CANARY)))
        await client.guards.delete("words")
        assert (await http.post(PATH, json=saying(CANARY))).status_code == 200
        await stage.home.engine.house.access.guards.create("other", GuardSpec(keywords=[CANARY]), "theirs")
        assert (await http.post(PATH, json=saying(CANARY))).status_code == 200


async def test_after_too_many_hits_a_key_is_refused_for_a_while_or_until_an_admin_lets_it_in(stage: Stage) -> None:
    breaker = BreakerSpec(hits=2, window=timedelta(hours=1), refuse_for=timedelta(hours=1))
    key = await stage.home.person("eve", "inference-user")
    async with stage.http(key) as eve, stage.http() as others, stage.client() as client:
        before = await counted(others, KEYS)
        await client.guards.create("words", GuardSpec(keywords=[CANARY], breaker=breaker))
        for _ in range(2):
            refused(await eve.post(PATH, json=saying(CANARY)))
        answer = await eve.post(PATH, json=saying("good"))
        assert "firedeck guard release words --key-id" in refused(answer, 403, "KEY_REFUSED")
        assert 3500 < int(answer.headers["retry-after"]) <= 3600
        told = await stage.traced(answer, key)
        assert "guard words refuses this API key for a while" in told.explanation[-1]
        assert (await others.post(PATH, json=saying("good"))).status_code == 200, "another key"
        [held] = (await client.guards.get("words")).refused_keys or []
        assert held.user == "eve"
        assert timedelta(minutes=50) < held.until - stage.home.engine.house.fleet.rooms.clock.wall()
        [record] = await client.audit_logs.list(filter='message="RefuseKey"')
        assert (record.api_key_id, record.resource) == (held.key_id, f"{GUARDS}/words")
        assert record.status is not None
        assert record.status.code == "KEY_REFUSED"
        events = await client.fleet.events("chat")
        assert [event.reason for event in events].count("KeyRefused") == 1
        assert CANARY not in record.model_dump_json() + "".join(event.message for event in events)
        with pytest.raises(NotFound):
            await client.guards.release("words", "another")
        released = await asyncio.to_thread(stage.cli, "guard", "release", "words", "--key-id", held.key_id)
        assert released.exit_code == 0, released.output
        assert (await eve.post(PATH, json=saying("good"))).status_code == 200
        assert len(await client.audit_logs.list(filter='message="ReleaseKey" AND principal="eve"')) == 0
        assert await counted(others, KEYS) - before == 1
        assert (await client.audit_logs.verify()).valid


@pytest.mark.parametrize("way", ["null", "mask"])
async def test_a_breaker_is_taken_away_and_lets_in_whom_it_refused(stage: Stage, way: str) -> None:
    async with stage.http() as http, stage.client() as client:
        await client.guards.create("no-canaries", GuardSpec(keywords=["canary"], breaker=BreakerSpec(hits=1)))
        refused(await http.post(PATH, json=saying("canary")))
        refused(await http.post(PATH, json=saying("hi")), 403, "KEY_REFUSED")
        query, body = ("", {"breaker": None}) if way == "null" else ("?updateMask=breaker", {})
        path = f"/firedeck/v1/accounts/local/guards/no-canaries{query}"
        rehearsed = await http.patch(f"{path}{'&' if query else '?'}validateOnly=true", json=body)
        assert "breaker" not in rehearsed.json()
        refused(await http.post(PATH, json=saying("hi")), 403, "KEY_REFUSED")
        changed = await http.patch(path, json=body)
        assert (changed.status_code, changed.json()["keywords"]) == (200, ["canary"])
        assert "breaker" not in changed.json()
        assert (await http.post(PATH, json=saying("hi"))).status_code == 200


async def test_a_guard_model_that_gives_no_verdict_lets_through_what_its_failure_mode_says(stage: Stage) -> None:
    async with stage.http() as http, stage.client() as client:
        await client.guards.create("model", GuardSpec(model="chat", phases=["request"]))
        asked = keeper_of(stage).meter.requests
        answer = await http.post(PATH, json=saying("x"))
        message = refused(answer, 503, "UNAVAILABLE")
        assert message.startswith("guard model did not answer")
        assert "retry-after" in answer.headers
        told = await stage.traced(answer)
        assert told.request.tries == 0, "what the guard asked is not the request's own"
        assert any("did not answer" in line for line in told.explanation)
        await until(lambda: keeper_of(stage).meter.requests == asked + 2)  # the request, and the guard's own
        await client.guards.update("model", GuardSpec(on_failure="open"))
        answer = await http.post(PATH, json=saying("x"))
        assert answer.status_code == 200
        told = await stage.traced(answer)
        [span] = [span for span in told.spans if span.name == "guard model"]
        assert span.attributes["firedeck.guard.verdict"] == "unavailable"
        assert told.request.tries == 1


async def test_a_guard_model_is_asked_and_obeyed(stage: Stage, monkeypatch) -> None:
    seen: list[str] = []

    async def judged(replica: SimulatedReplica, answer: Any) -> AsyncIterator[str]:
        yield said[0]

    monkeypatch.setattr(SimulatedReplica, "_words", judged)
    monkeypatch.delitem(simulated._UNHEEDED, "response_format")  # what is said here heeds it
    said = ["safe"]
    async with stage.http() as http, stage.client() as client:
        await client.guards.create("model", GuardSpec(model="chat", phases=["request"], policy="cats"))
        tagged = saying("x", metadata={"team": "search"})
        assert (await http.post(PATH, json=tagged)).status_code == 200
        keeper = keeper_of(stage)
        await until(lambda: keeper.meter.requests == sum(keeper.meter.codes.values()) == 2)
        used = await client.usage.tokens(group_by=["user", "guard", "tag:team"])
        assert [(row.user, row.guard, row.tags, row.requests) for row in used.rows] == [
            ("admin", None, {"team": "search"}, 1), ("admin", f"{GUARDS}/model", {"team": "search"}, 1)
        ]  # fmt: skip
        assert all(row.prompt_tokens > 0 for row in used.rows)
        counted = (keeper.meter.requests, keeper.meter.prompt_tokens, keeper.meter.generated_tokens)
        assert (used.total.requests, used.total.prompt_tokens, used.total.generated_tokens) == counted
        [alone] = (await client.usage.tokens(group_by=["guard"], filter_text="guard:model")).rows
        assert alone.guard == f"{GUARDS}/model"
        for word, status in (("safe", 200), (" unsafe\n", 400), ("unsafe?", 503), ("Safe", 503), ("", 503)):
            said[0] = word
            answer = await http.post(PATH, json=saying("x"))
            assert answer.status_code == status, (word, answer.text)
            seen.append(word)
        await client.deployments.delete("chat", ignore_checks=True)
    assert len(seen) == 5


async def test_an_answer_from_the_cache_has_passed_the_guards_that_stand_now(stage: Stage) -> None:
    zero = saying("x", temperature=0)
    async with stage.http() as http, stage.client() as client:
        await client.deployments.update("chat", DeploymentSpec(firedeck=ColdOptions(response_cache=True)))
        await http.post(PATH, json=zero)
        header = "x-firedeck-response-cache"
        assert (await http.post(PATH, json=zero)).headers[header] == "hit"
        await client.guards.create("words", GuardSpec(keywords=["[simulated]"], phases=["answer"]))
        for _ in range(2):
            refused(await http.post(PATH, json=zero))
        await client.guards.update("words", GuardSpec(keywords=["not there"]))
        assert [(await http.post(PATH, json=zero)).headers[header] for _ in range(2)] == ["miss", "hit"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({}, "keywords"), ({"keywords": [""]}, "keywords"), ({"patterns": ["(a+)+"]}, "patterns"),
        ({"keywords": ["x"], "deployments": ["accounts/other/deployments/d"]}, "deployments"),
        ({"model": "nope"}, "model"), ({"keywords": ["x"], "phases": ["nonsense"]}, "phases"),
        ({"keywords": ["x"], "breaker": {"hits": 0}}, "breaker"), ({"keywords": ["x"], "timeout": "2m"}, "timeout"),
        ({"keywords": ["x"], "breaker": {"hits": 1, "window": "0s"}}, "breaker"), ({"keyword": ["x"]}, "keyword"),
    ],
)  # fmt: skip
async def test_what_is_no_guard_is_refused_by_field(tmp_path, spec, field) -> None:
    async with home(tmp_path / "data") as at, at.http(at.admin_key) as http:
        answer = await http.post(f"/firedeck/v1/{GUARDS}?guardId=g", json=spec)
        assert answer.status_code == 400, answer.text
        assert str(field_of(answer)).startswith(field), answer.text
        assert at.engine.house.access.guards.of("local") == []


async def test_guards_are_stored_and_stand_again_after_a_restart(tmp_path) -> None:
    spec = GuardSpec(keywords=["One"], patterns=["[0-9]{4}"], breaker=BreakerSpec(hits=1), description="d")
    async with home(tmp_path / "data") as at, at.client() as client:
        made = await client.guards.create("g", spec)
        assert (made.phases, made.on_failure, made.refused_keys) == (["request", "answer"], None, None)
        with pytest.raises(errors.AlreadyExists):
            await client.guards.create("g", spec)
        changed = await client.guards.update("g", GuardSpec(keywords=["Two"]))
        assert (changed.keywords, changed.patterns) == (["Two"], ["[0-9]{4}"])
    async with home(tmp_path / "data") as at, at.client() as client:
        [found] = await client.guards.list()
        assert found == changed
        [standing] = at.engine.house.access.guards.on("local", CHAT)
        assert list(standing.rules.found("a TWO b"))[-1]
        await client.guards.delete("g")
        with pytest.raises(NotFound):
            await client.guards.get("g")
    async with home(tmp_path / "data") as at:
        assert at.engine.house.access.guards.of("local") == []


async def test_an_account_has_a_bounded_number_of_guards(own: Home) -> None:
    async with own.client() as client:
        for number in range(GUARDS_MAX):
            await client.guards.create(f"g{number}", GuardSpec(keywords=["x"]))
        with pytest.raises(errors.ResourceExhausted):
            await client.guards.create("one-more", GuardSpec(keywords=["x"]))
        with pytest.raises(InvalidArgument):
            await client.guards.create("Not An Id", GuardSpec(keywords=["x"]))


async def test_the_command_line_declares_shows_and_takes_away_guards(stage: Stage) -> None:
    async def cli(*words: str) -> str:
        done = await asyncio.to_thread(stage.cli, *words)
        assert done.exit_code == 0, done.output
        return str(done.stdout)

    assert "guard-a" in await cli("guard", "create", "guard-a", "--keyword", "x y", "--phase", "request", "-q")
    shown = await cli("update", "guard", "guard-a", "--breaker-hits", "3", "--breaker-refuse-for", "1h")
    assert "3 within 10m0s: refused for 1h0m0s" in shown
    shown = await cli("guard", "update", "guard-a", "--breaker-hits", "5", "--pattern", "[0-9]{3}")
    assert "5 within 10m0s: refused for 1h0m0s" in shown
    assert "1 keyword, 1 pattern" in shown
    await cli("guard", "create", "guard-b", "--model", "chat", "--policy", "cats", "--on-failure", "open")
    listed = json.loads(await cli("list", "guards", "-o", "json"))
    assert [(one["name"], one.get("onFailure")) for one in listed] == [
        (f"{GUARDS}/guard-a", None), (f"{GUARDS}/guard-b", "open")
    ]  # fmt: skip
    assert "disabled" in await cli("guard", "update", "guard-b", "--disabled")
    kept = await cli("guard", "list", "-o", "json")
    for words in ("create guard-c --keyword z", "update guard-a --no-breaker", "delete guard-a guard-b"):
        dry = await asyncio.to_thread(stage.cli, "guard", *words.split(), "--dry-run")
        assert dry.stderr.startswith("dry run: nothing was changed; "), dry.output
        assert dry.stdout
    assert await cli("guard", "list", "-o", "json") == kept
    assert "Breaker: -\n" in await cli("guard", "update", "guard-a", "--no-breaker")
    both = await asyncio.to_thread(stage.cli, "guard", "update", "guard-a", "--no-breaker", "--breaker-hits", "3")
    assert both.exit_code == 2
    await cli("guard", "delete", "guard-a", "guard-b")
    assert json.loads(await cli("guard", "list", "-o", "json")) == []
