"""The watch stream over real sockets: watchers share frames, and one that reads nothing is cut off."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from jsonschema import Draft202012Validator

from client.config import Context
from client.resources import Client
from client.types import Deployment
from engine import serve
from engine.fleet import frames
from tests.house import Home, home, served
from tests.processes import PATIENCE_S


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Home]:
    async with home(tmp_path / "data") as one:
        yield one


async def test_ten_watchers_get_every_snapshot_and_each_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = []
    seen = frames.seen
    monkeypatch.setattr(frames, "seen", lambda *of, **how: made.append(of) or seen(*of, **how))

    async def watch(context: Context) -> list:
        async with Client(context) as client:
            seen = []
            async for shown in client.fleet.watch(0.5):
                seen.append(shown.time)
                if len(seen) == 3:
                    return seen
        raise AssertionError("the stream ended")

    async with served(tmp_path / "data") as (url, home):
        context = Context(base_url=url, api_key=home.admin_key)
        seen = await asyncio.gather(*(watch(context) for _ in range(10)))
    assert all(times == sorted(set(times)) for times in seen)
    assert len(made) < 3 * len(seen)


async def test_a_client_that_watches_gets_what_changed_alone_and_keeps_the_rest(tmp_path: Path):
    async with served(tmp_path / "data") as (url, home):
        for number in range(3):
            home.engine.house.fleet.keep(_resting(number))
        async with Client(Context(base_url=url, api_key=home.admin_key)) as client:
            watching = client.fleet.watch(0.2)
            before = await anext(watching)
            home.engine.house.fleet.get(_resting(1).name).meter.began(synthetic=False)
            after = await anext(watching)
            home.engine.house.fleet.keep(_resting(3))
            later = await anext(watching)
            assert later == (await client.fleet.snapshot()).model_copy(update={"time": later.time})
    same = [new is old for new, old in zip(after.deployments, before.deployments, strict=True)]
    assert same == [True, False, True]
    assert after.deployments[1].stats.requests_total == 1
    assert [one.deployment.name for one in later.deployments] == [_resting(number).name for number in range(4)]


async def test_the_events_are_as_the_document_says(here: Home):
    async with here.http(here.admin_key) as http:
        document = (await http.get("/firedeck/v1/openapi.json")).json()
    events = document["paths"]["/firedeck/v1/fleet:watch"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    kinds = [kind["$ref"] for kind in events["schema"]["properties"]["data"]["contentSchema"]["anyOf"]]
    fleet, quotas_of = here.engine.house.fleet, here.engine.house.access.quotas.holding_up
    fleet.keep(_resting(0))
    first = await frames.seen(fleet, quotas_of, here.engine.house.started_at, "local")
    fleet.get(_resting(0).name).meter.began(synthetic=False)
    second = await frames.seen(fleet, quotas_of, here.engine.house.started_at, "local", first)
    for kind, event in zip(kinds, (first.event, second.event_since(first)), strict=True):
        schema = {"$ref": kind, "components": document["components"]}
        told = json.loads(event.removeprefix(b"data: "))
        assert told["deployments" if kind.endswith("Snapshot") else "changed"]
        Draft202012Validator(schema).validate(told)


def _resting(number: int) -> Deployment:
    return Deployment(name=f"accounts/local/deployments/d{number}", base_model="m", state="READY")


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux cuts such connections off by itself")
async def test_a_watcher_that_takes_nothing_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(serve, "STUCK_S", 1)
    async with served(tmp_path / "data") as (url, home):
        for number in range(1000):
            name = f"accounts/local/deployments/d{number}"
            home.engine.house.fleet.keep(Deployment(name=name, base_model="m", description="x" * 999))
        with socket.socket() as watcher:
            watcher.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            where = urlsplit(url)
            watcher.connect((where.hostname, where.port))
            head = [
                "GET /firedeck/v1/fleet:watch?interval=0.2 HTTP/1.1",
                "Host: 127.0.0.1",
                f"Authorization: Bearer {home.admin_key}",
            ]
            async with asyncio.timeout(PATIENCE_S):
                while not connections(where.port):
                    await asyncio.sleep(0.05)
                watcher.sendall("\r\n".join([*head, "", ""]).encode())
                assert (await asyncio.to_thread(watcher.recv, 12)) == b"HTTP/1.1 200"  # and takes nothing from here on
                while connections(where.port):
                    await asyncio.sleep(0.1)


def connections(port: int | None) -> int:
    """How many this process has accepted on a port and not closed."""
    of_this_process = psutil.Process().net_connections("tcp")
    return sum(c.status != psutil.CONN_LISTEN and c.laddr.port == port for c in of_this_process)
