"""Layouts: how a model lies on machines with and without accelerators, and how many threads it may try."""

from __future__ import annotations

from typing import Any

import pytest

from engine.replica.hardware import ALL_LAYERS, CPU_BATCH_TOKENS, GPU_BATCH_TOKENS, Layout, lay_out, tensor_split

ASKED: dict[str, Any] = {"gpu_layers": None, "devices": None, "threads": 1, "cores": 1}


def layout(found: int, *, can_offload: bool = True, **asked: Any) -> Layout:
    return lay_out(can_offload=can_offload, found=found, **ASKED | asked)


@pytest.mark.parametrize(
    ("found", "asked", "devices"),
    [(1, None, 1), (4, None, 4), (4, 1, 1), (4, 3, 3), (4, 4, 4), (4, 8, 4), (1, 2, 1)],
)
def test_all_layers_go_to_as_many_accelerators_as_asked_for_and_there(found, asked, devices) -> None:
    made = layout(found, devices=asked)
    assert (made.gpu_layers, made.devices, made.on_gpu) == (ALL_LAYERS, devices, True)
    assert tensor_split(made) == (1.0,) * devices
    assert made.batch == GPU_BATCH_TOKENS


@pytest.mark.parametrize("asked", [None, 1, 8])
@pytest.mark.parametrize(("found", "can_offload"), [(0, True), (4, False)])
def test_without_accelerators_that_the_build_can_use_all_stays_on_the_cpu(found, can_offload, asked) -> None:
    made = layout(found, can_offload=can_offload, devices=asked, gpu_layers=ALL_LAYERS)
    assert (made.gpu_layers, made.devices, made.on_gpu) == (0, 0, False)
    assert tensor_split(made) == ()
    assert made.batch == CPU_BATCH_TOKENS


def test_layers_can_be_kept_off_the_accelerators() -> None:
    assert not layout(2, gpu_layers=0).on_gpu
    assert layout(2, gpu_layers=10).gpu_layers == 10


@pytest.mark.parametrize("found", [0, 1])
@pytest.mark.parametrize(
    ("threads", "cores", "most", "tune"), [(0, 1, 1, False), (0, 6, 6, True), (3, 6, 3, False), (8, 6, 8, False)]
)
def test_threads_are_tried_up_to_the_cores_unless_their_number_is_given(found, threads, cores, most, tune) -> None:
    made = layout(found, threads=threads, cores=cores)
    assert (made.threads, made.tune) == (most, tune)
