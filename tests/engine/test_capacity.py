"""The estimate against the resident memory of real replicas, for both embedded models."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from engine.control.capacity import Workload, estimate
from engine.models import dimensions, fetch
from engine.models.catalogue import find
from tests.processes import GEMMA, PATIENCE_S, SMOLLM2

pytestmark = pytest.mark.model
UNDER_MOST = 0.2  # of what is measured
OVER_MOST = 0.3
FEW = [(SMOLLM2, 8, 2048), (GEMMA, 4, 4096)]
MANY = [
    (SMOLLM2, 1, 512),
    (SMOLLM2, 4, 8192),
    (SMOLLM2, 64, 1024),
    (GEMMA, 1, 512),
    (GEMMA, 2, 32768),
    (GEMMA, 64, 512),
]


@pytest.mark.parametrize(("model", "slots", "context"), FEW)
def test_a_replica_takes_about_what_was_estimated(model, slots, context, tmp_path, capsys):
    compare(model, slots, context, tmp_path, capsys)


@pytest.mark.soak
@pytest.mark.parametrize(("model", "slots", "context"), MANY)
def test_a_replica_of_any_shape_takes_about_what_was_estimated(model, slots, context, tmp_path, capsys):
    compare(model, slots, context, tmp_path, capsys)


def compare(model: str, slots: int, context: int, tmp_path: Path, capsys) -> None:
    file = fetch.path_of(find(model))
    size = estimate(dimensions.read(file), Workload(slots, context))
    expected = size.model_bytes + size.process  # the prefix cache fills only with use
    taken = resident(file, slots, context, tmp_path / "r.sock")
    error = expected / taken - 1
    with capsys.disabled():
        print(
            f"\n{file.name} {slots} x {context}: {expected >> 20} MiB estimated, {taken >> 20} resident, {error:+.1%}"
        )
    assert -UNDER_MOST < error < OVER_MOST


def resident(file: Path, slots: int, context: int, socket: Path) -> int:
    """Bytes of a replica that has answered one request."""
    key = secrets.token_hex(8)
    command = [
        sys.executable, "-m", "engine.replica", "--deployment", "d", "--replica", "r", "--socket", str(socket),
        "--model", str(file), "--slots", str(slots), "--context", str(context), "--threads", "1",
    ]  # fmt: skip
    replica = subprocess.Popen(command, env=os.environ | {"FIREDECK_REPLICA_KEY": key}, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://replica",
            headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE_S,
        ) as client:  # fmt: skip
            wait_until_ready(client)
            asked = {"model": "m", "prompt": "hello " * (context // 4), "max_tokens": 8}
            assert client.post("/v1/completions", json=asked).status_code == 200
        return int(psutil.Process(replica.pid).memory_info().rss)
    finally:
        replica.kill()
        replica.wait()


def wait_until_ready(client: httpx.Client) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            if client.get("/health").json()["status"] == "ready":
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError("the replica never became ready")
