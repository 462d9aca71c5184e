"""LoRA adapters for tests, written by the `gguf` package: random ones that visibly change a model, and zero ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from engine.models.adapter import BaseFacts, read_base

Matrix = NDArray[np.float32]
LINEAR = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def write(
    path: Path,
    tensors: Iterable[tuple[str, Matrix]],
    *,
    architecture: str = "llama",
    alpha: float | None = 16.0,
    general_type: str = "adapter",
    method: str = "lora",
    extra: Callable[[gguf.GGUFWriter], None] = lambda _writer: None,
) -> Path:
    """A GGUF file with these tensors (name, values) and the metadata of an adapter; `extra` may add more."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(general_type)
    writer.add_string("adapter.type", method)
    if alpha is not None:
        writer.add_float32("adapter.lora.alpha", alpha)
    extra(writer)
    for name, values in tensors:
        writer.add_tensor(name, np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def weights(base: BaseFacts, layers: int | None = None) -> dict[str, tuple[int, int]]:
    """The linear weights of a model as (inputs, outputs), of its first `layers` layers."""
    found: dict[str, tuple[int, int]] = {}
    for name, tensor in base.tensors.items():
        block, _, rest = name.removeprefix("blk.").partition(".")
        linear = name.startswith("blk.") and rest.removesuffix(".weight") in LINEAR
        if linear and (layers is None or int(block) < layers):
            found[name] = (tensor.shape[0], tensor.shape[1])
    return found


def make(
    path: Path,
    model: Path,
    *,
    seed: int,
    rank: int = 4,
    strength: float = 0.1,
    layers: int | None = 8,
    alpha: float | None = None,
) -> Path:
    """A random adapter of `model`. `strength` is the standard deviation of B: 0 makes an adapter that does nothing."""
    random, base = np.random.default_rng(seed), read_base(model)

    def tensors() -> Iterable[tuple[str, Matrix]]:
        for name, (inputs, outputs) in weights(base, layers).items():
            a = random.standard_normal((rank, inputs)) / np.sqrt(inputs)
            b = random.standard_normal((outputs, rank)) * strength
            yield f"{name}.lora_a", a.astype(np.float32)
            yield f"{name}.lora_b", b.astype(np.float32)

    scale = float(2 * rank) if alpha is None else alpha
    return write(path, tensors(), architecture=base.architecture, alpha=scale)
