"""A real engine that says all it can, given keys, secrets and prompts that can be recognised: where they are found.

And what stands around its replicas: sockets that no key of a user opens, and processes that were given nothing.
"""

from __future__ import annotations

import itertools
import os
import resource
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from engine.placement.sockets import run_dir
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess, contents, poll

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read from /proc"),
]
ADMIN, SECRET, PROMPT = "fd_canary-admin-5d0c7a91e3", "canary-secret-44b1", "canary-prompt-9f27"
ELSEWHERE = {
    "FIREWORKS_API_KEY": "canary-fireworks-1c",
    "HF_TOKEN": "canary-hub-2d",
    "AWS_SECRET_ACCESS_KEY": "canary-aws",
}
CHAT = "accounts/local/deployments/chat"
PROXY = "127.0.0.5"  # every address of loopback is a machine of its own


@dataclass
class Stage:
    """The engine, a user's key, the temporary folder of all its processes, and the key of its one replica."""

    engine: EngineProcess
    user_key: str
    temporary: Path
    replica_key: str

    @property
    def url(self) -> str:
        return (self.engine.data_dir / "engine.url").read_text().strip()

    @property
    def processes(self) -> list[psutil.Process]:
        """The engine's own first, then all below it."""
        assert self.engine.process is not None
        own = psutil.Process(self.engine.process.pid)
        return [own, *own.children(recursive=True)]

    def http(self, key: str = ADMIN, address: str = "127.0.0.1") -> httpx.Client:
        way = httpx.HTTPTransport(local_address=address)
        return httpx.Client(base_url=self.url, headers={"x-api-key": key}, timeout=PATIENCE_S, transport=way)

    def holders(self, text: str) -> set[str]:
        """The files of the engine and its replicas that hold a text."""
        files = contents(self.engine.data_dir, run_dir(self.engine.data_dir), self.temporary)
        assert {"firedeck.db", "engine.log", "audit.head"} <= {file.name for file, _ in files}
        assert any(file.parent.name == "logs" for file, _ in files)
        return {file.name for file, content in files if text.encode() in content}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    temporary = tmp_path_factory.mktemp("tmp")
    words = ("--log-level", "debug", "--trusted-proxy", PROXY, "--allow-host", "gpu-box")
    given = ELSEWHERE | {"FIREDECK_API_KEY": ADMIN, "TMPDIR": str(temporary)}
    engine = EngineProcess(tmp_path_factory.mktemp("engine"), words, given).start()
    try:
        found = Stage(engine, "", temporary, "")
        with found.http() as http:
            http.post("/v1/accounts/local/users?userId=eve", json={"role": "inference-user"}).raise_for_status()
            made = http.post("/v1/accounts/local/users/eve/apiKeys", json={"apiKey": {}}).json()
            http.post("/v1/accounts/local/secrets", json={"name": "S", "keyName": "S", "value": SECRET})
            spec = {"baseModel": SMOLLM2, "minReplicaCount": 1, "maxReplicaCount": 1}
            http.post("/v1/accounts/local/deployments?deploymentId=chat", json=spec).raise_for_status()
            poll(lambda: http.get(f"/v1/{CHAT}").json()["state"] == "READY")
        [replica] = engine.replicas()
        yield Stage(engine, made["key"], temporary, replica.environ()["FIREDECK_REPLICA_KEY"])
    finally:
        engine.stop()


def test_no_prompt_is_in_any_file_argument_or_environment(stage: Stage) -> None:
    with stage.http(stage.user_key) as http:
        statuses = [http.post(path, json={"model": CHAT, **body}).status_code for path, body in talk()]
        assert {200, 400, 404} <= set(statuses) <= {200, 400, 404}
        whole = {"model": CHAT, "prompt": PROMPT, "max_tokens": 500, "stream": True, "ignore_eos": True}
        with http.stream("POST", "/v1/completions", json=whole) as broken_off:
            next(broken_off.iter_lines())
        half = f'{{"model": "{CHAT}", "prompt": "{PROMPT}'
        http.post("/v1/completions", content=half, headers={"content-type": "application/json"})
        kept = http.get("/firedeck/v1/accounts/local/requests?pageSize=200").json()["requests"]
        paths = [f"/firedeck/v1/accounts/local/requests/{one['requestId']}" for one in kept]
        traces = [http.get(path).raise_for_status().text for path in paths]
    assert len(traces) > len(statuses)
    assert PROMPT not in "".join(traces)
    assert stage.holders(PROMPT) == set()
    for process in stage.processes:
        assert PROMPT not in str(process.cmdline()) + str(process.environ())


def talk() -> Iterator[tuple[str, dict[str, object]]]:
    """Requests that carry the prompt wherever one may carry text: some are served, some refused."""
    messages, few = [{"role": "user", "content": PROMPT}], {"max_tokens": 2}
    schema = {"type": "object", "properties": {PROMPT: {"type": "string"}}, "pattern": 7}
    tool = {"type": "function", "function": {"name": "look", "description": PROMPT, "parameters": {}}}
    yield "/v1/chat/completions", {"messages": messages, **few, "user": PROMPT, "metadata": {"a": f"{PROMPT} in prose"}}
    yield "/v1/chat/completions", {"messages": messages, **few, "tools": [tool], "prompt_cache_key": PROMPT}
    yield "/v1/chat/completions", {"messages": messages, "response_format": {"type": "json_object", "schema": schema}}
    yield "/v1/chat/completions", {"messages": messages, "response_format": {"type": "grammar", "grammar": PROMPT}}
    yield "/v1/chat/completions", {"messages": [{"role": PROMPT, "content": PROMPT}]}
    yield "/v1/completions", {"prompt": PROMPT, **few, "stop": [PROMPT], "prediction": PROMPT}
    yield "/v1/completions", {"prompt": PROMPT * 5000}
    yield "/v1/completions", {"prompt": {"text": PROMPT}}
    yield "/v1/embeddings", {"input": PROMPT}
    yield "/v1/rerank", {"query": PROMPT, "documents": [PROMPT]}
    yield "/v1/completions", {"prompt": "x", "model": PROMPT}
    yield f"/v1/{PROMPT}", {}


