"""A GGUF LoRA adapter, checked against the model it is for, without llama.cpp.

llama.cpp checks much of this itself, but not all: it ends the process when the metadata holds a value of another type
than it expects, when the pair of an embedding has two ranks, and when an adapter changes an embedding that is also the
output layer; it passes over what it cannot apply (norms, biases) without a word; and it takes weights that are no
numbers, whose products then stay in the KV memory. So an adapter passes here before a replica may load it.

The rules are those of `llama_adapter_lora_init` in llama.cpp's src/llama-adapter.cpp and of `build_lora_mm` and
`build_inp_embd` in src/llama-graph.cpp.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.errors import FailedPrecondition, InvalidArgument
from engine.models.cursor import Cursor, open_regular
from engine.models.ggml_types import GGML_TYPES
from engine.models.header import Header, Tensor, read_header

MAX_RANK = 512  # the platform takes uploads of rank 4 to 64; a replica serves what else people trained
MAX_ALPHA = 65_536.0
DIGEST_CHUNK_BYTES = 1 << 20

_F32, _F16, _Q8_0, _BF16, _NVFP4 = 0, 1, 8, 30, 40
_Q8_0_BLOCK_BYTES = 34  # a float16 scale and 32 integers
_SCAN_BYTES = 1 << 20  # rounded down to whole elements or blocks
_FLOAT32 = 6  # GGUF's code of the metadata type that llama.cpp reads alpha as
_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"
_CONVERT = "convert it with llama.cpp's convert_lora_to_gguf.py"
_OTHER_BASE = "give an adapter that was trained on the model it is to be used with"


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """What an adapter has to fit: a model's architecture and its weights by name.

    `heads` and `kv_heads` are 0 where the file does not give one number for all layers.
    """

    architecture: str
    tensors: Mapping[str, Tensor]
    heads: int = 0
    kv_heads: int = 0


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """The facts of a checked adapter. `rank` is the largest of its tensors'; alpha 0: scales are not divided by it."""

    digest: str  # SHA-256 of the file's content, hexadecimal
    architecture: str
    rank: int
    alpha: float
    size_bytes: int
    targets: tuple[str, ...]  # the weights it changes, sorted


def read_base(path: Path) -> BaseFacts:
    """The facts of the model at `path` that adapters have to fit. InvalidArgument when it is no usable GGUF file,
    FailedPrecondition when its weights are spread over several files."""
    with open_regular(path) as fd:
        cursor = Cursor(fd, path.name)
        header = read_header(cursor)
    if header.values.get("split.count", 0) not in (0, 1):
        raise FailedPrecondition(f"{path.name} is one of several files: adapters need a base model in one file")
    tensors = {tensor.name: tensor for tensor in header.tensors}
    architecture = _text(cursor, header, "general.architecture")
    heads = _number(header, f"{architecture}.attention.head_count", 0)
    kv_heads = _number(header, f"{architecture}.attention.head_count_kv", heads)
    return BaseFacts(architecture, tensors, heads, kv_heads)


def _number(header: Header, key: str, default: int) -> int:
    value = 0 if key in header.arrays else header.values.get(key, default)
    return value if type(value) is int else 0


def read(path: Path, base: BaseFacts) -> AdapterFacts:
    """The facts of the adapter at `path`. InvalidArgument when the file itself is unusable, FailedPrecondition when it
    is an adapter that this base cannot take; both say why in a sentence."""
    with open_regular(path) as fd:
        return read_open(fd, path.name, base)


def read_open(fd: int, name: str, base: BaseFacts) -> AdapterFacts:
    """`read` of an open file, called `name` in errors. The file position of `fd` is neither used nor moved."""
    cursor = Cursor(fd, name)
    header = read_header(cursor)
    alpha = _check_metadata(cursor, header, base)
    pairs = _pairs(cursor, header)
    rank = max(_check_pair(cursor, target, *pair, base) for target, pair in pairs.items())
    for tensor in header.tensors:
        _check_numbers(cursor, fd, header.data_offset, tensor)
    return AdapterFacts(_digest(fd), base.architecture, rank, alpha, cursor.size, tuple(sorted(pairs)))


