"""Writes a GGUF file (format version 3): texts, numbers and lists of them as metadata, floats as tensors.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.models.appearing import appearing

VERSION, ALIGNMENT = 3, 32
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
TYPES = {"F32": (0, 4), "F16": (1, 2), "BF16": (30, 2)}  # number in ggml, and bytes of a value

Value = str | bool | int | float | Sequence[str] | Sequence[int] | Sequence[float]


@dataclass(frozen=True, slots=True)
class FloatTensor:
    """A tensor to be written: `shape` as numpy has it, the slowest dimension first; `values` are read as it is written,
    so that no two tensors are in memory at once. `kind`: one of TYPES; values that it cannot hold are
    rounded, half to even."""

    name: str
    shape: tuple[int, ...]
    values: Callable[[], NDArray[np.float32]]
    kind: str = "F32"

    @property
    def size_bytes(self) -> int:
        return TYPES[self.kind][1] * math.prod(self.shape)

    def data(self) -> bytes:
        return stored(self.values(), self.kind)


def write(target: Path, metadata: Mapping[str, Value], tensors: Sequence[FloatTensor]) -> Path:
    """The file at `target`, which appears whole or not at all. Numbers are written as 32-bit ones.

    Raises FailedPrecondition where nothing can be written, OSError when the disk is full.
    """
    head = [b"GGUF", struct.pack("<IQQ", VERSION, len(tensors), len(metadata))]
    head += [_text(key) + _value(value) for key, value in metadata.items()]
    offset = 0
    for tensor in tensors:
        shape, number = tensor.shape[::-1], TYPES[tensor.kind][0]
        head.append(_text(tensor.name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, number, offset))
        offset += _padded(tensor.size_bytes)
    written = b"".join(head)
    with appearing(target) as unfinished, unfinished.open("wb") as out:
        out.write(written.ljust(_padded(len(written)), b"\0"))
        for tensor in tensors:
            out.write(tensor.data().ljust(_padded(tensor.size_bytes), b"\0"))
    return target


def stored(values: NDArray[np.float32], kind: str) -> bytes:
    """As a tensor of this type holds them."""
    whole = np.ascontiguousarray(values, "<f4")
    if kind != "BF16":
        return whole.astype("<f2" if kind == "F16" else "<f4").tobytes()
    bits = whole.view("<u4")
    rounded: NDArray[np.uint32] = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return rounded.astype("<u2").tobytes()


def _value(value: Value) -> bytes:
    """A value with its type before it; lists are of the type of their first item, whole numbers with a sign."""
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _text(value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT32, value)
    if isinstance(value, int):
        return struct.pack("<II", _UINT32, value)
    head = struct.pack("<I", _ARRAY)
    if value and isinstance(value[0], str):
        return head + struct.pack("<IQ", _STRING, len(value)) + b"".join(_text(str(text)) for text in value)
    code, letter = (_FLOAT32, "f") if value and isinstance(value[0], float) else (_INT32, "i")
    return head + struct.pack(f"<IQ{len(value)}{letter}", code, len(value), *value)


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
