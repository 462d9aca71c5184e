"""A replica that replays timings: a process as the engine starts them, on a real socket, with the wire of a real one.

Its cost is small and known, so that what a load test measures is the gateway. The end of its deployment's name says
how many requests it runs at once (`replay-256`), the prompt when tokens come: `first_ms=20 token_ms=50` (both 0 where
not given). The token at index N is " N"; `max_tokens` says how many there are. A stream has a journal where one is
asked for, and goes on from the one that it is given. A connection that takes nothing gets nothing: its tokens wait.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from argparse import ArgumentParser
from collections import deque
from typing import Any, cast

import httptools
import uvloop

from engine.replica.lifecycle import bind

LOOK_EVERY_S = 0.05
IDLE_S = 5.0  # uvicorn's
FIELD = re.compile(r"(\w+)_ms=([\d.]+)")
TOLD = re.compile(rb"t0,")
CHUNK = (
    '{"id":"cmpl-0123456789abcdef01234567","object":"text_completion","created":1790000000,'
    '"model":"accounts/fireworks/models/smollm2-135m-instruct","choices":[%s]%s}'
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"x-request-id: %s\r\n%sserver-timing: tokenizer_queue;dur=0.1, tokenizer;dur=0.2, queue;dur=0.1, prefill;dur=%.1f"
    b"\r\ntransfer-encoding: chunked\r\n\r\n"
)


class Replay:
    """What all connections share: who runs, who waits, and what was counted."""

    def __init__(self, slots: int, key: str) -> None:
        self.slots, self.authorization = slots, f"Bearer {key}".encode()
        self.running = 0
        self.waiting: deque[Answer] = deque()
        self.most_waiting = 0
        self.draining = False
        self.tokens = self.requests = 0

    def enter(self, answer: Answer) -> None:
        self.requests += 1
        self.waiting.append(answer)
        self.next()
        self.most_waiting = max(self.most_waiting, len(self.waiting))

    def next(self) -> None:
        while self.waiting and self.running < self.slots:
            answer = self.waiting.popleft()
            if not answer.over:
                self.running += 1
                answer.run()

    def left(self) -> None:
        self.running -= 1
        self.next()

    def report(self) -> dict[str, Any]:
        counters = {"prompt_tokens_total": self.requests, "generated_tokens_total": self.tokens}
        return {
            "status": "draining" if self.draining else "ready", "incarnation": str(os.getpid()), "pid": os.getpid(),
            "running": self.running, "waiting": len(self.waiting), "last_progress_age_s": 0.0,
            "progress_tokens": self.tokens, "slots": self.slots, "free_slots": self.slots - self.running,
            "kv_capacity_tokens": 1 << 20, "kv_used_tokens": 0, "counters": counters, "device": {"kind": "CPU"},
        }  # fmt: skip


class Answer:
    """One request of `connection`; `at` is the index of the next token."""

    def __init__(self, connection: Connection, body: bytes, journal: int | None) -> None:
        self._connection = connection
        fields = json.loads(body[journal or 0 :])
        self._times = {name: float(ms) / 1000 for name, ms in FIELD.findall(str(fields.get("prompt")))}
        self.count, self.at = int(fields.get("max_tokens") or 16), 0
        self.stream, self._journal = bool(fields.get("stream")), journal is not None
        if journal:
            self.at = len(TOLD.findall(body[:journal]))
        self.over = self._begun = self.held = self._missed = False
        self._timer: asyncio.TimerHandle | None = None

    def run(self) -> None:
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        if not self.stream:
            whole_s = self._times.get("first", 0.0) + self._times.get("token", 0.0) * (self.count - 1)
            self._timer = loop.call_later(whole_s, self._whole)
            return
        self._due = self._began + self._times.get("first", 0.0)
        self._timer = loop.call_at(self._due, self.token)

    def token(self) -> None:
        """One token now, and the next in its time."""
        self._missed = self.held
        if self.held:
            return
        if not self._begun:
            self._begun = True
            journal = b"x-firedeck-journal: 1\r\n" if self._journal else b""
            self._connection.write(STREAM_HEAD % (self._connection.request_id, journal, self._passed_ms()))
        if self.at < self.count:
            self._event(f'{{"index":0,"finish_reason":null,"text":" {self.at}"}}', "", f"t0,{1000 + self.at}")
            self.at += 1
            self._connection.replay.tokens += 1
            self._due += self._times.get("token", 0.0)
            self._timer = asyncio.get_running_loop().call_at(self._due, self.token)
            return
        self._event('{"index":0,"finish_reason":"length","text":""}', f',"usage":{self._usage()}', f"f0,{self.count}")
        done = b"data: [DONE]\n\n" + (b":\n\n" if self._journal else b"")
        self._connection.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(done), done))
        self._end()

    def resume(self) -> None:
        self.held = False
        if self._missed and not self.over:
            self._due = asyncio.get_running_loop().time()
            self.token()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.over:
            started = self._timer is not None
            self.over = True
            if started:
                self._connection.replay.left()

    def _event(self, choice: str, rest: str, record: str) -> None:
        event = f"data: {CHUNK % (choice, rest)}\n\n" + (f":{record}\n\n" if self._journal else "")
        self._connection.write(b"%x\r\n%b\r\n" % (len(event), event.encode()))

    def _whole(self) -> None:
        text = "".join(f" {n}" for n in range(self.count))
        choice = json.dumps({"index": 0, "finish_reason": "length", "text": text})
        self._connection.replay.tokens += self.count
        told = f"fireworks-server-processing-time: {self._passed_ms() / 1000:.6f}\r\n"
        told += f"fireworks-server-time-to-first-token: {self._times.get('first', 0.0):.6f}\r\n"
        self._connection.answer(200, CHUNK % (choice, f',"usage":{self._usage()}'), told)
        self._end()

    def _passed_ms(self) -> float:
        return (asyncio.get_running_loop().time() - self._began) * 1000

    def _usage(self) -> str:
        usage = {"prompt_tokens": 4, "completion_tokens": self.count, "total_tokens": 4 + self.count}
        return json.dumps(usage | {"prompt_tokens_details": {"cached_tokens": 0}})

    def _end(self) -> None:
        self.over = True
        self._connection.over()
        self._connection.replay.left()


class Connection(asyncio.Protocol):
    """One connection of the gateway; one request at a time."""

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        self.request_id = b""
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._headers: dict[bytes, bytes] = {}
        self._body, self._url = bytearray(), b""
        self._closing: asyncio.TimerHandle | None = None

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def answer(self, status: int, body: str, headers: str = "") -> None:
        head = f"HTTP/1.1 {status} OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
        self.write((head + body).encode())

    def over(self) -> None:
        self._answer = None
        assert self._transport is not None
        self._closing = asyncio.get_running_loop().call_later(IDLE_S, self._transport.close)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._closing is not None:
            self._closing.cancel()
        if self._answer is not None:
            self._answer.cancel()

    def pause_writing(self) -> None:
        if self._answer is not None:
            self._answer.held = True

    def resume_writing(self) -> None:
        if self._answer is not None:
            self._answer.resume()

    # httptools

    def on_message_begin(self) -> None:
        self._headers, self._body, self._url = {}, bytearray(), b""
        if self._closing is not None:
            self._closing.cancel()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._headers.get(b"authorization") != self.replay.authorization:
            self.answer(401, "{}")
        elif self._url in (b"/health", b"/stats"):
            self.answer(200, json.dumps(self.replay.report()))
        elif self._url != b"/v1/completions":
            self.answer(404, "{}")
        elif self.replay.draining:
            self.answer(503, "{}")
        else:
            self.request_id = self._headers.get(b"x-request-id", b"none")
            journal = self._headers.get(b"x-firedeck-journal")
            self._answer = Answer(self, bytes(self._body), None if journal is None else int(journal))
            self.replay.enter(self._answer)


async def _serve(replay: Replay, socket: str) -> None:
    loop, parent = asyncio.get_running_loop(), os.getppid()

    def drain() -> None:
        replay.draining = True

    loop.add_signal_handler(signal.SIGTERM, drain)
    loop.add_signal_handler(signal.SIGINT, drain)
    async with await loop.create_unix_server(lambda: Connection(replay), sock=bind(socket), backlog=4096):
        while os.getppid() == parent and (replay.running or not replay.draining):
            await asyncio.sleep(LOOK_EVERY_S)
    os._exit(0)


def main(words: list[str]) -> None:
    parser = ArgumentParser()
    for name in ("--deployment", "--socket"):
        parser.add_argument(name)
    options, _ = parser.parse_known_args(words)
    slots = int(options.deployment.rpartition("-")[2])
    replay = Replay(slots, os.environ["FIREDECK_REPLICA_KEY"])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(replay, options.socket))