def _digest(fd: int) -> str:
    digest, offset = hashlib.sha256(), 0
    while chunk := os.pread(fd, DIGEST_CHUNK_BYTES, offset):
        digest.update(chunk)
        offset += len(chunk)
    return digest.hexdigest()


def _check_metadata(cursor: Cursor, header: Header, base: BaseFacts) -> float:
    """Alpha, of a file that says it is a LoRA adapter for this architecture."""
    kind = _text(cursor, header, "general.type") or "model"
    if kind != "adapter":
        raise InvalidArgument(f"{cursor.name} is not an adapter: its general.type is {kind[:40]!r}", field="file")
    method = _text(cursor, header, "adapter.type")
    if method != "lora":
        raise cursor.bad(f"its adapter.type is {method[:40]!r}, and only 'lora' can be served", _CONVERT)
    architecture = _text(cursor, header, "general.architecture")
    if architecture != base.architecture:
        raise _unfit(cursor, f"it is for the architecture {architecture[:40]!r}, the base is {base.architecture!r}")
    if "adapter.alora.invocation_tokens" in header.arrays or "adapter.alora.invocation_tokens" in header.values:
        raise _unfit(cursor, "it is an activated LoRA (aLoRA), which is not supported", "train a plain LoRA")
    return _alpha(cursor, header)


def _text(cursor: Cursor, header: Header, key: str) -> str:
    """A text of the metadata, "" when absent. llama.cpp aborts on any other type."""
    value = "" if key in header.arrays else header.values.get(key, "")
    if key in header.arrays or not isinstance(value, str):
        raise cursor.bad(f"its metadata key {key!r} is not a text", _CONVERT)
    return value


def _alpha(cursor: Cursor, header: Header) -> float:
    key = "adapter.lora.alpha"
    if key not in header.value_types:
        return 0.0  # as llama.cpp has it
    alpha = header.values.get(key)
    if header.value_types[key] != _FLOAT32 or not isinstance(alpha, float):
        raise cursor.bad(f"its {key} is not a 32-bit float", _CONVERT)
    if not (math.isfinite(alpha) and 0 <= alpha <= MAX_ALPHA):
        raise cursor.bad(f"its {key} is {alpha:g} (0 to {MAX_ALPHA:,.0f} are accepted)", _CONVERT)
    return alpha


def _pairs(cursor: Cursor, header: Header) -> dict[str, tuple[Tensor, Tensor]]:
    """The A and B matrices by the weight that they change; at least one pair."""
    sides: dict[str, dict[str, Tensor]] = {}
    for tensor in header.tensors:
        target, _, side = tensor.name.rpartition(".")
        if side not in ("lora_a", "lora_b") or ".lora_" in target:
            raise cursor.bad(f"its tensor {tensor.name!r} is no part of a LoRA (…lora_a, …lora_b)", _CONVERT)
        sides.setdefault(target, {})[side] = tensor
    if not sides:
        raise cursor.bad("it holds no tensors", _CONVERT)
    for target, pair in sides.items():
        if len(pair) < 2:
            missing = "lora_b" if "lora_a" in pair else "lora_a"
            raise cursor.bad(f"its tensor '{target}.{missing}' is missing", _CONVERT)
    return {target: (pair["lora_a"], pair["lora_b"]) for target, pair in sides.items()}