def test_keys_and_secrets_are_only_where_they_belong(stage: Stage) -> None:
    for hidden in (ADMIN, stage.user_key, SECRET, *ELSEWHERE.values()):
        assert stage.holders(hidden) == set(), hidden
    databases = {"firedeck.db", "firedeck.db-wal"}
    assert stage.holders(stage.replica_key) & databases  # with which the next engine takes it over
    assert stage.holders(stage.replica_key) <= databases
    own, *below = stage.processes
    for process in (own, *below):
        shown = " ".join(process.cmdline())
        assert not any(text in shown for text in (ADMIN, stage.user_key, SECRET, stage.replica_key))
    [replica] = stage.engine.replicas()
    for process in below:
        given = process.environ()
        assert not {ADMIN, stage.user_key, SECRET, *ELSEWHERE.values()} & set(given.values())
        assert (stage.replica_key in given.values()) == (process.pid == replica.pid)


def test_no_process_of_the_engine_dumps_its_memory(stage: Stage) -> None:
    for process in stage.processes:
        assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (0, 0)


def test_a_replica_has_no_port_and_no_key_but_its_own_opens_its_socket(stage: Stage) -> None:
    folder = run_dir(stage.engine.data_dir)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    [socket] = folder.glob("*.sock")
    assert stat.S_IMODE(socket.stat().st_mode) & 0o077 == 0
    for replica in stage.engine.replicas():
        assert replica.net_connections("inet") == []
    way = httpx.HTTPTransport(uds=str(socket))
    with closing(httpx.Client(base_url="http://replica", transport=way, timeout=PATIENCE_S)) as http:
        for path in ("/health", "/stats", "/v1/completions", "/adapters", "/nothing"):
            for key in (ADMIN, stage.user_key, "", stage.replica_key[:-1]):
                headers = {"authorization": f"Bearer {key}"} if key else {}
                answer = http.request("POST" if "completions" in path else "GET", path, headers=headers)
                assert (answer.status_code, answer.json()["error"]["code"]) == (401, "UNAUTHORIZED")
        good = {"authorization": f"Bearer {stage.replica_key}"}
        assert http.get("/health", headers=good).json()["status"] == "ready"
    with stage.http(stage.replica_key, "127.0.0.6") as http:
        assert http.get("/v1/accounts").status_code == 401, "nor does a replica's key open the engine"


def test_a_replica_of_a_running_engine_was_given_nothing_of_it(stage: Stage) -> None:
    [replica] = stage.engine.replicas()
    assert os.getsid(replica.pid) == os.getpgid(replica.pid) == replica.pid
    assert replica.cwd() == "/"
    own = {"FIREDECK_REPLICA_KEY", "FIREDECK_REPLICA_NEED", "PYTHONUNBUFFERED", "PYTHONSAFEPATH"}
    inherited = {"PYTHONPATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "TMPDIR", "HOME"}  # HOME: beside GPUs
    assert own <= replica.environ().keys() <= own | inherited
    log = {str(file) for file in (stage.engine.data_dir / "logs").glob("*.log")}
    held = set(map(_target, _descriptors(replica.pid))) - {""}
    assert {target for target in held if target.startswith(str(stage.engine.data_dir))} <= log, held
    engines = psutil.Process(replica.ppid())
    shared = {link for link in map(_target, _descriptors(engines.pid)) if link.startswith(("socket:", "pipe:"))}
    assert not held & shared


def _descriptors(pid: int) -> list[str]:
    return [f"/proc/{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd")]


def _target(descriptor: str) -> str:
    try:
        return os.readlink(descriptor)
    except FileNotFoundError:  # closed meanwhile
        return ""


def test_an_engine_goes_by_the_names_it_was_given(stage: Stage) -> None:
    with stage.http() as http:
        assert http.get("/v1/accounts", headers={"host": "gpu-box:8700"}).status_code == 200
        assert http.get("/v1/accounts", headers={"host": "other-box:8700"}).status_code == 403


def test_where_a_request_comes_from_is_what_the_socket_says_or_a_proxy_that_is_trusted(stage: Stage) -> None:
    told = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}
    with stage.http(address=PROXY) as proxy, stage.http() as other:
        for http, path in ((proxy, "/v1/accounts/local/users/eve"), (other, "/v1/accounts/local/users/admin")):
            http.get(path, headers=told).raise_for_status()
        query = {"filter": "message=GetUser", "orderBy": "timestamp"}
        seen = other.get("/v1/accounts/local/auditLogs", params=query).json()["auditLogs"]
    assert [entry["clientIp"] for entry in seen] == ["203.0.113.9", "127.0.0.1"]


def test_who_sends_wrong_keys_does_not_become_many_by_saying_so(stage: Stage) -> None:
    numbers = itertools.count(1)
    with stage.http("fd_wrong") as thief:

        def held_up() -> bool:  # by the minute: one may end meanwhile
            said = {"x-forwarded-for": f"203.0.{next(numbers)}.9"}
            return thief.get("/v1/accounts", headers=said).status_code == 429

        assert any(held_up() for _ in range(200))
    with stage.http() as neighbour, stage.http("fd_wrong", "127.0.0.4") as other:
        assert neighbour.get("/v1/accounts").status_code == 200
        assert other.get("/v1/accounts").status_code == 401
