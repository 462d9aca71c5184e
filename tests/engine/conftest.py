"""Replica processes for tests: a real model, a real process, HTTP over its unix socket."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from engine.models.quantize import quantize
from tests.gguf_copies import pruned
from tests.processes import PATIENCE_S

KEY = "test-replica-key"
ORPHAN_S = 600  # while tests are busy with others
SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"
GEMMA = "gemma-3-270m-q4_k_m.gguf"
ROOT = Path(__file__).parents[2]


def model_file(name: str) -> Path:
    """Where a model of the demo lies: FIREDECK_TEST_MODEL (SmolLM2 only), else the cache folder."""
    chosen = os.environ.get("FIREDECK_TEST_MODEL") if name == SMOLLM2 else None
    cache = Path(os.environ.get("FIREDECK_CACHE_DIR") or Path.home() / ".cache" / "firedeck")
    path = Path(chosen) if chosen else cache / "models" / name
    if not path.exists():
        pytest.fail(f"{path} is missing: run `make install`, or set FIREDECK_TEST_MODEL")
    return path


@dataclass
class Replica:
    """A running replica process and where to reach it."""

    process: subprocess.Popen[str]
    socket: Path

    def client(self, key: str = KEY) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.socket))
        return httpx.Client(
            transport=transport,
            base_url="http://replica",
            headers={"authorization": f"Bearer {key}"},
            timeout=PATIENCE_S,
        )

    def async_client(self) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket), limits=httpx.Limits(max_connections=64))
        return httpx.AsyncClient(
            transport=transport,
            base_url="http://replica",
            headers={"authorization": f"Bearer {KEY}"},
            timeout=PATIENCE_S,
        )

    def wait_ready(self) -> None:
        """Poll /health until it says ready; fails when the process ends or the model fails to load."""
        with self.client() as client:
            poll_until(lambda: self._ready(client))

    def _ready(self, client: httpx.Client) -> bool:
        assert self.process.poll() is None, f"the replica exited with {self.process.returncode}"
        try:
            answer = client.get("/health")
        except httpx.TransportError:
            return False
        assert answer.json()["status"] != "failed", answer.text
        return answer.status_code == 200


def poll_until(condition: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Return once `condition` holds; the patience only turns a hang into a failure."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "gave up waiting"
        time.sleep(0.02)


Launch = Callable[..., Replica]


def _start(folder: Path, model: Path, *options: str) -> Replica:
    socket = folder / f"{secrets.token_hex(4)}.sock"  # never one that another replica will remove when it ends
    command = [sys.executable, "-m", "engine.replica", "--deployment", "accounts/local/deployments/test"]
    command += ["--replica", "test-0", "--socket", str(socket), "--model", str(model)]
    command += ["--orphan-timeout", str(ORPHAN_S), *options]
    environment = os.environ | {"FIREDECK_REPLICA_KEY": KEY, "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    return Replica(process, socket)


def _stop(replica: Replica) -> None:
    if replica.process.poll() is None:
        replica.process.send_signal(signal.SIGKILL)
    replica.process.wait()
    assert replica.process.stderr is not None
    replica.process.stderr.close()


@contextmanager
def running(folder: Path, model: Path, *options: str) -> Iterator[Replica]:
    """A replica that is ready, and gone afterwards."""
    replica = _start(folder, model, *options)
    try:
        replica.wait_ready()
        yield replica
    finally:
        _stop(replica)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start replicas that a test may break; all are gone afterwards."""
    started: list[Replica] = []

    def run(model: Path, *options: str) -> Replica:
        started.append(_start(tmp_path, model, *options))
        return started[-1]

    yield run
    for replica in started:
        _stop(replica)


@pytest.fixture(scope="session")
def q4_0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2, four times as fast at reading as the Q4_1 it is made from."""
    return quantize(model_file(SMOLLM2), tmp_path_factory.mktemp("model") / "q4_0.gguf", "Q4_0")


@pytest.fixture(scope="session")
def replica(tmp_path_factory: pytest.TempPathFactory, q4_0: Path) -> Iterator[Replica]:
    """One SmolLM2 replica for all tests that leave it as they found it."""
    patient = ("--orphan-timeout", "3600")  # tests of other replicas may take longer than an orphan waits
    with running(tmp_path_factory.mktemp("replica"), q4_0, "--context", "512", *patient) as replica:
        yield replica


@pytest.fixture
def client(replica: Replica) -> Iterator[httpx.Client]:
    with replica.client() as client:
        yield client


@pytest.fixture(scope="session")
def smollm2() -> Path:
    return model_file(SMOLLM2)


@pytest.fixture(scope="session")
def gemma() -> Path:
    return model_file(GEMMA)


@pytest.fixture(scope="session")
def short_smollm2(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2's first layers, quantized (Q4_1) as they are: a third of the file, and text of no sense."""
    return pruned(smollm2, tmp_path_factory.mktemp("short") / "short.gguf", layers=4)
