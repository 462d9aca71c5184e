"""Which GPUs are here and what is free on them, by NVML. No driver or no package: none, which is not an error."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from typing import Any

from engine.units import GIB

# What NVML calls a GPU -> the wire's accelerator types; the memory tells two of one name apart.
_TYPES = (
    ("A100", 60, "NVIDIA_A100_40GB"), ("A100", 90, "NVIDIA_A100_80GB"), ("H100", 100, "NVIDIA_H100_80GB"),
    ("H200", 150, "NVIDIA_H200_141GB"), ("B200", 200, "NVIDIA_B200_180GB"), ("L4", 30, "NVIDIA_L4_24GB"),
    ("A10G", 30, "NVIDIA_A10G_24GB"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gpu:
    """One that replicas may use; `id` is as CUDA_VISIBLE_DEVICES takes it."""

    id: str
    name: str
    memory_bytes: int
    free_bytes: int

    @property
    def accelerator_type(self) -> str | None:
        """The wire's word for it, None where it has none."""
        words = self.name.replace("-", " ").split()
        for word, below_gib, kind in _TYPES:
            if word in words and self.memory_bytes < below_gib * GIB:
                return kind
        return None


@cache
def gpu_names() -> list[str]:
    """The product names of this machine's NVIDIA GPUs, in NVML's order; empty where there are none."""
    return _of_each("nvmlDeviceGetName")


@cache
def usable_gpus() -> list[str]:
    """The GPUs that replicas may use, as CUDA_VISIBLE_DEVICES takes them: all, or those that it leaves this process."""
    return allowed(_uuids(), os.environ.get("CUDA_VISIBLE_DEVICES"))


def gpus() -> tuple[Gpu, ...]:
    """Those of `usable_gpus`, in their order, as they are now."""
    nvml = _nvml()
    if nvml is None:
        return ()
    try:
        nvml.nvmlInit()
        return tuple(_gpu(nvml, gpu_id) for gpu_id in usable_gpus())
    except nvml.NVMLError:
        return ()


def allowed(found: Sequence[str], visible: str | None) -> list[str]:
    """What CUDA shows of the GPUs `found` under CUDA_VISIBLE_DEVICES=`visible` (None: unset): all, or the entries of
    the list up to the first that names no GPU."""
    if not found or visible is None:
        return list(found)
    entries = (entry.strip() for entry in visible.split(","))
    return list(takewhile(lambda entry: _names_one(entry, found), entries))


def _names_one(entry: str, found: Sequence[str]) -> bool:
    """By its index, or by the beginning of its id; MIG instances have ids that NVML lists elsewhere."""
    if entry.isdecimal():
        return int(entry) < len(found)
    return entry.startswith("MIG-") or any(entry and one.startswith(entry) for one in found)


def _gpu(nvml: Any, gpu_id: str) -> Gpu:
    if gpu_id.isdecimal():
        handle = nvml.nvmlDeviceGetHandleByIndex(int(gpu_id))
    else:
        handle = nvml.nvmlDeviceGetHandleByUUID(next((one for one in _uuids() if one.startswith(gpu_id)), gpu_id))
    room = nvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(gpu_id, str(nvml.nvmlDeviceGetName(handle)), int(room.total), int(room.free))


@cache
def _uuids() -> list[str]:
    return _of_each("nvmlDeviceGetUUID")


def _of_each(question: str) -> list[str]:
    """What NVML answers for each GPU, in its order."""
    nvml = _nvml()
    if nvml is None:
        return []
    try:
        nvml.nvmlInit()
        count = nvml.nvmlDeviceGetCount()
        return [str(getattr(nvml, question)(nvml.nvmlDeviceGetHandleByIndex(i))) for i in range(count)]
    except nvml.NVMLError:
        return []


def _nvml() -> Any:
    try:
        import pynvml  # type: ignore[import-not-found, unused-ignore]  # extra `gpu`: nvidia-ml-py
    except ImportError:
        return None
    return pynvml
