"""Nothing of a prompt or an answer is kept: both can be recognised, and are looked for afterwards, byte for byte.

Everything that may write something down is on and has happened: debug logs, traces with a collector, the audit log,
metrics, refusals, broken streams, a killed replica, a killed engine, a backup.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import pytest

from client.access_types import UserSpec
from client.resources import Client
from engine.backup import back_up
from engine.placement.sockets import run_dir
from tests.collector import Collector, collecting
from tests.conftest import deploy
from tests.processes import PATIENCE_S, EngineProcess, contents

pytestmark = pytest.mark.model
PROMPT, ANSWER = "qZ7xprompt Ünïque 41 canary", "kV3yanswer Ünïque 58 canary"
NAME = "accounts/local/deployments/d"
CHAT, TEXT, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/messages"
SAYS = {"type": "grammar", "grammar": f'root ::= "{ANSWER}"'}
ASKS = [{"role": "system", "content": PROMPT}, {"role": "user", "content": PROMPT}]
TOOL = {
    "type": "function",
    "function": {
        "name": "look", "description": PROMPT,
        "parameters": {"type": "object", "properties": {"at": {"enum": [ANSWER]}}, "required": ["at"]},
    },
}  # fmt: skip
ENUM = {"type": "object", "properties": {"said": {"enum": [ANSWER]}}, "required": ["said"]}


def forms(text: str) -> Iterator[bytes]:
    """The bytes that a text may have been written as: each of its words, and the whole, in every encoding at hand."""
    for part in (text, text.split()[0]):
        for raw in (part.encode(), part.encode("utf-16-le"), part.encode("utf-16-be"), json.dumps(part)[1:-1].encode()):
            yield raw
            yield raw.hex().encode()
            yield raw[::-1]
            for shift in range(3):  # within a longer text, at any of the three places of base64
                whole = base64.b64encode(b"\0" * shift + raw)
                yield whole[4 if shift else 0 : len(whole) // 4 * 4 - 4]
        yield part.upper().encode()
        yield quote(part).encode()


FORMS = [form for text in (PROMPT, ANSWER) for form in forms(text)]


def kept(raw: bytes) -> list[bytes]:
    return [form for form in FORMS if form in raw]


@pytest.mark.parametrize("text", [PROMPT, ANSWER])
def test_the_search_finds_what_is_there(text: str) -> None:
    inside = f"xy{text}zz"
    for raw in (
        inside.encode(), inside.encode("utf-16-le"), inside.encode("utf-16-be"), json.dumps({"a": inside}).encode(),
        quote(inside).encode(), inside.encode().hex().encode(),
        *(base64.b64encode(b"-" * shift + inside.encode()) for shift in range(3)),
    ):  # fmt: skip
        assert kept(b"\0\1" + raw + b"\xff")
    assert not kept(b"canary" + base64.b64encode(b"canary") + "Ünïque 41".encode())


def talk() -> Iterator[tuple[str, dict[str, Any], int]]:
    """Path, body and the status it is to have."""
    few = {"max_tokens": 30, "user": PROMPT, "metadata": {"said": PROMPT, PROMPT: "x"}}
    named = {"type": "json_schema", "json_schema": {"name": "said", "schema": ENUM}}
    called = {"tools": [TOOL], "tool_choice": "required", "prompt_cache_key": PROMPT}
    yield CHAT, {"messages": ASKS, "response_format": SAYS, **few}, 200
    yield CHAT, {"messages": ASKS, "response_format": SAYS, "stream": True, **few}, 200
    yield TEXT, {"prompt": PROMPT, "response_format": SAYS, "echo": True, "stop": [PROMPT], **few}, 200
    yield TEXT, {"prompt": PROMPT, "n": 2, "response_format": SAYS, "prediction": ANSWER, "stream": True, **few}, 200
    yield CHAT, {"messages": ASKS, **called, **few}, 200
    yield CHAT, {"messages": ASKS, **called, "stream": True, **few}, 200
    yield CHAT, {"messages": ASKS, "response_format": named, "prompt_cache_isolation_key": PROMPT, **few}, 200
    traced = {"logprobs": True, "return_token_ids": True, "raw_output": True, "perf_metrics_in_response": True}
    yield CHAT, {"messages": ASKS, **traced, "stream": True, **few}, 200
    turns = {"messages": [{"role": "user", "content": PROMPT}], "system": PROMPT, "max_tokens": 4}
    said_by = {"metadata": {"user_id": PROMPT}, "stop_sequences": [PROMPT]}
    yield MESSAGES, {**turns, **said_by}, 200
    yield MESSAGES, {**turns, **said_by, "stream": True}, 200
    yield f"{MESSAGES}/count_tokens", turns, 200
    yield MESSAGES, {**turns, "messages": [{"role": "user", "content": [{"type": PROMPT}]}]}, 400
    yield MESSAGES, {**turns, "tool_choice": {"type": "tool", "name": PROMPT}}, 400
    yield "/v1/embeddings", {"input": PROMPT}, 200
    yield "/v1/rerank", {"query": PROMPT, "documents": [PROMPT]}, 400
    yield TEXT, {"prompt": PROMPT * 2000}, 400
    yield CHAT, {"messages": [{"role": PROMPT, "content": PROMPT}]}, 400
    yield CHAT, {"messages": ASKS, "response_format": {"type": "grammar", "grammar": f'root ::= "{PROMPT}'}}, 400
    yield CHAT, {"messages": ASKS, "tools": [{"type": PROMPT}]}, 400
    yield TEXT, {"prompt": {PROMPT: PROMPT}}, 400
    yield TEXT, {"prompt": PROMPT, "model": PROMPT}, 404
    yield f"/v1/{quote(PROMPT)}", {"prompt": PROMPT}, 404


HOSTILE: list[bytes] = [
    json.dumps({"model": NAME, "prompt": PROMPT})[:-4].encode(),
    json.dumps({"model": NAME, "prompt": PROMPT}).encode("utf-16"),
    b'{"model": "' + NAME.encode() + b'", "prompt": "' + PROMPT.encode() + b'\xff"}',
    f'{{"model": "{NAME}", "prompt": "{PROMPT}\\ud800"}}'.encode(),
    f'{{"model": "{NAME}", "prompt": "{PROMPT}\\u0000", "max_tokens": 1e999}}'.encode(),
    f'["{PROMPT}"]'.encode(), f'"{PROMPT}"'.encode(), PROMPT.encode() * 400_000,
]  # fmt: skip


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as listening:
        yield listening


async def leave_a_stream(http: httpx.AsyncClient) -> None:
    body = {"model": NAME, "prompt": PROMPT, "max_tokens": 2000, "stream": True, "ignore_eos": True}
    async with http.stream("POST", TEXT, json=body) as answer:
        async for _ in answer.aiter_bytes():
            return


async def lose_a_replica(engine: EngineProcess, http: httpx.AsyncClient) -> None:
    body = {"model": NAME, "prompt": PROMPT, "max_tokens": 60, "stream": True, "ignore_eos": True, "seed": 1}
    killed = False
    async with http.stream("POST", TEXT, json=body) as answer:
        async for _ in answer.aiter_bytes():
            if not killed:
                killed = True
                for process in engine.replicas():
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
    assert killed


async def be_refused(engine: EngineProcess, http: httpx.AsyncClient) -> None:
    """For its rate, for its tokens, and for a key that is none."""
    async with Client(engine.context) as admin:
        await admin.users.create(UserSpec(role="user"), "eve")
        made = await admin.api_keys.create("eve")
        await admin.api_keys.update_quota("eve", made.key_id, "requests-per-minute", 0)
    for key in (made.key or "", "fd_wrong"):
        answer = await http.post(
            TEXT, json={"model": NAME, "prompt": PROMPT}, headers={"authorization": f"Bearer {key}"}
        )
        assert answer.status_code in (429, 401)


async def everything_that_is_told(http: httpx.AsyncClient) -> bytes:
    """What the engine answers about the past."""
    found = b""
    kept = (await http.get("/firedeck/v1/accounts/local/requests?pageSize=200")).json()["requests"]
    paths = [f"/firedeck/v1/accounts/local/requests/{one['requestId']}" for one in kept]
    assert len(paths) > 20
    for path in (
        *paths, "/metrics", "/v1/accounts/local/metrics", "/v1/accounts/local/auditLogs?pageSize=200",
        "/firedeck/v1/events", "/firedeck/v1/fleet", f"/firedeck/v1/{NAME}",
        "/firedeck/v1/accounts/local/usage:tokens?groupBy=user,key,deployment,model,adapter,tags",
        "/firedeck/v1/accounts/local/alerts",
    ):  # fmt: skip
        answer = await http.get(path)
        assert answer.status_code == 200, (path, answer.text)
        found += answer.content
    return found


def files_of(engine: EngineProcess, *more: Path) -> list[tuple[Path, bytes]]:
    found = contents(engine.data_dir, run_dir(engine.data_dir), *more)
    assert {"firedeck.db", "engine.log", "audit.head", "usage-0.journal"} <= {file.name for file, _ in found}
    return found


def check_files(engine: EngineProcess, *more: Path) -> None:
    held = {file.name: found for file, raw in files_of(engine, *more) if (found := kept(raw))}
    assert not held


async def test_a_prompt_and_its_answer_are_nowhere_afterwards(tmp_path: Path, collector: Collector) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    words = ("--rehearsal", "--log-level", "debug", "--otlp-endpoint", collector.url)
    engine = EngineProcess(tmp_path / "data", words, {"TMPDIR": str(temporary)})
    await asyncio.to_thread(engine.start)
    try:
        await deploy(engine, "d", min_replica_count=1, max_replica_count=1)
        headers = {"authorization": f"Bearer {engine.key}"}
        async with httpx.AsyncClient(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S) as http:
            said = b""
            for path, body, status in talk():
                answer = await http.post(path, json={"model": NAME, **body})
                assert answer.status_code == status, (path, body, answer.text)
                said += answer.content
            assert said.count(ANSWER.encode()) > 2, "the model was made to say it"
            for content in HOSTILE:
                headers = {"content-type": "application/json"}
                answer = await http.post(TEXT, content=content, headers=headers)
                assert 400 <= answer.status_code < 500, content[:100]
            await leave_a_stream(http)
            await be_refused(engine, http)
            await lose_a_replica(engine, http)
            told = await everything_that_is_told(http)
            assert not kept(told), kept(told)
            async with asyncio.timeout(PATIENCE_S):
                while len(collector.spans()) < 40:
                    await asyncio.sleep(0.1)
            assert not kept(b"".join(collector.bodies))
            assert engine.process is not None
            own = psutil.Process(engine.process.pid)
            for process in (own, *own.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    assert not kept(f"{process.cmdline()} {process.environ()}".encode())
        check_files(engine, temporary)
        await asyncio.to_thread(back_up, engine.data_dir, tmp_path / "copy")
        engine.kill()
        check_files(engine, temporary, tmp_path / "copy")
        await asyncio.to_thread(engine.start)
    finally:
        await asyncio.to_thread(engine.stop)
        for replica in engine.replicas():
            replica.kill()
    check_files(engine, temporary)
