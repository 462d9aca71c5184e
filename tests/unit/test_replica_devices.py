"""What llama.cpp is told on a machine with GPUs, which this test makes up: its list of devices, and what it is given to
load a model and to make a context with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import llama_cpp.llama_cpp as C
import pytest

from engine.replica import hardware, llama, loading, preload
from engine.replica.hardware import ALL_LAYERS, GPU_BATCH_TOKENS
from engine.replica.llama import backend
from engine.replica.settings import Settings

CPU, GPU, INTEGRATED = 0, 1, 2  # ggml-backend.h: ggml_backend_dev_type
H200, IGPU, PROCESSOR = (GPU, b"NVIDIA H200"), (INTEGRATED, b"AMD Radeon"), (CPU, b"AMD EPYC")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call it with devices, each a type and a name: from then on llama.cpp has them."""

    def has(*devices: tuple[int, bytes], offload: bool = True) -> None:
        ggml = SimpleNamespace(
            ggml_backend_dev_count=lambda: len(devices),
            ggml_backend_dev_get=lambda place: place,
            ggml_backend_dev_type=lambda place: devices[place][0],
            ggml_backend_dev_description=lambda place: devices[place][1],
        )
        monkeypatch.setattr(backend, "_ggml", ggml)
        monkeypatch.setattr(C, "llama_supports_gpu_offload", lambda: offload)

    return has


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What llama.cpp was given last; it loads and makes nothing."""
    given: dict[str, Any] = {}

    def load(_path: bytes, params: Any) -> None:
        split = params.tensor_split
        given["layers"] = params.n_gpu_layers
        given["split"] = split[: C.llama_max_devices()] if split else []

    def make(_model: Any, params: Any) -> None:
        given["batch"] = params.n_batch, params.n_ubatch
        given["flash_attention"], given["on_device"] = params.flash_attn_type, (params.offload_kqv, params.op_offload)

    monkeypatch.setattr(C, "llama_model_load_from_file", load)
    monkeypatch.setattr(C, "llama_init_from_model", make)
    return given


def load(path: Path, settings: Settings) -> None:
    """As the preloading thread does it, with a model that no file holds."""
    (path / "model.gguf").write_bytes(b"GGUF" + bytes(8))
    layout = preload._lay_out(settings)
    with pytest.raises(llama.LoadError):
        llama.Model(str(path / "model.gguf"), gpu_layers=layout.gpu_layers, tensor_split=hardware.tensor_split(layout))
    model: Any = SimpleNamespace(pointer=1, context_trained=8192)
    with pytest.raises(llama.LoadError):
        llama.Context(model, loading._shape(settings, layout, model))


@pytest.mark.parametrize(("asked", "used"), [(None, 4), (1, 1), (2, 2), (8, 4)])
def test_all_layers_are_shared_evenly_by_as_many_gpus_as_the_deployment_has(
    machine: Any, told: dict[str, Any], tmp_path: Path, asked: int | None, used: int
) -> None:
    machine(PROCESSOR, H200, H200, H200, H200)
    load(tmp_path, Settings("d", "r", "", devices=asked))
    assert told["layers"] == ALL_LAYERS
    assert told["split"][:used] == [1.0] * used
    assert not any(told["split"][used:])


def test_on_gpus_attention_is_fused_calls_are_wide_and_all_state_lies_there(
    machine: Any, told: dict[str, Any], tmp_path: Path
) -> None:
    machine(PROCESSOR, H200)
    load(tmp_path, Settings("d", "r", ""))
    assert told["batch"] == (GPU_BATCH_TOKENS, GPU_BATCH_TOKENS)
    assert told["flash_attention"] == C.LLAMA_FLASH_ATTN_TYPE_AUTO  # on wherever there is a kernel
    assert told["on_device"] == (True, True)


@pytest.mark.parametrize("devices", [[PROCESSOR], [PROCESSOR, IGPU]])
def test_without_a_gpu_of_its_own_a_machine_keeps_all_on_the_cpu(
    machine: Any, told: dict[str, Any], tmp_path: Path, devices: list[tuple[int, bytes]]
) -> None:
    machine(*devices)
    load(tmp_path, Settings("d", "r", "", devices=2))
    assert (told["layers"], told["split"]) == (0, [])
    assert told["batch"] == (hardware.CPU_BATCH_TOKENS, hardware.CPU_BATCH_TOKENS)


def test_gpus_are_known_by_the_names_of_their_types_where_the_build_can_use_them(machine: Any) -> None:
    machine(PROCESSOR, H200, IGPU, H200)
    assert llama.accelerators() == ("NVIDIA H200", "NVIDIA H200")
    machine(PROCESSOR, H200, offload=False)
    assert llama.accelerators() == ()
