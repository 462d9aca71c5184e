"""Which GPUs are here, by NVML. No driver or no package: none, which is not an error."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def gpu_names() -> list[str]:
    """The product names of this machine's NVIDIA GPUs, in NVML's order; empty where there are none."""
    nvml = _nvml()
    if nvml is None:
        return []
    try:
        nvml.nvmlInit()
        count = nvml.nvmlDeviceGetCount()
        return [str(nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByIndex(i))) for i in range(count)]
    except nvml.NVMLError:
        return []


def _nvml() -> Any:
    try:
        import pynvml  # type: ignore[import-not-found, unused-ignore]  # extra `gpu`: nvidia-ml-py
    except ImportError:
        return None
    return pynvml
