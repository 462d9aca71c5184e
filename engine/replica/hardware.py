"""How a model is laid out on the machine at hand: layers on accelerators, threads, batch sizes. Pure.

CPU and GPU run the same code: they differ in the figures here, and in the costs measured afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

ALL_LAYERS = -1
# On a CPU a chunk is bounded by the time it takes anyway; on a GPU wide batches are what fills it.
CPU_BATCH_TOKENS = 512
GPU_BATCH_TOKENS = 2048
# llama.cpp's CPU attention takes another way, faster and with other rounding, when a call holds 64 or more tokens of
# one sequence (ggml-cpu/ops.cpp, tiled flash attention). So that text does not depend on how a prompt was cut, prompts
# of so many tokens are evaluated in such wide calls only, and everything else never.
CPU_WIDE_TOKENS = 64
READ_ROWS = 32  # tokens of one sequence whose logits one call returns: drafts, and prompts that are scored


@dataclass(frozen=True, slots=True)
class Layout:
    """`devices`: accelerators to split the layers over, 0 on a CPU. `batch`: tokens a decode call may carry.
    `wide`: tokens from which on a call rounds differently; 1: it makes no difference."""

    gpu_layers: int
    devices: int
    threads: int
    batch: int
    wide: int
    rows: int = READ_ROWS

    @property
    def on_gpu(self) -> bool:
        return self.gpu_layers != 0


def lay_out(*, gpu_layers: int | None, devices: int | None, threads: int, can_offload: bool, found: int) -> Layout:
    """The layout for what was asked (None: decide) and what is there (`found` accelerators, if the build can use them).

    Everything goes to the accelerators when there are any: a layer left on the CPU costs more than all others.
    """
    usable = can_offload and found > 0
    layers = (ALL_LAYERS if gpu_layers is None else gpu_layers) if usable else 0
    if layers == 0:
        return Layout(0, 0, threads, CPU_BATCH_TOKENS, CPU_WIDE_TOKENS)
    return Layout(layers, min(devices or found, found), threads, GPU_BATCH_TOKENS, 1)


def tensor_split(layout: Layout) -> tuple[float, ...]:
    """Equal shares of the layers for the first `devices` accelerators and none for the others."""
    return (1.0,) * layout.devices
