"""Threads of a real replica: chosen within its cores, remembered, or as given; and attention as asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as C
import psutil
import pytest

from engine.replica import llama, loading
from engine.replica.hardware import lay_out
from engine.replica.settings import Settings
from tests.engine.conftest import Launch, Replica

SIZE = ("--slots", "2", "--context", "256")


def stats(replica: Replica) -> dict[str, Any]:
    replica.wait_ready()
    with replica.client() as client:
        answer: dict[str, Any] = client.get("/stats").json()
        return answer


def threads_of(replica: Replica) -> set[int]:
    return {thread.id for thread in psutil.Process(replica.process.pid).threads()}


def test_threads_are_tried_within_the_cores_and_the_choice_is_remembered(
    launch: Launch, smollm2: Path, tmp_path: Path
) -> None:
    costs = str(tmp_path / "costs.json")
    first = stats(launch(smollm2, *SIZE, "--cores", "2", "--costs", costs))
    assert "2" in first["thread_cost_ms"]  # and "1", unless the machine is too slow to try both in time
    assert str(first["device"]["threads"]) in first["thread_cost_ms"]
    # Measured again, no figure would come out the same.
    later = stats(launch(smollm2, *SIZE, "--cores", "2", "--costs", costs))
    assert later["thread_cost_ms"] == first["thread_cost_ms"]
    assert later["device"]["threads"] == first["device"]["threads"]


@pytest.mark.parametrize("remembered", [1, 2])
def test_a_remembered_number_is_the_one_that_llama_cpp_takes(smollm2: Path, tmp_path: Path, remembered: int) -> None:
    file = tmp_path / "costs.json"
    settings = Settings("d", "r", str(smollm2), slots=2, context=256, cores=2, costs_file=str(file))
    layout = lay_out(gpu_layers=0, devices=None, threads=0, cores=2, can_offload=False, found=0)
    model = llama.Model(str(smollm2), gpu_layers=0)
    loading.free(loading.load(settings, layout, model))
    entries = json.loads(file.read_text())
    for entry in entries.values():
        entry |= {"threads": remembered, "thread_ms": {"1": 9.0, "2": 9.0}}
    file.write_text(json.dumps(entries))
    loaded = loading.load(settings, layout, model)
    taken = C.llama_n_threads(loaded.context.pointer), C.llama_n_threads_batch(loaded.context.pointer)
    loading.free(loaded)
    model.close()
    assert taken == (remembered, remembered)
    assert loaded.layout.threads == loaded.context.threads == remembered


def test_without_cores_to_spare_nothing_is_tried(launch: Launch, smollm2: Path) -> None:
    figures = stats(launch(smollm2, *SIZE))
    assert figures["device"]["threads"] == 1
    assert figures["thread_cost_ms"] == {}


def test_a_number_of_threads_that_is_given_is_taken_and_used(launch: Launch, smollm2: Path) -> None:
    replica = launch(smollm2, *SIZE, "--threads", "3", "--cores", "2")
    figures = stats(replica)
    assert figures["device"]["threads"] == 3
    assert figures["thread_cost_ms"] == {}
    with replica.client() as client:
        before = threads_of(replica)
        client.post("/v1/completions", json={"prompt": "Count:", "max_tokens": 2}).raise_for_status()
        # llama.cpp's, beside the one that calls. Those of the thread that loaded the model may end meanwhile.
        assert len(threads_of(replica) - before) >= 2


def test_flash_attention_is_on_and_reported(launch: Launch, smollm2: Path) -> None:
    assert stats(launch(smollm2, *SIZE))["device"]["flash_attention"] is True
