"""`firedeck web`: who gets in, what a browser is shown, and that no child is left behind, however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import psutil
import pytest

pytest.importorskip("textual_serve")
from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError
from aiohttp.test_utils import TestServer

from client.config import Context
from tests.processes import PATIENCE_S, environment, poll
from tui.sought import Place, Sought
from tui.web import cli, server
from tui.web.seat import bounded

REHEARSAL = Context(base_url="rehearsal:", name="rehearsal")


@asynccontextmanager
async def served(most=4, readonly=True, contexts=(REHEARSAL,)):
    fleet = Sought(tuple(Place(one) for one in contexts), rehearse=True)
    deck = server.WebDeck(cli.handed_on(fleet, readonly=readonly), most, token="right")
    async with TestServer(deck.application(), host="127.0.0.1") as running, ClientSession() as session:
        yield deck, session, f"http://127.0.0.1:{running.port}"


def cookie(base):
    return {"Cookie": f"{server.COOKIE}-{base.rpartition(':')[2]}=right"}


async def opened(session, base, **more):
    headers = {**cookie(base), "Origin": base} | more
    return await session.ws_connect(f"{base}/ws?width=120&height=40", headers=headers)


async def read_until(socket, *texts):
    """What the terminal was sent, until all of this was in it."""
    seen = b""
    async with asyncio.timeout(PATIENCE_S):
        while not all(text in seen for text in texts):
            message = await socket.receive()
            assert message.type is WSMsgType.BINARY, (message, seen[-300:])
            seen += message.data
    return seen


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 403),
        ("/?token=wrong", {}, 403),
        ("/static/js/textual.js", {}, 403),
        ("/ws", {}, 403),
        ("/", {"cookie": True}, 200),
        ("/static/js/textual.js", {"cookie": True}, 200),
        ("/", {"cookie": True, "Host": "evil.example:80"}, 403),
        ("/ws", {"cookie": True}, 403),
        ("/ws", {"cookie": True, "Origin": "http://evil.example"}, 403),
    ],
)
async def test_only_this_machines_browser_with_the_token_gets_in(path, headers, status):
    async with served() as (_, session, base):
        given = dict(headers)
        if given.pop("cookie", False):
            given |= cookie(base)
        async with session.get(base + path, headers=given, allow_redirects=False) as answer:
            assert answer.status == status


async def test_the_token_becomes_a_cookie_that_no_script_and_no_other_site_can_use():
    async with served() as (_, session, base):
        async with session.get(f"{base}/?token=right", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, "/")
            told = answer.headers["Set-Cookie"]
            assert "HttpOnly" in told
            assert "SameSite=Strict" in told
        async with session.get(base, headers=cookie(base)) as page:
            assert "default-src 'self'" in page.headers["Content-Security-Policy"]
            assert "https://" not in await page.text(), "nothing is fetched from elsewhere"


async def test_a_tab_shows_the_fleet_takes_keys_and_is_read_only():
    async with served() as (deck, session, base):
        socket = await opened(session, base)
        await read_until(socket, b"READY", b"READ-ONLY")
        await socket.send_json(["resize", {"width": 100, "height": 30}])
        await socket.send_json(["stdin", "s"])
        await read_until(socket, b"changes are locked")
        (seat,) = deck.seats
        pid = seat.pid
        await socket.close()
        await gone(deck, pid)


async def test_a_tab_shows_several_contexts_as_one_fleet():
    async with served(contexts=[Context(name="eu"), Context(name="us")]) as (deck, session, base):
        socket = await opened(session, base)
        await read_until(socket, b"CONTEXT", b"eu", b"us", b"READY")
        (seat,) = deck.seats
        pid = seat.pid
        await socket.close()
        await gone(deck, pid)


async def gone(deck, *pids):
    async with asyncio.timeout(PATIENCE_S):
        while deck.seats or any(psutil.pid_exists(pid) for pid in pids):
            await asyncio.sleep(0.05)


async def test_quitting_in_the_tab_closes_it_and_there_are_no_more_tabs_than_allowed():
    async with served(most=1) as (deck, session, base):
        socket = await opened(session, base)
        await read_until(socket, b"READY")
        with pytest.raises(WSServerHandshakeError) as refused:
            await opened(session, base)
        assert refused.value.status == 503
        (seat,) = deck.seats
        await socket.send_json(["stdin", "q"])
        async with asyncio.timeout(PATIENCE_S):
            while (await socket.receive()).type is WSMsgType.BINARY:
                pass
        await gone(deck, seat.pid)


async def test_a_message_that_makes_no_sense_ends_its_tab_alone():
    async with served() as (deck, session, base):
        other, socket = await opened(session, base), await opened(session, base)
        await read_until(other, b"READY")
        drawn = asyncio.create_task(read_until(other, b"earch the keys"))
        await socket.send_str("{")
        async with asyncio.timeout(PATIENCE_S):
            while len(deck.seats) > 1:
                await asyncio.sleep(0.05)
        await other.send_json(["stdin", "?"])
        await drawn
        pids = [seat.pid for seat in deck.seats]
        await other.close()
        await gone(deck, *pids)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda s: s.name)
async def test_however_the_server_ends_no_child_is_left(how):
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", "from tui.web.cli import web; web()", "--rehearse"], stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL, env=environment({"PYTHONUNBUFFERED": "1"}), text=True,
    )  # fmt: skip
    try:
        address = process.stdout.readline().split()[-1]
        base, _, token = address.partition("/?token=")
        async with ClientSession() as session:
            headers = {"Cookie": f"{server.COOKIE}-{base.rpartition(':')[2]}={token}", "Origin": base}
            socket = await session.ws_connect(f"{base}/ws?width=80&height=24", headers=headers)
            await read_until(socket, b"READY")
            children = psutil.Process(process.pid).children(recursive=True)
            assert children
            process.send_signal(how)
            await asyncio.to_thread(process.wait, PATIENCE_S)
            await asyncio.to_thread(poll, lambda: not any(child.is_running() for child in children))
            await socket.close()
        assert process.returncode == (0 if how != signal.SIGKILL else -signal.SIGKILL)
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def test_a_port_that_is_taken_is_one_sentence():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "-c", "from tui.web.cli import web; web()", "--rehearse", "--port", port],
            capture_output=True, text=True, env=os.environ, timeout=PATIENCE_S,
        )  # fmt: skip
    assert ended.returncode == 1
    assert "take another with --port" in ended.stderr


@pytest.mark.parametrize(("asked", "got"), [((0, 0), (20, 5)), ((10**6, 10**6), (1000, 500)), ((80, 24), (80, 24))])
def test_a_screen_is_never_of_a_size_that_none_has(asked, got):
    assert bounded(*asked) == got
