"""How a model is laid out on the machine at hand: layers on accelerators, threads, batch sizes. Pure.

CPU and GPU run the same code: they differ in the figures here, and in the costs measured afterwards.

Fixed, by what was measured on CPUs:
- Cells of its own for each sequence (`kv_unified=False`, see llama.Context). With quantized weights and one thread
  logits are then the same bits alone, among others, after copies and restored states; with shared cells they differ by
  up to 1 and texts part. It is 5 to 14 % faster too. Shared cells come only where `--kv-tokens` asks for fewer cells
  than all sequences could fill.
- OpenMP's threads sleep while they wait (`OMP_WAIT_POLICY=passive`, set before llama.cpp is loaded): where another
  process took one of two cores, spinning ones made half of the tokens per second.
- Tokens are chosen on the host, from the rows of logits. With a greedy sampler in llama.cpp's graph
  (`llama_set_sampler`) steps of one and of eight took the same time to within the noise, and every change of samplers
  has the graph reserved anew, 13 to 60 ms, at the start and the end of each request; it knows no grammar, no typical_p.
  On a GPU, where it saves the copying of rows, it has not been measured.
- Flash attention stays on (AUTO finds it). Without it a step of 8 sequences of 1,425 tokens took the same (106 to 116
  against 107 to 112 ms), a prompt of 1,400 a sixth longer, tails of 25 tokens behind it half as long; but attention
  then rounds by how many tokens a call holds: logits of one token by one and of five at once differed by up to 0.6.
- Linking llama.cpp so that its own calls cannot be interposed, or with link-time optimisation, made a bare prefill call
  3 to 4 % cheaper and a bare decode call not; over whole requests no difference could be seen, so it is built as it is.
Measured at load: how many threads pay (threads.py), and what calls of each width cost (costs.py).
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
    """`devices`: accelerators to split the layers over, 0 on a CPU. `threads`: of the CPU; with `tune` the most, of
    which measuring finds how many pay. `batch`: tokens a decode call may carry. `wide`: tokens from which on a call
    rounds differently; 1: it makes no difference."""

    gpu_layers: int
    devices: int
    threads: int
    batch: int
    wide: int
    rows: int = READ_ROWS
    tune: bool = False

    @property
    def on_gpu(self) -> bool:
        return self.gpu_layers != 0


def lay_out(
    *, gpu_layers: int | None, devices: int | None, threads: int, cores: int, can_offload: bool, found: int
) -> Layout:
    """The layout for what was asked and what is there: `found` accelerators, if the build can use them, and `cores`
    for this replica. None, or no `threads`: decide.

    Everything goes to the accelerators when there are any: a layer left on the CPU costs more than all others.
    """
    usable = can_offload and found > 0
    layers = (ALL_LAYERS if gpu_layers is None else gpu_layers) if usable else 0
    tune = threads == 0 and cores > 1
    threads = threads or cores
    if layers == 0:
        return Layout(0, 0, threads, CPU_BATCH_TOKENS, CPU_WIDE_TOKENS, tune=tune)
    return Layout(layers, min(devices or found, found), threads, GPU_BATCH_TOKENS, 1, tune=tune)


def tensor_split(layout: Layout) -> tuple[float, ...]:
    """Equal shares of the layers for the first `devices` accelerators and none for the others."""
    return (1.0,) * layout.devices
