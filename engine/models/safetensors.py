"""A safetensors file, read without trusting a byte of it and without the package that made it.

Format: https://huggingface.co/docs/safetensors. Eight bytes say how long the header is, the header is JSON and says
where each tensor lies, and the tensors follow each other without a gap. Whatever a file declares, time and memory stay
small: tensors are read one at a time, by who has checked their shape.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from client.errors import InvalidArgument
from engine.models.cursor import open_regular

MAX_HEADER_BYTES = 16 << 20  # a model of ten thousand tensors has a tenth of it; the format itself allows 100 MB
MAX_DIMENSIONS = 8
_LENGTH_BYTES = 8
_ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4,
    "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8,
}  # fmt: skip
FLOATS = ("F32", "F16", "BF16")  # what `SafeTensors.floats` reads


class Stored(NamedTuple):
    """A tensor: `shape` with the slowest dimension first, `begin` and `end` as offsets in the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class SafeTensors:
    """An open file. `metadata` is what its maker wrote beside the tensors."""

    name: str
    tensors: Mapping[str, Stored]
    metadata: Mapping[str, str]
    fd: int

    def floats(self, name: str) -> NDArray[np.float32]:
        """The tensor's values, of one of the types FLOATS. InvalidArgument when the file was cut short meanwhile."""
        stored = self.tensors[name]
        raw = bytearray()
        while len(raw) < stored.end - stored.begin:  # one call reads 2 GiB at most
            read = os.pread(self.fd, stored.end - stored.begin - len(raw), stored.begin + len(raw))
            if not read:
                raise _bad(self.name, "it was cut short while it was read")
            raw += read
        if stored.dtype == "BF16":
            flat = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            flat = np.frombuffer(raw, "<f2" if stored.dtype == "F16" else "<f4").astype(np.float32)
        return flat.reshape(stored.shape)


@contextmanager
def opened(path: Path) -> Iterator[SafeTensors]:
    """The file with its header checked; InvalidArgument, with the reason, if anything is amiss."""
    with open_regular(path) as fd:
        size = os.fstat(fd).st_size
        length = int.from_bytes(os.pread(fd, _LENGTH_BYTES, 0), "little")
        if size < _LENGTH_BYTES or not 2 <= length <= min(MAX_HEADER_BYTES, size - _LENGTH_BYTES):
            raise _bad(path.name, f"it declares a header of {length:,} bytes in a file of {size:,}")
        header = _header(path.name, os.pread(fd, length, _LENGTH_BYTES))
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise _bad(path.name, "its metadata is not a list of texts")
        start = _LENGTH_BYTES + length
        tensors = {name: _stored(path.name, name, entry, start) for name, entry in header.items()}
        _check_layout(path.name, tensors, start, size)
        yield SafeTensors(path.name, tensors, metadata, fd)


def _header(name: str, raw: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name occurs twice")
        return found

    try:
        header = json.loads(raw, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise _bad(name, f"its header is not JSON that can be used ({str(error)[:80]})") from None
    if not isinstance(header, dict):
        raise _bad(name, "its header is not a JSON object")
    return header


def _stored(file: str, name: str, entry: Any, start: int) -> Stored:
    given = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = given.get("dtype"), given.get("shape"), given.get("data_offsets")
    if not (_whole(shape) and len(shape) <= MAX_DIMENSIONS and _whole(offsets) and len(offsets) == 2):
        raise _bad(file, f"its tensor {name[:80]!r} has no shape or no place that can be used")
    if not isinstance(dtype, str) or dtype not in _ITEM_BYTES:
        raise _bad(file, f"its tensor {name[:80]!r} has the unknown type {str(dtype)[:40]!r}")
    begin, end = offsets
    if end - begin != math.prod(shape) * _ITEM_BYTES[dtype]:
        raise _bad(file, f"its tensor {name[:80]!r} of shape {tuple(shape)} does not fill its {end - begin:,} bytes")
    return Stored(dtype, tuple(shape), start + begin, start + end)


def _whole(numbers: Any) -> TypeGuard[list[int]]:
    return isinstance(numbers, list) and all(type(one) is int and 0 <= one < 1 << 48 for one in numbers)


def _check_layout(file: str, tensors: Mapping[str, Stored], start: int, size: int) -> None:
    """Tensors follow each other from the header to the end of the file, with no gap and nothing shared."""
    expected = start
    for name, stored in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if stored.begin != expected:
            raise _bad(file, f"its tensor {name[:80]!r} is at byte {stored.begin:,}, not at {expected:,}")
        expected = stored.end
    if expected != size:
        raise _bad(file, f"its tensors end at byte {expected:,}, and the file has {size:,}")


def _bad(name: str, what: str) -> InvalidArgument:
    return InvalidArgument(
        f"{name} is not a usable safetensors file: {what}", field="file", hint="fetch it again, or save it again"
    )
