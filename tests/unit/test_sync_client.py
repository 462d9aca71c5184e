"""The synchronous client: the verbs of the asynchronous one, all of them, and its behaviour."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from client.config import Context
from client.errors import NotFound, Unavailable
from client.http import Transport
from client.portal import Portal
from client.resources import Client
from client.sync import SyncClient
from tests import sync_client
from tests.processes import PATIENCE_S

Answer = Callable[[httpx.Request], httpx.Response]
CONTEXT = Context("http://engine", "k")


def client_of(answer: Answer) -> SyncClient:
    return SyncClient(CONTEXT, Transport("http://engine", "k", transport=httpx.MockTransport(answer)))


class Streaming(httpx.AsyncByteStream):
    """Events without end; `closed` when nobody reads them any more."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    async def __aiter__(self) -> Any:
        while True:
            yield b'data: {"choices": []}\n\n'

    async def aclose(self) -> None:
        self.closed.set()


def test_what_is_generated_is_what_the_asynchronous_client_has_now() -> None:
    assert sync_client.FILE.read_text() == sync_client.generated(), "run python -m tests.sync_client"


def test_every_verb_is_there_under_its_name_and_none_has_to_be_awaited() -> None:
    with client_of(lambda request: httpx.Response(404)) as fleet:
        for name, kind in sync_client.resources_of(Client(CONTEXT)).items():
            for verb, _ in inspect.getmembers(kind, inspect.isfunction):
                if not verb.startswith("_"):
                    found = getattr(getattr(fleet, name), verb)
                    assert not inspect.iscoroutinefunction(found), (name, verb)


def test_a_verb_returns_what_was_answered_typed() -> None:
    with client_of(lambda request: httpx.Response(200, json={"name": "accounts/local/deployments/chat"})) as fleet:
        assert fleet.deployments.get("chat").id == "chat"


def test_an_error_is_raised_where_the_verb_was_called() -> None:
    with (
        client_of(lambda request: httpx.Response(404, json={"code": 5, "message": "no such"})) as fleet,
        pytest.raises(NotFound, match="no such"),
    ):
        fleet.models.delete("m")


def test_a_stream_that_is_left_early_is_closed() -> None:
    stream = Streaming()
    with client_of(lambda request: httpx.Response(200, stream=stream)) as fleet:
        chunks = fleet.inference.stream_chat({})
        assert next(chunks) == next(chunks) == {"choices": []}
        chunks.close()  # type: ignore[attr-defined]
        assert stream.closed.is_set()


def test_waiting_is_a_verb_as_all_others() -> None:
    failed = {"name": "accounts/local/deployments/chat", "state": "READY", "deleteTime": None}
    told: list[str] = []
    stats = {"windowS": 30}
    with client_of(lambda request: httpx.Response(200, json={"deployment": failed, "stats": stats})) as fleet:
        assert fleet.wait.ready("chat", tell=told.append).state == "READY"
    assert told == ["READY: 0 of 0 replicas ready"]


def test_many_threads_may_use_one_client() -> None:
    found: list[str] = []
    with client_of(lambda request: httpx.Response(200, json={"name": request.url.path[4:]})) as fleet:
        threads = [threading.Thread(target=lambda i=i: found.append(fleet.models.get(f"m{i}").id)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found) == [f"m{i}" for i in range(8)]


def test_a_closed_client_is_closed_in_its_loop() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody listens")

    fleet = client_of(refuse)
    with pytest.raises(Unavailable, match="nobody listens"):
        fleet.deployments.scale("chat", 1)
    fleet.close()
    with pytest.raises(RuntimeError, match="the client is closed"):
        fleet.deployments.scale("chat", 1)
    fleet.close()  # it is closed already


NEVER_CLOSED = r"""
import httpx
from client.config import Context
from client.http import Transport
from client.sync import SyncClient

events = b'data: {"choices": []}\n\ndata: {"choices": []}\n\n'
answer = httpx.MockTransport(lambda request: httpx.Response(200, content=events))
fleet = SyncClient(Context("http://engine", "k"), Transport("http://engine", "k", transport=answer))
stream = fleet.inference.stream_chat({})
print(next(stream))
"""


def test_a_program_ends_that_closes_neither_its_client_nor_its_stream() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", NEVER_CLOSED], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "{'choices': []}\n", "")


def test_a_client_that_gets_no_loop_of_its_own_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more files may be open, say: a loop takes three."""

    def refuse() -> asyncio.AbstractEventLoop:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(asyncio, "new_event_loop", refuse)
    monkeypatch.setattr(asyncio.events, "new_event_loop", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        Portal("client")
