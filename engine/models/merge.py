"""A LoRA adapter merged into the weights of its base: a GGUF file of its own, as fast as a base is.

A weight that the adapter changes becomes W + alpha / rank * B A, computed in 32 bits. It is stored as floats of 16 bits
where it was quantized, because quantizing it again would be another error than the adapter's; floats stay as wide as
they were. All else is carried over byte by byte.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from client.errors import FailedPrecondition
from engine.models import adapter
from engine.models.appearing import appearing
from engine.models.cursor import Cursor, open_regular
from engine.models.dequantize import floats
from engine.models.gguf_writer import TYPES, stored
from engine.models.header import Header, Tensor, read_header

VERSION = 3
COPIED_BYTES = 64 << 20  # at once
_KINDS = {0: "F32", 30: "BF16"}  # by ggml's number of the base's type; F16 for all others
_F16_MAX = 65_504.0
_EMBEDDING = "token_embd.weight"  # a table of rows: its A is looked up, see `adapter`


class _Source(NamedTuple):
    """An open GGUF file."""

    fd: int
    header: Header

    def raw(self, tensor: Tensor) -> Iterator[bytes]:
        begin = self.header.data_offset + tensor.offset_bytes
        for offset in range(begin, begin + tensor.size_bytes, COPIED_BYTES):
            yield os.pread(self.fd, min(COPIED_BYTES, begin + tensor.size_bytes - offset), offset)

    def values(self, tensor: Tensor) -> NDArray[np.float32]:
        """The slowest dimension first."""
        return floats(b"".join(self.raw(tensor)), tensor.ggml_type, tensor.elements).reshape(tensor.shape[::-1])


def merge(base: Path, lora: Path, target: Path) -> Path:
    """Write the model at `base` with the adapter at `lora` in its weights to `target`, which appears whole or not at
    all. Errors as of `adapter.read`."""
    facts = adapter.read_base(base)
    with open_regular(base) as base_fd, open_regular(lora) as lora_fd:
        found = adapter.read_open(lora_fd, lora.name, facts)
        model = _Source(base_fd, read_header(Cursor(base_fd, base.name)))
        added = _Source(lora_fd, read_header(Cursor(lora_fd, lora.name)))
        changed = {name: _KINDS.get(facts.tensors[name].ggml_type, "F16") for name in found.targets}
        with appearing(target) as unfinished, unfinished.open("wb") as out:
            out.write(_head(model, changed))
            for tensor in model.header.tensors:
                if tensor.name in changed:
                    out.write(_merged(model, added, tensor, found.alpha, changed[tensor.name]))
                else:
                    out.writelines(model.raw(tensor))
                out.write(bytes(-out.tell() % model.header.alignment))
    return target


def _head(model: _Source, changed: Mapping[str, str]) -> bytes:
    """All before the tensors: the base's metadata as it is, and where each tensor lies now."""
    header = model.header
    keys = len(header.value_types)
    parts = [b"GGUF" + struct.pack("<IQQ", VERSION, len(header.tensors), keys)]
    parts.append(os.pread(model.fd, len(header.metadata), header.metadata.start))
    offset = 0
    for tensor in header.tensors:
        number, size = tensor.ggml_type, tensor.size_bytes
        if tensor.name in changed:
            number, width = TYPES[changed[tensor.name]]
            size = width * tensor.elements
        name, shape = tensor.name.encode(), tensor.shape
        parts.append(struct.pack("<Q", len(name)) + name + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
        parts.append(struct.pack("<IQ", number, offset))
        offset += size + -size % header.alignment
    whole = b"".join(parts)
    return whole + bytes(-len(whole) % header.alignment)


def _merged(model: _Source, added: _Source, tensor: Tensor, alpha: float, kind: str) -> bytes:
    pair = {one.name: one for one in added.header.tensors}
    a, b = (added.values(pair[f"{tensor.name}.lora_{side}"]) for side in ("a", "b"))
    scale = np.float32(alpha / b.shape[-1] if alpha else 1.0)  # as llama.cpp has it
    product = a @ b.swapaxes(-1, -2) if tensor.name == _EMBEDDING else b @ a
    values = model.values(tensor) + scale * product.reshape(tensor.shape[::-1])
    if kind == "F16" and not float(np.abs(values).max()) <= _F16_MAX:
        raise FailedPrecondition(
            f"merged into {tensor.name!r} the adapter makes weights that are too large", field="baseModel",
            hint="load it beside its base instead: enableAddons",
        )  # fmt: skip
    return stored(values, kind)
