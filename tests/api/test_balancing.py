"""Which replica takes a request, on a running engine with two simulated replicas: prefixes, sessions, replicas that
fail requests, and retries that end.

A whole engine in this process, real sockets between client, gateway and replicas.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from client.errors import Internal, Unavailable
from client.fleet_types import Event
from client.resources import Client
from client.trace_types import RequestTrace
from client.types import DeploymentSpec
from engine.clock import FakeClock
from engine.control.outliers import IN_A_ROW, OUT_MAX_S
from engine.control.retries import SHARE
from engine.control.route import PREFETCH, home
from engine.fleet.keeper import Keeper
from engine.gateway.prompt import prompt_of
from engine.placement.simulated.replica import SimulatedReplica
from tests.api.test_requests import CHAT, Stage, acting, until
from tests.processes import PATIENCE_S

PATH = "/v1/chat/completions"
LONG = "Of all that was said in the house by the sea, this was remembered longest. " * 20


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Stage]:
    async with acting(tmp_path, replicas=2) as stage:
        yield stage


def keeper_of(stage: Stage) -> Keeper:
    return stage.home.engine.house.fleet.get(CHAT)


def body(*said: str, **more: Any) -> dict[str, Any]:
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(said)]
    return {"model": CHAT, "messages": messages, "max_tokens": 2, **more}


async def asked(stage: Stage, http: httpx.AsyncClient, what: dict[str, Any], **headers: str) -> RequestTrace:
    answer = await http.post(PATH, json=what, headers=headers)
    assert answer.status_code == 200, answer.text
    return await stage.traced(answer)


async def counted(http: httpx.AsyncClient, name: str) -> dict[str, float]:
    """By reason, or as "" where there is none."""
    series = rf'^{name}_total{{deployment="{CHAT}"(?:,reason="(\w+)")?}} (\S+)$'
    found = re.findall(series, (await http.get("/metrics")).text, re.MULTILINE)
    return {reason: float(value) for reason, value in found}


async def test_a_conversation_of_many_turns_stays_where_its_prefix_is(pair: Stage) -> None:
    async with pair.http() as http:
        before = await counted(http, "firedeck_requests_routed")
        said = {topic: [f"{topic} {LONG}"] for topic in ("sails", "tides", "gulls")}
        at = {topic: (await asked(pair, http, body(*turns))).request.replica for topic, turns in said.items()}
        assert len(set(at.values())) == 2, "new ones use the memory of both"
        for turn in range(3):
            for topic, turns in said.items():
                turns += [f"Yes. {LONG}", f"And in turn {turn}?"]
                found = await asked(pair, http, body(*turns, stream=bool(turn % 2)))
                assert found.request.replica == at[topic]
                told = " ".join(found.explanation)
                assert re.search(r"was taken: the one that had read the first [\d,]+ of its [\d,]+ characters", told), (
                    told
                )
                route = next(span for span in found.spans if span.name == "route")
                assert route.attributes["firedeck.route.rule"] == "prefix"
                assert route.attributes["firedeck.route.cached_characters"] >= 1024
        after = await counted(http, "firedeck_requests_routed")
    assert after["prefix"] - before.get("prefix", 0) == 9
    assert "gulls" not in str(await asyncio.to_thread(lambda: keeper_of(pair).balancer.__dict__))


async def test_a_session_stays_at_its_home_however_it_is_named(pair: Stage) -> None:
    names = [replica.id for replica in keeper_of(pair).ready()]
    used = Counter[str]()
    async with pair.http() as http:
        for session in ("ada", "bob", "eve", "kim", "lea", "max"):
            at = home(prompt_of({"user": session}, {}, None).session, names)
            assert at is not None
            for n, way in enumerate(("user", "prompt_cache_key", "x-session-affinity", "x-multi-turn-session-id")):
                field = {} if way.startswith("x-") else {way: session}
                header = {way: session} if way.startswith("x-") else {}
                found = await asked(pair, http, body(f"{n} has nothing in common with the others", **field), **header)
                assert found.request.replica == at
                assert "the home of its session among 2 replicas" in " ".join(found.explanation)
            used[at] += 1
    assert len(used) == 2, "six sessions have one home by a chance of one in 32: their names were chosen"


async def test_a_deployment_that_declines_sessions_does_not_look_at_them(pair: Stage) -> None:
    async with pair.client() as client, pair.http() as http:
        await client.deployments.update("chat", DeploymentSpec(enable_session_affinity=False))
        found = await asked(pair, http, body("Hi", user="ada"))
    assert "session" not in " ".join(found.explanation)


async def told(client: Client, reason: str) -> Event:
    """The one event with this reason, once it is written: requests are answered before that."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := [event for event in await client.fleet.events("chat") if event.reason == reason]):
            await asyncio.sleep(0.02)
    [event] = found
    return event


