"""Measured costs are remembered for the next replica, and never trusted when they cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.replica import cost_memory, llama, loading
from engine.replica.cost_memory import FRESH_FOR_S, fingerprint, recall_or_measure
from engine.replica.costs import CostTable
from engine.replica.hardware import Layout
from engine.replica.settings import Settings

TABLE = CostTable({1: 5.0, 8: 20.0}, 1.5, {5: 9.0}, True, threads=2, thread_ms={4: 10.0, 2: 10.5, 1: 16.0})


class Measuring:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> CostTable:
        self.times += 1
        return TABLE


def test_the_second_replica_of_the_same_settings_need_not_measure(tmp_path):
    file, measure = tmp_path / "costs.json", Measuring()
    assert recall_or_measure(file, "k", measure) == TABLE
    assert recall_or_measure(file, "k", measure) == TABLE
    assert measure.times == 1
    recall_or_measure(file, "other", measure)
    assert measure.times == 2
    assert recall_or_measure(file, "k", measure) == TABLE
    assert measure.times == 2


def test_a_day_old_measurement_is_made_anew(tmp_path):
    file, measure = tmp_path / "costs.json", Measuring()
    recall_or_measure(file, "k", measure, now=lambda: 0.0)
    recall_or_measure(file, "k", measure, now=lambda: FRESH_FOR_S - 1)
    assert measure.times == 1
    recall_or_measure(file, "k", measure, now=lambda: FRESH_FOR_S)
    assert measure.times == 2


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"k": 1}', '{"k": {}}', '{"k": {"at": 0, "step_ms": {}, "prefill_token_ms": 1}}',
     '{"k": {"at": 0, "step_ms": {"1": -1}, "prefill_token_ms": 1}}', '{"k": {"at": "x", "step_ms": 3}}'],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_measured_anew_and_mended(tmp_path, text):
    file, measure = tmp_path / "costs.json", Measuring()
    file.write_text(text)
    assert recall_or_measure(file, "k", measure, now=lambda: 1.0) == TABLE
    assert recall_or_measure(file, "k", measure, now=lambda: 2.0) == TABLE
    assert measure.times == 1


@pytest.mark.parametrize(
    "spoilt",
    [{"threads": 0}, {"threads": 3}, {"threads": None}, {"thread_ms": None}, {"thread_ms": {}, "threads": 0}],
)
def test_a_number_of_threads_that_was_not_measured_is_not_believed(tmp_path, spoilt):
    file, measure = tmp_path / "costs.json", Measuring()
    recall_or_measure(file, "k", measure)
    entries = json.loads(file.read_text())
    file.write_text(json.dumps({"k": entries["k"] | spoilt}))
    assert recall_or_measure(file, "k", measure) == TABLE
    assert measure.times == 2


def test_a_number_of_threads_that_was_given_needs_no_measurements(tmp_path):
    given = CostTable({1: 5.0}, 1.5, threads=3)
    recall_or_measure(tmp_path / "costs.json", "k", lambda: given)
    assert recall_or_measure(tmp_path / "costs.json", "k", Measuring()) == given


def test_a_folder_that_cannot_be_written_only_costs_the_memory(tmp_path):
    measure = Measuring()
    assert recall_or_measure(tmp_path / "missing" / "costs.json", "k", measure) == TABLE
    assert recall_or_measure(None, "k", measure) == TABLE


def test_the_fingerprint_changes_with_the_file_and_the_settings(tmp_path):
    model = tmp_path / "m.gguf"
    model.write_bytes(b"one")
    first = fingerprint(model, slots=8)
    assert fingerprint(model, slots=8) == first
    assert fingerprint(model, slots=4) != first
    model.write_bytes(b"other")
    assert fingerprint(model, slots=8) != first


def test_the_fingerprint_changes_with_the_driver_of_the_gpus(tmp_path, monkeypatch):
    model, driver = tmp_path / "m.gguf", tmp_path / "version"
    model.write_bytes(b"one")
    monkeypatch.setattr(cost_memory, "GPU_DRIVER", driver)
    keys = {fingerprint(model)}
    for version in ("NVRM version: 580.65\nGCC", "NVRM version: 590.12\nGCC"):
        driver.write_text(version)
        keys.add(fingerprint(model))
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("part", "other"), [("accelerators", ("NVIDIA H100", "NVIDIA H100")), ("build", "0.3.37 CPU : AVX2 = 1")]
)
def test_costs_measured_on_other_gpus_or_by_another_build_are_not_believed(tmp_path, monkeypatch, part, other):
    class Opened:
        length, capacity = 256, 2048
        bos = -1
        vocabulary: Any

    model = tmp_path / "m.gguf"
    model.write_bytes(b"one")
    opened: Any = Opened()
    opened.vocabulary = opened
    settings = Settings("d", "r", str(model), costs_file=str(tmp_path / "costs.json"))
    times: list[int] = []
    monkeypatch.setattr(loading.costs, "measure", lambda *_args, **_options: times.append(1) or TABLE)
    for _ in range(2):
        assert loading._costs(settings, Layout(0, 0, 2, 512, 64), opened, opened) == TABLE
    assert len(times) == 1
    monkeypatch.setattr(llama, part, lambda: other)
    loading._costs(settings, Layout(0, 0, 2, 512, 64), opened, opened)
    assert len(times) == 2
