"""What a replica takes, estimated before it is promised: from a model file's dimensions, slots and context. Pure.

A KV cache is slots x context x layers x KV heads x head size x 2 (F16), with each sequence's cells rounded up as
llama.cpp does. The replicas keep full caches for sliding-window layers (`swa_full`), so a window saves nothing.
The constants at the top are measured on resident memory of real replicas (tests/engine/test_capacity.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from engine.units import GIB, gib

KV_ELEMENT_BYTES = 2  # F16
STATE_ELEMENT_BYTES = 4  # recurrent states are F32
CELLS_STEP = 256  # llama.cpp rounds a sequence's cells up to this
CPU_BATCH_TOKENS = 512  # tokens of one decode call
DEVICE_BATCH_TOKENS = 2048
OUTPUT_ROWS = 32  # tokens whose logits one call returns, or all slots where they are more
ADAPTER_RANK = 64  # the highest of uploads; a replica is promised room for as many as it keeps in memory
ADAPTERS_CACHED = 8  # LoRA adapters that a replica keeps in memory where nothing else is said
ADAPTERS_MERGED = 2  # of one that takes one at a time: it, and the one that takes its place
ADAPTER_ELEMENT_BYTES = 4
PROCESS_BYTES = 84 << 20  # interpreter, libraries and the server (measured)
TOKEN_BYTES = 220  # of the vocabulary's tables for one token (measured)
PREFIX_CACHE_BYTES = 256 << 20  # saved prefixes, once there are many: the replica's default budget


class Dimensions(Protocol):
    """Of one model file. `kv_heads` has one entry a layer, 0 for layers without attention."""

    @property
    def weights_bytes(self) -> int: ...
    @property
    def kv_heads(self) -> tuple[int, ...]: ...
    @property
    def key_length(self) -> int: ...
    @property
    def value_length(self) -> int: ...
    @property
    def state_elements(self) -> int: ...  # recurrent state of one sequence, over all layers
    @property
    def embedding_length(self) -> int: ...
    @property
    def feed_forward_length(self) -> int: ...
    @property
    def vocabulary_size(self) -> int: ...
    @property
    def context_length(self) -> int: ...  # trained; 0: unknown
    @property
    def adapter_elements(self) -> int: ...  # of a LoRA adapter of rank 1
    @property
    def over_estimated(self) -> str: ...  # why the figures are upper bounds, or ""


@dataclass(frozen=True, slots=True)
class Workload:
    """How a model is to be served. `context_tokens` is per sequence; `adapters` LoRA adapters are in memory at once."""

    slots: int
    context_tokens: int
    adapters: int = 0
    on_accelerator: bool = False


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes. `model_bytes` lie on the accelerator where there is one, `process_bytes` in the machine's memory."""

    weights: int
    kv_cache: int
    states: int
    compute: int
    adapters: int
    process: int
    prefix_cache: int
    over_estimated: str = ""

    @property
    def model_bytes(self) -> int:
        return self.weights + self.kv_cache + self.states + self.compute + self.adapters

    @property
    def process_bytes(self) -> int:
        return self.process + self.prefix_cache

    @property
    def text(self) -> str:
        """The sum and its parts, for people."""
        parts = (
            (self.weights, "weights"), (self.kv_cache, "KV cache"), (self.states, "recurrent states"),
            (self.compute, "buffers"), (self.adapters, "adapters"), (self.process_bytes, "process and prefix cache"),
        )  # fmt: skip
        shown = " + ".join(f"{size / GIB:.2f} {name}" for size, name in parts if size)
        bound = f"; an upper bound: {self.over_estimated}" if self.over_estimated else ""
        return f"{gib(self.model_bytes + self.process_bytes)} ({shown}{bound})"


def estimate(model: Dimensions, work: Workload, draft: Dimensions | None = None) -> Estimate:
    """What one replica takes when its caches are full. `draft`: the draft model that it loads beside `model`."""
    both = (model,) if draft is None else (model, draft)
    why = [one.over_estimated for one in both if one.over_estimated]
    return Estimate(
        weights=sum(one.weights_bytes for one in both),
        kv_cache=sum(kv_bytes(one, work) for one in both),
        states=sum(one.state_elements for one in both) * STATE_ELEMENT_BYTES * work.slots,
        compute=sum(_compute_bytes(one, work) for one in both),
        adapters=work.adapters * model.adapter_elements * ADAPTER_RANK * ADAPTER_ELEMENT_BYTES,
        process=PROCESS_BYTES + sum(one.vocabulary_size for one in both) * TOKEN_BYTES,
        prefix_cache=PREFIX_CACHE_BYTES,
        over_estimated="; ".join(why),
    )


def kv_bytes(model: Dimensions, work: Workload) -> int:
    """Of all slots. Past the trained context a replica serves no more tokens, whatever was asked for."""
    context = min(work.context_tokens, model.context_length or work.context_tokens)
    cells = work.slots * -(-context // CELLS_STEP) * CELLS_STEP
    return cells * sum(model.kv_heads) * (model.key_length + model.value_length) * KV_ELEMENT_BYTES


def adapter_places(cached: int, *, addons: bool, merged: bool) -> int:
    """LoRA adapters that a replica may have in memory at once. `cached`: as declared, 0: not; `addons`, `merged`:
    whether it takes several of them, or one at a time."""
    return cached or (ADAPTERS_CACHED if addons else ADAPTERS_MERGED if merged else 0)


def adapters_over(ranks: Sequence[int], places: int) -> tuple[int, int] | None:
    """None where adapters of these ranks fit into the room of so many places, whichever of them are in memory; else
    the sum of the largest that can be there together, and the places that would do."""
    most = sum(sorted(ranks, reverse=True)[:places])
    if most <= places * ADAPTER_RANK:
        return None
    return most, -(-sum(ranks) // ADAPTER_RANK)


def largest_context(fits: Callable[[Workload], bool], work: Workload) -> int | None:
    """The most tokens a sequence, up to those of `work`, for which `fits` holds; None when not even the least do."""
    steps = _largest(
        lambda n: fits(replace(work, context_tokens=n * CELLS_STEP)), max(1, work.context_tokens // CELLS_STEP)
    )
    return steps * CELLS_STEP if steps else None


def largest_slots(fits: Callable[[Workload], bool], work: Workload) -> int | None:
    """The most slots, up to those of `work`, for which `fits` holds; None when not even one does."""
    return _largest(lambda n: fits(replace(work, slots=n)), work.slots) or None


def largest_adapters(fits: Callable[[Workload], bool], work: Workload) -> int | None:
    """The most adapters in memory, up to those of `work`, for which `fits` holds; None when not even one does."""
    return _largest(lambda n: fits(replace(work, adapters=n)), work.adapters) or None


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest n of 1 to `most` that fits, by halving: what fits n fits less. 0 when none does."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _compute_bytes(model: Dimensions, work: Workload) -> int:
    """llama.cpp's scratch for one call: activations of a whole batch, and rows of logits on both sides."""
    batch = DEVICE_BATCH_TOKENS if work.on_accelerator else CPU_BATCH_TOKENS
    activations = batch * (6 * model.embedding_length + 2 * model.feed_forward_length)
    logits = 2 * max(work.slots, OUTPUT_ROWS) * model.vocabulary_size
    return (activations + logits) * 4