async def test_a_replica_that_fails_requests_gets_none_for_a_while_and_is_back_after_it(
    pair: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, seen, generate = keeper_of(pair), Counter[str](), SimulatedReplica._generate
    clock = FakeClock()
    monkeypatch.setattr(keeper.balancer, "_clock", clock)
    bad = home(prompt_of({"user": "ada"}, {}, None).session, [r.id for r in keeper.ready()])

    async def failing(replica: SimulatedReplica, raw: bytes, send: Any, bound: int | None, *, chat: bool) -> None:
        seen[replica._launch.replica] += 1
        if replica._launch.replica == bad:
            raise Internal("the simulated replica fails")
        await generate(replica, raw, send, bound, chat=chat)

    monkeypatch.setattr(SimulatedReplica, "_generate", failing)
    async with pair.http() as http, pair.client() as client:
        statuses, before = [], (await counted(http, "firedeck_replicas_ejected")).get("", 0.0)
        for _ in range(IN_A_ROW + 20):
            answer = await http.post(PATH, json=body("Hi", user="ada"))
            await pair.traced(answer)  # its place is free again
            statuses.append(answer.status_code)
        assert statuses == [500] * IN_A_ROW + [200] * 20
        assert seen[bad or ""] == IN_A_ROW
        found = await asked(pair, http, body("Hi", user="ada"))
        assert "1 replica that failed other requests got none" in " ".join(found.explanation)
        assert await counted(http, "firedeck_replicas_ejected") == {"": before + 1.0}
        event = await told(client, "ReplicaEjected")
        assert (event.replica, "5 requests in a row failed there" in event.message) == (bad, True)
        monkeypatch.setattr(SimulatedReplica, "_generate", generate)
        clock.advance(OUT_MAX_S)
        found = await asked(pair, http, body("Hi", user="ada"))
    assert found.request.replica == bad


async def test_where_all_replicas_refuse_requests_are_tried_again_only_so_often(
    pair: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, sent = keeper_of(pair), 0
    monkeypatch.setattr(keeper.balancer, "_clock", FakeClock())  # one window for the whole test
    await until(lambda: all(replica.slots for replica in keeper.replicas))  # they have said how many they have
    floor = sum((replica.slots or 1) + PREFETCH for replica in keeper.replicas)
    requests = 3 * floor

    async def refusing(replica: SimulatedReplica, raw: bytes, send: Any, bound: int | None, *, chat: bool) -> None:
        nonlocal sent
        sent += 1
        raise Unavailable("the simulated replica refuses")

    monkeypatch.setattr(SimulatedReplica, "_generate", refusing)
    async with pair.http() as http:
        answers = await asyncio.gather(*(http.post(PATH, json=body("Hi")) for _ in range(requests)))
        refused = await counted(http, "firedeck_retries_refused")
        told = (await pair.traced(next(a for a in answers if "retry-after" in a.headers))).explanation[-1]
    assert {answer.status_code for answer in answers} == {503}
    assert sent <= requests * (1 + SHARE) + floor
    over = [answer for answer in answers if "too many requests are being tried again" in answer.text]
    assert len(over) == refused[""] >= 1
    assert all(answer.headers["retry-after"] == "5" for answer in over)
    assert all(answer.json()["error"]["code"] == "UNAVAILABLE" for answer in over)
    assert "too many requests are being tried again" in told
