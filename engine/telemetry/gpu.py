"""Which GPUs are here, by NVML. No driver or no package: none, which is not an error."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from itertools import takewhile
from typing import Any


@cache
def gpu_names() -> list[str]:
    """The product names of this machine's NVIDIA GPUs, in NVML's order; empty where there are none."""
    return _of_each("nvmlDeviceGetName")


@cache
def usable_gpus() -> list[str]:
    """The GPUs that replicas may use, as CUDA_VISIBLE_DEVICES takes them: all, or those that it leaves this process."""
    return allowed(_of_each("nvmlDeviceGetUUID"), os.environ.get("CUDA_VISIBLE_DEVICES"))


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