def _check_pair(cursor: Cursor, target: str, a: Tensor, b: Tensor, base: BaseFacts) -> int:
    """The rank of one pair, which must fit the base's weight of that name."""
    weight = base.tensors.get(target)
    if weight is None:
        raise _unfit(cursor, f"it changes {target!r}, which the base does not have")
    if len(weight.shape) < 2 or target.endswith("_norm.weight"):
        raise _unfit(cursor, f"it changes {target!r}, which is no matrix that a LoRA can be applied to")
    if weight.ggml_type == _NVFP4:
        raise _unfit(cursor, f"{target!r} of the base is NVFP4, which no LoRA can be applied to")
    if target == _EMBEDDING and _OUTPUT not in base.tensors:
        raise _unfit(cursor, f"it changes {target!r}, which is also the base's output layer: llama.cpp cannot do both")
    fits, rank = _ranks(_four(weight.shape), _four(a.shape), _four(b.shape), flipped=target == _EMBEDDING)
    if not fits:
        shapes = f"lora_a {a.shape} and lora_b {b.shape} for a weight of {weight.shape}"
        raise _unfit(cursor, f"the shapes of {target!r} do not fit: {shapes}")
    if rank > MAX_RANK:
        raise _unfit(cursor, f"{target!r} has rank {rank:,} (1 to {MAX_RANK} are served)", "train with a lower rank")
    return rank


_Shape = tuple[int, ...]


def _ranks(weight: _Shape, a: _Shape, b: _Shape, *, flipped: bool) -> tuple[bool, int]:
    """Whether A and B fit the weight, and their rank. Shapes as ggml has them: the fastest dimension first.

    A weight (in, out, experts...) takes A (in, rank, ...) and B (rank, out, ...). An embedding (n_embd, n_vocab) is a
    table of rows: A (rank, n_vocab) is looked up like it, and B (rank, n_embd) applied.
    """
    rank = b[0]
    if flipped:
        return (a[:2] == (rank, weight[1]) and b[1] == weight[0] and a[2:] == b[2:] == weight[2:]), rank
    return (a[:2] == (weight[0], rank) and b[1] == weight[1] and a[2:] == b[2:] == weight[2:]), rank


def _four(shape: _Shape) -> _Shape:
    """All four dimensions, as ggml counts them."""
    return shape + (1,) * (4 - len(shape))


def _check_numbers(cursor: Cursor, fd: int, data_offset: int, tensor: Tensor) -> None:
    """InvalidArgument unless the tensor has a type that LoRA is stored in and each of its values is a number."""
    if tensor.ggml_type not in (_F32, _F16, _BF16, _Q8_0):
        label = GGML_TYPES[tensor.ggml_type].label
        raise cursor.bad(f"its tensor {tensor.name!r} is {label} (F32, F16, BF16 and Q8_0 are accepted)", _CONVERT)
    step = _SCAN_BYTES - _SCAN_BYTES % GGML_TYPES[tensor.ggml_type].block_bytes
    begin = data_offset + tensor.offset_bytes
    for offset in range(begin, begin + tensor.size_bytes, step):
        count = min(step, begin + tensor.size_bytes - offset)
        raw = np.frombuffer(os.pread(fd, count, offset), np.uint8)
        if raw.size < count:
            raise cursor.bad("it was cut short while it was read", "wait until it is written, then try again")
        if not _finite(raw, tensor.ggml_type):
            raise cursor.bad(f"its tensor {tensor.name!r} holds values that are no numbers", "train it again")


def _finite(raw: NDArray[np.uint8], ggml_type: int) -> bool:
    """Whether no value has all exponent bits set, which is what infinities and NaN have in common."""
    if ggml_type == _F32:
        return not bool(np.any((raw.view("<u4") & 0x7F800000) == 0x7F800000))
    if ggml_type == _Q8_0:
        raw = np.ascontiguousarray(raw.reshape(-1, _Q8_0_BLOCK_BYTES)[:, :2]).reshape(-1)
    exponent = 0x7F80 if ggml_type == _BF16 else 0x7C00
    return not bool(np.any((raw.view("<u2") & exponent) == exponent))


def _unfit(cursor: Cursor, what: str, hint: str = _OTHER_BASE) -> FailedPrecondition:
    """The error for a sound adapter that this base cannot take."""
    return FailedPrecondition(f"{cursor.name} does not fit the base model: {what}", field="file", hint=hint)
