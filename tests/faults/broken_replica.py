"""A replica that says what it was told to: bytes on a unix socket, by a script of the prompt's name.

Run in the place of a real one (`tests/faults/broken`). It is ready at once, answers the first request and every prompt
without a script like a real one, and does worse when the prompt is `SCRIPT name` (WHOLE, STREAMS) or `REPORT name`
(from then on its `/stats` is as REPORTS has it). To `LOOKS` it says how often that was asked for since. It takes any
adapter, and fails every request that runs with one whose name ends with BAD_ADDON.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

Script = Callable[[], Iterable[bytes]]

BLOCK = b"a" * 65536
TEXT = "two three"
JOURNAL = b"x-firedeck-journal: 1\r\n"


def head(status: str = "200 OK", kind: str = "application/json", more: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: {kind}\r\n".encode() + more


def said(content: bytes, status: str = "200 OK", kind: str = "application/json", length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    return head(status, kind, f"content-length: {size}\r\n\r\n".encode()) + content


def endlessly(start: bytes, block: bytes) -> Iterator[bytes]:
    yield start
    yield from itertools.repeat(block)


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


ANSWER = json.dumps(
    {
        "id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "text": TEXT, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
).encode()  # fmt: skip
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"

WHOLE: dict[str, Script] = {
    "garbage": lambda: [b"\x00\xff\x16\x03\x01 no http"],
    "half a head": lambda: [b"HTTP/1.1 200 OK\r\ncontent-ty"],
    "no json": lambda: [said(b"<html>It works!</html>", kind="text/html")],
    "half json": lambda: [said(ANSWER[:40])],
    "a list": lambda: [said(b"[1]")],
    "a number": lambda: [said(b"5")],
    "empty": lambda: [said(b"")],
    "nested": lambda: [said(b"[" * 100_000)],
    "not utf-8": lambda: [said(b'{"id": "\xff"}')],
    "usage without end": lambda: [said(b'{"usage": {"prompt_tokens": 1e999}}')],
    "usage of words": lambda: [said(b'{"usage": {"prompt_tokens": "many"}}')],
    "usage is a list": lambda: [said(b'{"usage": [5]}')],
    "shorter than it says": lambda: [said(ANSWER, length=len(ANSWER) + 50)],
    "longer than it says": lambda: [said(ANSWER, length=20)],
    "a length below zero": lambda: [head(more=b"content-length: -5\r\n\r\n") + ANSWER],
    "two lengths": lambda: [head(more=b"content-length: 5\r\ncontent-length: 6\r\n\r\n") + ANSWER],
    "a length of words": lambda: [head(more=b"content-length: many\r\n\r\n") + ANSWER],
    "headers without end": lambda: endlessly(head(), b"x-again: " + BLOCK + b"\r\n"),
    "a header without end": lambda: endlessly(head() + b"x-long: ", BLOCK),
    "a body without end": lambda: endlessly(head(more=CHUNKED), chunk(BLOCK)),
    "a bad chunk": lambda: [head(more=CHUNKED) + b"zz\r\nabc\r\n"],
    "half a chunk": lambda: [head(more=CHUNKED) + chunk(ANSWER[:10]) + b"ff\r\nabc"],
    "gzip that is none": lambda: [head(more=b"content-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc")],
    "status 999": lambda: [said(ANSWER, "999 No")],
    "status 204": lambda: [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "a redirect": lambda: [b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"],
    "an error in words": lambda: [said(b"oh no", "500 Oh", "text/plain")],
    "an error without its envelope": lambda: [said(b'{"detail": "oh no"}', "400 Bad Request")],
    "not its key": lambda: [said(b'{"error": {"message": "who?"}}', "401 Unauthorized")],
}


def event(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "text": text, "finish_reason": finish}
    return b"data: " + json.dumps({"object": "text_completion", "choices": [choice]}).encode() + b"\n\n"


def stream(*events: bytes, more: bytes = b"") -> bytes:
    return head(kind="text/event-stream", more=more + CHUNKED) + b"".join(map(chunk, events))


GOOD = [event("two"), event(" three"), event("", "length"), b"data: [DONE]\n\n"]
END = b"0\r\n\r\n"

# What is over before a first event was passed on: 502.
UNBEGUN: dict[str, Script] = {
    "garbage": WHOLE["garbage"],
    "half a head": WHOLE["half a head"],
    "headers without end": WHOLE["headers without end"],
    "no stream": lambda: [said(ANSWER)],
    "a page": lambda: [said(b"<html>It works!</html>", kind="text/html")],
    "nothing": lambda: [stream() + END],
    "an event of words": lambda: [stream(b"data: hello\n\n") + END],
    "no event": lambda: [stream(b"hello\n\n") + END],
    "an event that is not utf-8": lambda: [stream(b"data: \xff\n\n") + END],
    "an event of half json": lambda: [stream(b'data: {"choices": [}\n\n') + END],
    "two lines in an event": lambda: [stream(b'data: {"a":\ndata: 1}\n\n') + END],
    "half an event": lambda: [stream(GOOD[0][:20])],
    "an event without end": lambda: endlessly(stream(), chunk(BLOCK)),
    "an error in words": WHOLE["an error in words"],
    "events without a record": lambda: endlessly(stream(more=JOURNAL), chunk(event("x" * 60_000))),
    "a record after garbage": lambda: [stream(b"data: hello\n\n:t0,1\n\n", more=JOURNAL) + END],
}
# What breaks after that: the events so far, and an error event.
BROKEN: dict[str, Script] = {
    "closed": lambda: [stream(*GOOD[:2])],
    "without an end": lambda: [stream(*GOOD[:3]) + END],
    "then half an event": lambda: [stream(*GOOD[:2], GOOD[2][:9]) + END],
    "then garbage": lambda: [stream(*GOOD[:2], b"hello\n\n", *GOOD[2:]) + END],
    "then garbage in one piece": lambda: [stream(b"".join([*GOOD[:2], b"hello\n\n", *GOOD[2:]])) + END],
    "then a bad chunk": lambda: [stream(*GOOD[:2]) + b"zz\r\n"],
    "then an event without end": lambda: endlessly(stream(*GOOD[:2]), chunk(BLOCK)),
    "then a second head": lambda: [stream(*GOOD[:2]) + head()],
}
# What is odd, and well all the same.
WELL: dict[str, Script] = {
    "as it should be": lambda: [stream(*GOOD) + END],
    "cut at every byte": lambda: [
        stream(), *(chunk(bytes([byte])) for byte in b"".join(GOOD)), END,
    ],
    "sent at every byte": lambda: (bytes([byte]) for byte in stream(*GOOD) + END),
    "all in one": lambda: [stream(b"".join(GOOD)) + END],
    "with comments": lambda: [stream(b": ping\n\n", *GOOD[:2], b": ping\n\n", *GOOD[2:]) + END],
    "with junk after its end": lambda: endlessly(stream(*GOOD), chunk(b"junk" + BLOCK)),
}  # fmt: skip
BAD_ADDON = b"-bad"
FAILED = json.dumps({"error": {"message": "oh no", "type": "error", "code": "INTERNAL"}}).encode()
STREAMS = UNBEGUN | BROKEN | WELL

REPORT = {
    "status": "ready", "incarnation": "1", "running": 0, "waiting": 0, "last_progress_age_s": 0.0,
    "slots": 4, "free_slots": 4, "kv_capacity_tokens": 8192, "counters": {}, "device": {"kind": "CPU"},
}  # fmt: skip
REPORTS: dict[str, Script] = {
    "good": lambda: [said(json.dumps(REPORT).encode())],
    "garbage": WHOLE["garbage"],
    "half json": lambda: [said(json.dumps(REPORT).encode()[:50])],
    "nested": WHOLE["nested"],
    "without end": WHOLE["a body without end"],
    "headers without end": WHOLE["headers without end"],
    "numbers without end": lambda: [said(b'{"status": "ready", "waiting": 1e999, "last_progress_age_s": 1e999}')],
    "everything a word": lambda: [said(json.dumps(dict.fromkeys(REPORT, "word")).encode())],
    "everything a list": lambda: [said(json.dumps({key: [1] for key in REPORT}).encode())],
    "everything nothing": lambda: [said(json.dumps(dict.fromkeys(REPORT)).encode())],
}


class Broken:
    def __init__(self) -> None:
        self._report, self._looks = "good", 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            asked = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", asked)
            body = await reader.readexactly(int(length[1])) if length else b""
            method, path, _ = asked.split(maxsplit=2)
            addon = re.search(rb"(?i)x-firedeck-addon: (\S+)", asked)
            failing = addon is not None and addon[1].endswith(BAD_ADDON)
            for piece in [said(FAILED, "500 Oh")] if failing else self._answer(method, path, body):
                writer.write(piece)
                await writer.drain()
        writer.close()

    def _answer(self, method: bytes, path: bytes, body: bytes) -> Iterable[bytes]:
        if path == b"/health":
            return REPORTS["good"]()
        if path == b"/stats":
            self._looks += 1
            return REPORTS[self._report]()
        if path.startswith(b"/adapters"):
            return [said(json.dumps(_adapter(method, body)).encode())]
        asked = json.loads(body)
        what, _, name = str(asked.get("prompt")).partition(" ")
        if what == "REPORT":
            self._report, self._looks = name, 0
        if what == "LOOKS":
            return [said(json.dumps(json.loads(ANSWER) | {"id": f"cmpl-{self._looks}"}).encode())]
        if asked.get("stream"):
            return (STREAMS[name] if what == "SCRIPT" else WELL["as it should be"])()
        return WHOLE[name]() if what == "SCRIPT" else [said(ANSWER)]


def _adapter(method: bytes, body: bytes) -> dict[str, object]:
    """As `engine.replica.adapter_routes` answers where all goes well."""
    if method == b"PUT":
        return {"digest": hashlib.sha256(Path(json.loads(body)["path"]).read_bytes()).hexdigest(), "rank": 4}
    return {"adapters": []} if method == b"GET" else {}


async def _serve(socket: Path) -> None:
    async with await asyncio.start_unix_server(Broken().serve, socket, limit=16 << 20) as server:
        await server.serve_forever()


def run(arguments: list[str]) -> None:
    """Until it is ended."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(Path(arguments[arguments.index("--socket") + 1])))
    os._exit(0)
