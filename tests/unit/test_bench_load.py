"""The load generator against a small server that speaks the wire by a known script. Counts only, never time."""

import asyncio
import json
import signal
import socket
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from client.bench import load
from client.bench.load import Limit, Run, poisson
from client.bench.prompts import Workload
from client.bench.session import Session, Setting
from client.bench.wire import Answer, Endpoint, Wire
from client.errors import InvalidArgument
from tests.processes import firedeck

TOKENS = 5
PROMPT_TOKENS = 7


class Script:
    """An ASGI app: every `refuse_every`th request is refused, every other streams TOKENS events and a usage."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.running = self.most_running = 0
        self.refuse_every = 0
        self.hold: asyncio.Event | None = None
        self.ending = "whole"

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        raw = b""
        while True:
            message = await receive()
            raw += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.bodies.append(json.loads(raw))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if self.refuse_every and len(self.bodies) % self.refuse_every == 0:
                await self._refuse(send)
            else:
                await self._stream(send)
        finally:
            self.running -= 1

    async def _refuse(self, send: Any) -> None:
        body = json.dumps({"error": {"message": "busy", "code": "RESOURCE_EXHAUSTED"}}).encode()
        await send({"type": "http.response.start", "status": 429, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for i in range(TOKENS):
            await send(_event({"choices": [{"index": 0, "text": f' {i}\n"text"', "finish_reason": None}]}))
            await asyncio.sleep(0)
        if self.hold is not None:
            await self.hold.wait()
        if self.ending == "error event":
            await send(_event({"error": {"message": "broke", "code": "UNAVAILABLE"}}))
        if self.ending == "whole":
            details = {"cached_tokens": 3}
            usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": TOKENS, "prompt_tokens_details": details}
            await send(_event({"choices": [{"index": 0, "text": "", "finish_reason": "length"}], "usage": usage}))
            await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _event(data: dict[str, Any]) -> dict[str, Any]:
    return {"type": "http.response.body", "body": f"data: {json.dumps(data)}\n\n".encode(), "more_body": True}


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def endpoint(script: Script, tmp_path: Path) -> AsyncIterator[Endpoint]:
    """The script, served on a unix socket."""
    listener = socket.socket(socket.AF_UNIX)
    path = str(tmp_path / "s")
    listener.bind(path)
    listener.listen()
    async with _served(script, listener):
        yield Endpoint.of("http://script", "key", path)


@asynccontextmanager
async def _served(script: Script, listener: socket.socket) -> AsyncIterator[socket.socket]:
    server = uvicorn.Server(uvicorn.Config(script, lifespan="off", log_config=None, http="httptools"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield listener
    server.should_exit = True
    await serving
    listener.close()


def session(endpoint: Endpoint, **more: Any) -> Session:
    return Session(endpoint, Workload("m", prompt_tokens=10), **{"limit": Limit(requests=12), "warmup": 0, **more})


async def test_a_closed_loop_sends_each_request_once_and_never_more_at_a_time_than_clients(
    endpoint: Endpoint, script: Script
) -> None:
    script.hold = asyncio.Event()
    running = asyncio.create_task(session(endpoint).measure(Setting(concurrency=3)))
    while script.running < 3:
        await asyncio.sleep(0.01)
    script.hold.set()
    found = (await running).figures
    assert (found.requests, found.succeeded, found.errors) == (12, 12, {})
    assert (found.prompt_tokens, found.output_tokens, found.cached_share) == (PROMPT_TOKENS, TOKENS, 3 / PROMPT_TOKENS)
    assert found.inter_token.count == 12 * (TOKENS - 1)
    assert found.counted_by_server
    assert len(script.bodies) == 12
    assert script.most_running == 3


async def test_an_open_loop_does_not_wait_for_answers(endpoint: Endpoint, script: Script) -> None:
    script.hold = asyncio.Event()
    running = asyncio.create_task(session(endpoint, limit=Limit(requests=6)).measure(Setting(rate=1000.0)))
    while script.running < 6:
        await asyncio.sleep(0.01)
    script.hold.set()
    assert (await running).figures.succeeded == 6


async def test_errors_are_counted_by_kind(endpoint: Endpoint, script: Script) -> None:
    script.refuse_every = 3
    found = (await session(endpoint).measure(Setting(concurrency=2))).figures
    assert found.errors == {"HTTP 429 RESOURCE_EXHAUSTED": 4}
    assert found.messages == {"HTTP 429 RESOURCE_EXHAUSTED": "busy"}
    assert found.succeeded == 8


@pytest.mark.parametrize(("ending", "kind"), [("error event", "error event UNAVAILABLE"), ("cut", "stream cut short")])
async def test_a_stream_that_breaks_off_is_a_failure(
    endpoint: Endpoint, script: Script, ending: str, kind: str
) -> None:
    script.ending = ending
    found = (await session(endpoint, limit=Limit(requests=2)).measure(Setting(concurrency=1))).figures
    assert found.errors == {kind: 2}


async def test_a_request_that_takes_too_long_is_a_timeout(endpoint: Endpoint, script: Script) -> None:
    script.hold = asyncio.Event()
    slow = session(endpoint, limit=Limit(requests=1), timeout_s=0.2)
    assert (await slow.measure(Setting(concurrency=1))).figures.errors == {"timeout": 1}
    script.hold.set()


async def test_nobody_listening_is_an_error_of_its_kind(tmp_path: Path) -> None:
    nobody = session(Endpoint.of("http://x", "", str(tmp_path / "none")), limit=Limit(requests=2))
    assert sum((await nobody.measure(Setting(concurrency=1))).figures.errors.values()) == 2


async def test_a_session_that_is_stopped_reports_what_it_saw(endpoint: Endpoint, script: Script) -> None:
    script.hold = asyncio.Event()
    stopped = session(endpoint, limit=Limit(requests=100))
    running = asyncio.create_task(stopped.measure(Setting(concurrency=2)))
    while script.running < 2:
        await asyncio.sleep(0.01)
    script.hold.set()
    while len(script.bodies) < 10:
        await asyncio.sleep(0.001)
    script.hold.clear()
    stopped.stop.set()
    measured = await running
    assert not measured.whole
    assert 8 <= measured.figures.succeeded < 100
    assert stopped.measured == [measured]
    script.hold.set()


async def test_warm_up_is_not_counted_and_no_prompt_repeats_across_settings(endpoint: Endpoint, script: Script) -> None:
    warmed = session(endpoint, warmup=2, limit=Limit(requests=4))
    for clients in (1, 2):
        assert (await warmed.measure(Setting(concurrency=clients))).figures.requests == 4
    prompts = [body["prompt"] for body in script.bodies]
    assert len(prompts) == len(set(prompts)) == 12


async def test_connections_are_used_again(endpoint: Endpoint) -> None:
    wire = Wire(endpoint)
    body = json.dumps(Workload("m").body(0)).encode()
    answers = [await wire.post("/completions", body) for _ in range(3)]
    assert [len(a.arrivals) for a in answers] == [TOKENS] * 3
    assert len(wire._idle) == 1
    wire.close()


@given(st.data())
def test_a_stream_reads_the_same_however_it_is_cut_into_packets(data: st.DataObject) -> None:
    lines = [
        'data: {"choices":[{"text":"a"}]}', ": a comment", 'data: {"choices":[{"delta":{"content":"\u2028b"}}]}',
        'data: {"choices":[{"text":""}],"usage":null}', 'data: {"choices":[],"usage":{"completion_tokens":2}}',
        "data: [DONE]",
    ]  # fmt: skip
    stream = data.draw(st.sampled_from(["\n\n", "\r\n\r\n"])).join([*lines, ""]).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    answer = Answer()
    answer.status = 200
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        answer.feed(stream[start:end], 1.0)
    assert len(answer.arrivals) == 2
    assert answer.usage == {"completion_tokens": 2}
    assert answer.error_kind is None


@given(st.floats(0.1, 1000), st.integers(0, 2**31))
def test_arrivals_ascend_and_depend_on_the_seed_alone(rate: float, seed: int) -> None:
    one, again = ([at for at, _ in zip(poisson(rate, seed), range(50), strict=False)] for _ in range(2))
    assert one == again == sorted(one)


@given(st.integers(1, 300), st.integers(0, 50), st.integers(0, 1000))
def test_prompts_share_their_prefix_and_nothing_else_by_seed(unique: int, prefix: int, seed: int) -> None:
    load = Workload("m", prompt_tokens=unique, shared_prefix=prefix, seed=seed)
    one, other = load.prompt(0).split(), load.prompt(1).split()
    assert len(one) == len(other) == unique + prefix
    assert one[:prefix] == other[:prefix]
    assert unique < 20 or one[prefix:] != other[prefix:]
    assert load.prompt(0) == load.prompt(0)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://h:8700", "http://h:8700/v1"),
        ("http://h:8700/inference/v1/", "http://h:8700/inference/v1"),
        ("https://api.example.com/v1", "https://api.example.com/v1"),
    ],
)
def test_a_base_url_is_taken_with_or_without_v1(given: str, url: str) -> None:
    assert Endpoint.of(given).url == url


@pytest.mark.parametrize(
    "given", ["", "localhost:8700", "ftp://h", "http://", "http://h:port", "http://h:0", "http://h/a b", "http://ü/"]
)
def test_what_is_no_url_is_refused(given: str) -> None:
    with pytest.raises(InvalidArgument):
        Endpoint.of(given)


@pytest.mark.parametrize("key", ["a b", "a\r\nx: y", "schlüssel"])
def test_a_key_that_would_break_the_head_is_refused(key: str) -> None:
    with pytest.raises(InvalidArgument, match="key"):
        Endpoint.of("http://h", key)


async def test_ctrl_c_prints_what_was_measured_so_far(script: Script) -> None:
    async with _served(script, socket.create_server(("127.0.0.1", 0))) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        words = ("--base-url", url, "--api-key", "k", "--model", "m", "-c", "1,2", "-d", "1h", "--json")
        process = await asyncio.create_subprocess_exec(*firedeck("bench", *words), stdout=PIPE, stderr=PIPE)
        while len(script.bodies) < 10:
            assert process.returncode is None, "it ended by itself"
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()
    assert process.returncode == 130
    (setting,) = json.loads(out)["settings"]
    assert (setting["concurrency"], setting["whole"]) == (1, False)
    assert setting["succeeded"] >= 1


async def test_what_ends_after_the_window_counts_in_rates_as_in_latencies(
    endpoint: Endpoint, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.hold, later_s, monotonic = asyncio.Event(), 0.0, time.monotonic
    monkeypatch.setattr(load, "time", SimpleNamespace(monotonic=lambda: monotonic() + later_s))
    running = asyncio.create_task(session(endpoint, limit=Limit(seconds=600)).measure(Setting(concurrency=2)))
    while script.running < 2:
        await asyncio.sleep(0.01)
    later_s = 1000.0
    script.hold.set()
    found = (await running).figures
    assert found.succeeded == found.end_to_end.count == 2
    assert found.requests_per_s * found.span_s == pytest.approx(2)
    assert found.output_tokens_per_s * found.span_s == pytest.approx(2 * TOKENS)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"error": {"message": "no such model", "code": "NOT_FOUND"}}', "no such model"),
        (b'{"error": "no such model"}', "no such model"),
        (b'{"code": 5, "message": "no such model", "details": []}', "no such model"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b"<h1>502</h1>\r\n\x1b[2Jnginx \xff", "<h1>502</h1> [2Jnginx \ufffd"),
        (b"[1, 2]", "[1, 2]"),
        (b"", None),
    ],
)
def test_the_servers_own_words_are_kept_in_whatever_form_it_says_them(body: bytes, told: str | None) -> None:
    answer = Answer()
    answer.status = 502
    answer.feed(body, 1.0)
    assert answer.error_message == told


@given(st.binary(max_size=500))
def test_any_error_body_makes_one_printable_line(body: bytes) -> None:
    answer = Answer()
    answer.status = 500
    answer.feed(body, 1.0)
    assert (answer.error_message or "").isprintable()


async def test_a_run_of_seconds_takes_no_request_after_them(endpoint: Endpoint) -> None:
    wire = Wire(endpoint)
    run = Run(wire, "/completions", Workload("m").body, Limit(requests=1000, seconds=0.0))
    await run.closed(4)
    assert run.samples == []
    wire.close()


async def test_a_warm_up_that_fails_whole_is_all_that_is_asked(tmp_path: Path) -> None:
    nobody = session(Endpoint.of("http://x", "", str(tmp_path / "none")), warmup=2, limit=Limit(seconds=60.0))
    found = await nobody.measure(Setting(concurrency=4))
    assert sum(found.figures.errors.values()) == 2
    assert found.whole
