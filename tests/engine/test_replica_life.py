"""The life of a replica process: loading, draining, failing, being orphaned; and a base model."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.replica import lifecycle
from tests.engine.conftest import Launch, Replica, poll_until
from tests.processes import PATIENCE_S

pytestmark = pytest.mark.model


def test_the_socket_answers_before_the_model_is_loaded(launch: Launch, tmp_path: Path) -> None:
    endless = tmp_path / "endless.gguf"  # a pipe that nobody writes to: reading it takes as long as this test likes
    os.mkfifo(endless)
    replica = launch(endless, "--slots", "1", "--context", "256")
    with replica.client() as client:
        poll_until(lambda: answers(client))
        assert client.get("/health").json()["status"] == "loading"
        poll_until(lambda: client.get("/health").json()["last_progress_age_s"] > 1.5)  # and it says that it hangs
        refused = client.post("/v1/completions", json={"prompt": "x"})
        assert refused.status_code == 503
        assert refused.json()["error"]["message"] == "this replica is loading"
        assert int(refused.headers["retry-after"]) > 0
    replica.process.send_signal(signal.SIGTERM)
    assert replica.process.wait(PATIENCE_S) == 0  # although what reads the file cannot be stopped
    assert not replica.socket.exists()


def answers(client: httpx.Client) -> bool:
    try:
        return bool(client.get("/health").json())
    except httpx.TransportError:
        return False


def test_a_base_model_completes_and_says_that_it_cannot_chat(launch: Launch, gemma: Path) -> None:
    replica = launch(gemma, "--slots", "2", "--context", "256")
    replica.wait_ready()
    with replica.client() as client:
        chat = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hi"}]})
        assert chat.status_code == 400
        assert chat.json()["error"]["code"] == "FAILED_PRECONDITION"
        assert "completions" in chat.json()["error"]["message"]
        body = {"prompt": "The capital of France is", "max_tokens": 4, "temperature": 0, "echo": True, "logprobs": 1}
        answer = client.post("/v1/completions", json=body)
        assert answer.json()["choices"][0]["text"].startswith("The capital of France is")
        stats = client.get("/stats").json()
        assert stats["model"]["chat_template"] is False
        assert stats["model"]["vocabulary"] == 262144
        assert stats["device"]["kind"] in ("cpu", "gpu")
        assert float(stats["step_cost_ms"]["1"]) > 0
        assert stats["longest_call_ms"] >= float(stats["step_cost_ms"]["1"])


def test_sigterm_finishes_what_runs_and_refuses_what_is_new(launch: Launch, smollm2: Path) -> None:
    replica = launch(smollm2, "--slots", "2", "--context", "512")
    replica.wait_ready()
    results: list[httpx.Response] = []
    body: dict[str, Any] = {"prompt": "Count:", "max_tokens": 250, "ignore_eos": True}
    endless = body | {"n": 100, "max_tokens": 480, "stream": True}  # keeps it until its client leaves
    with replica.client() as client, replica.client() as second, replica.client() as third:

        def ask() -> threading.Thread:
            asking = threading.Thread(target=lambda: results.append(client.post("/v1/completions", json=body)))
            asking.start()
            return asking

        thread = ask()
        while second.get("/health").json()["running"] != 1:
            if not thread.is_alive():  # it was over before somebody looked
                thread = ask()
            time.sleep(0.01)
        with third.stream("POST", "/v1/completions", json=endless) as stream:
            next(stream.iter_lines())
            replica.process.send_signal(signal.SIGTERM)
            poll_until(lambda: second.get("/health").json()["status"] == "draining")
            assert second.post("/v1/completions", json=body).status_code == 503
        thread.join()
    assert results[-1].json()["usage"]["completion_tokens"] == 250
    assert replica.process.wait(PATIENCE_S) == 0
    assert not replica.socket.exists()


def test_a_drain_that_takes_too_long_ends_streams_with_an_error_event(launch: Launch, smollm2: Path) -> None:
    replica = launch(smollm2, "--slots", "1", "--context", "2048", "--drain-timeout", "0.2")
    replica.wait_ready()
    body = {"prompt": "Count:", "max_tokens": 2000, "n": 8, "ignore_eos": True, "stream": True}
    with replica.client() as client, client.stream("POST", "/v1/completions", json=body) as stream:
        lines = stream.iter_lines()
        next(lines)
        replica.process.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]
    assert '"error"' in rest[-1]
    assert "UNAVAILABLE" in rest[-1]
    assert replica.process.wait(PATIENCE_S) == 0


def test_a_file_that_is_no_model_exits_3_with_the_reason(launch: Launch, tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"not a model at all")
    replica = launch(bad)
    _, errors = replica.process.communicate(timeout=PATIENCE_S)
    assert replica.process.returncode == 3
    assert errors.strip().splitlines()[-1] == f"{bad} is not a GGUF file"


def test_a_truncated_model_exits_3_and_health_told_why(launch: Launch, tmp_path: Path, smollm2: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(smollm2.read_bytes()[: 20 * 1024 * 1024])
    for _time in range(5):  # it waits a moment to be asked: who is held up just then asks too late
        replica = launch(cut)
        told = told_by_health(replica)
        _, errors = replica.process.communicate(timeout=PATIENCE_S)
        assert replica.process.returncode == 3
        if told:
            break
    assert told
    assert errors.strip().splitlines()[-1] == told[0]
    assert "cut.gguf" in told[0]


def told_by_health(replica: Replica) -> list[str]:
    """Why it failed, unless it ended before anybody asked."""
    told: list[str] = []

    def asked() -> bool:
        try:
            health = client.get("/health").json()
        except httpx.TransportError:
            return replica.process.poll() is not None
        told.extend([health["reason"]] if health["status"] == "failed" else [])
        return bool(told)

    with replica.client() as client:
        poll_until(asked)
    return told


def test_a_replica_that_nobody_talks_to_exits_0(launch: Launch, smollm2: Path) -> None:
    replica = launch(smollm2, "--slots", "1", "--context", "256", "--orphan-timeout", "1")
    assert replica.process.wait(PATIENCE_S) == 0
    assert not replica.socket.exists()


def test_a_replica_leaves_the_socket_that_somebody_else_has_bound_in_its_place(launch: Launch, smollm2: Path) -> None:
    replica = launch(smollm2, "--context", "256")
    replica.wait_ready()
    replica.socket.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(replica.socket))
        assert replica.process.wait(PATIENCE_S) == 0
        assert replica.socket.exists()


def test_a_socket_that_cannot_be_removed_keeps_no_replica_from_ending(tmp_path: Path, monkeypatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(f"{path} is on a file system that became read-only")

    with lifecycle.bind(str(tmp_path / "s")) as listener:
        door = lifecycle.Door(listener)
        with monkeypatch.context() as patched:
            patched.setattr(os, "unlink", refuse)
            door.remove()
        assert not door.shut()
        door.remove()
        assert door.shut()


def test_strangers_without_the_key_do_not_keep_a_replica_alive(launch: Launch, smollm2: Path) -> None:
    replica = launch(smollm2, "--slots", "1", "--context", "256", "--orphan-timeout", "1")

    def knock() -> bool:
        try:
            with replica.client(key="wrong") as stranger:
                stranger.get("/health")
        except httpx.TransportError:
            pass
        return replica.process.poll() is not None

    poll_until(knock)
    assert replica.process.returncode == 0


def test_no_key_in_the_environment_is_a_usage_error(tmp_path: Path, smollm2: Path) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "engine.replica", "--deployment", "d", "--replica", "r"]
    command += ["--socket", str(tmp_path / "s"), "--model", str(smollm2)]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": ""}, check=False)
    assert done.returncode == 2
    assert "FIREDECK_REPLICA_KEY" in done.stderr
