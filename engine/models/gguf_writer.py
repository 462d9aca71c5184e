"""Writes a GGUF file (format version 3): texts and numbers as metadata, 32-bit floats as tensors.

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
_UINT32, _FLOAT32, _STRING = 4, 6, 8
_F32 = 0  # of ggml's tensor types


@dataclass(frozen=True, slots=True)
class FloatTensor:
    """A tensor to be written: `shape` as numpy has it, the slowest dimension first; `values` are read as it is written,
    so that no two tensors are in memory at once."""

    name: str
    shape: tuple[int, ...]
    values: Callable[[], NDArray[np.float32]]

    @property
    def size_bytes(self) -> int:
        return 4 * math.prod(self.shape)


def write(target: Path, metadata: Mapping[str, str | int | float], tensors: Sequence[FloatTensor]) -> Path:
    """The file at `target`, which appears whole or not at all. Numbers are written as 32-bit ones.

    Raises FailedPrecondition where nothing can be written, OSError when the disk is full.
    """
    head = [b"GGUF", struct.pack("<IQQ", VERSION, len(tensors), len(metadata))]
    head += [_text(key) + _value(value) for key, value in metadata.items()]
    offset = 0
    for tensor in tensors:
        shape = tensor.shape[::-1]
        head.append(_text(tensor.name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, _F32, offset))
        offset += _padded(tensor.size_bytes)
    written = b"".join(head)
    with appearing(target) as unfinished, unfinished.open("wb") as out:
        out.write(written.ljust(_padded(len(written)), b"\0"))
        for tensor in tensors:
            data = np.ascontiguousarray(tensor.values(), "<f4").tobytes()
            out.write(data.ljust(_padded(tensor.size_bytes), b"\0"))
    return target


def _value(value: str | int | float) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _text(value)
    return struct.pack("<If", _FLOAT32, value) if isinstance(value, float) else struct.pack("<II", _UINT32, value)


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
