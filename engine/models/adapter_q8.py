"""An adapter rewritten so that its products do not depend on how tokens are batched.

llama.cpp multiplies one token and several tokens with different code when weights are F32 or F16, which sum in a
different order: on a quantized model, whose own products are the same either way, an F32 adapter alone makes logits
depend on batch, chunk and prefix (by 0.3 to 0.7 on SmolLM2; generations part after some tokens). With Q8_0 the
products are the same to the last bit. Its rounding moves logits no further than F16 does (cosine 0.9998 both).

Blocks of Q8_0 hold 32 values, so ranks are filled up to a multiple of 32 with zeros; and since llama.cpp divides alpha
by the rank that it sees, that factor is multiplied into B here, and alpha left out.
"""

from __future__ import annotations

import math
import os
import struct
from typing import IO

import numpy as np
from numpy.typing import NDArray

from engine.models.adapter import BaseFacts
from engine.models.cursor import Cursor
from engine.models.header import Header, Tensor, read_header

BLOCK = 32
ALIGNMENT = 32
MAX_VALUE = 65_504.0 * 127  # the largest float16, as the scale of a block
_F32, _F16, _Q8_0, _BF16 = 0, 1, 8, 30
_STRING = 8

Values = NDArray[np.float32]


def worthwhile(base: BaseFacts) -> bool:
    """Whether the base's own products are independent of batching: most of its matrices are quantized."""
    matrices = [tensor for tensor in base.tensors.values() if len(tensor.shape) > 1]
    return 2 * sum(tensor.ggml_type not in (_F32, _F16, _BF16) for tensor in matrices) > len(matrices)


def rewrite(fd: int, name: str, out: IO[bytes]) -> None:
    """Write the adapter in `fd`, which `adapter.read_open` has accepted, to `out` as described above. InvalidArgument
    when its values are too large for Q8_0."""
    cursor = Cursor(fd, name)
    header = read_header(cursor)
    alpha = float(header.values.get("adapter.lora.alpha", 0.0))
    by_name = {tensor.name: _values(fd, header, tensor) for tensor in header.tensors}
    tensors = []
    for target in sorted(tensor.removesuffix(".lora_a") for tensor in by_name if tensor.endswith(".lora_a")):
        a, b = by_name[f"{target}.lora_a"], by_name[f"{target}.lora_b"]
        a, b = _balanced(a, b * np.float32(alpha / b.shape[-1]) if alpha else b)
        if max(np.abs(a).max(), np.abs(b).max()) > MAX_VALUE:
            raise cursor.bad(f"its weights for {target!r} are too large to be of use", "train it again")
        axis_of_a = -1 if target == "token_embd.weight" else -2
        tensors += [(f"{target}.lora_a", _filled_up(a, axis_of_a)), (f"{target}.lora_b", _filled_up(b, -1))]
    _write(out, str(header.values["general.architecture"]), tensors)


def _balanced(a: Values, b: Values) -> tuple[Values, Values]:
    """The same product from factors of like magnitude: after little training B is so small that the scales of its
    blocks would lose digits. By a power of two, which rounds nothing."""
    largest_a, largest_b = float(np.abs(a).max()), float(np.abs(b).max())
    if not largest_a or not largest_b:
        return a, b
    factor = np.float32(2.0 ** round((math.log2(largest_a) - math.log2(largest_b)) / 2))
    return a / factor, b * factor


def _values(fd: int, header: Header, tensor: Tensor) -> Values:
    """A tensor's values, the slowest dimension first."""
    raw = os.pread(fd, tensor.size_bytes, header.data_offset + tensor.offset_bytes)
    if tensor.ggml_type == _F32:
        flat: Values = np.frombuffer(raw, "<f4").astype(np.float32)
    elif tensor.ggml_type == _F16:
        flat = np.frombuffer(raw, "<f2").astype(np.float32)
    elif tensor.ggml_type == _BF16:
        flat = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        blocks = np.frombuffer(raw, np.dtype([("scale", "<f2"), ("values", "i1", BLOCK)]))
        flat = (blocks["values"] * blocks["scale"].astype(np.float32)[:, None]).astype(np.float32).reshape(-1)
    return flat.reshape(tensor.shape[::-1])


def _filled_up(values: Values, axis: int) -> Values:
    """`values` with zeros behind, along the axis of the rank, to a multiple of a block."""
    if values.ndim == 1:  # a file may leave out a last dimension of 1
        values = values[None, :]
    missing = [(0, 0)] * values.ndim
    missing[axis] = (0, -values.shape[axis] % BLOCK)
    return np.pad(values, missing)


def _quantized(values: Values) -> bytes:
    """Q8_0: for each 32 values of a row a scale (float16, largest magnitude / 127) and 32 integers."""
    rows = values.reshape(-1, BLOCK)
    scale = np.abs(rows).max(axis=1, keepdims=True) / np.float32(127)
    with np.errstate(divide="ignore", invalid="ignore"):
        integers = np.where(scale > 0, np.round(rows / scale), 0).astype(np.int8)
    blocks = np.empty(len(rows), np.dtype([("scale", "<f2"), ("values", "i1", BLOCK)]))
    blocks["scale"], blocks["values"] = scale[:, 0], integers
    return blocks.tobytes()


def _write(out: IO[bytes], architecture: str, tensors: list[tuple[str, Values]]) -> None:
    """A GGUF file (version 3): https://github.com/ggml-org/ggml/blob/master/docs/gguf.md"""
    facts = {"general.architecture": architecture, "general.type": "adapter", "adapter.type": "lora"}
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(facts))
    head += b"".join(_text(key) + struct.pack("<I", _STRING) + _text(value) for key, value in facts.items())
    offset, data = 0, []
    for name, values in tensors:
        fits = values.shape[-1] % BLOCK == 0
        raw = _quantized(values) if fits else values.astype("<f4").tobytes()
        shape = values.shape[::-1]
        head += _text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        head += struct.pack("<IQ", _Q8_0 if fits else _F32, offset)
        data.append(raw + bytes(-len(raw) % ALIGNMENT))
        offset += len(data[-1])
    out.write(head + bytes(-len(head) % ALIGNMENT))
    out.writelines(data)


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw
