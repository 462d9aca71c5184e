"""The part of a GGUF file before its tensor data, parsed without trusting a byte of it.

The rules are those of `gguf_init_from_reader` in llama.cpp's ggml/src/gguf.cpp (format versions 2 and 3), with tighter
bounds: whatever passes here, llama.cpp parses too, and whatever a file declares, time and memory stay small.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from client.errors import InvalidArgument
from engine.models.cursor import Array, Cursor
from engine.models.ggml_types import GGML_TYPES

VERSIONS = (2, 3)
MAX_KEYS = 16_384  # real models have 20 to 60
MAX_TENSORS = 65_536  # the largest mixture-of-experts models have about 2,000
MAX_KEY_BYTES = 65_535  # the specification's own limit
MAX_TEXT_BYTES = 64 << 20  # some files carry a whole tokenizer.json
MAX_STRINGS = 8 << 20  # in all arrays together; the largest vocabularies have 262,144 tokens
MAX_TENSOR_NAME_BYTES = 63  # GGML_MAX_NAME less its NUL
MAX_DIMENSIONS = 4
MAX_ALIGNMENT = 1 << 20
KEPT_TEXT_BYTES = 4096  # longer texts (chat templates) are checked and passed over

# GGUF value types: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
_BOOL, _STRING, _ARRAY = 7, 8, 9
_LETTERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", _BOOL: "B", 10: "Q", 11: "q", 12: "d"}
_NUMBERS = {code: struct.Struct("<" + letter) for code, letter in _LETTERS.items()}
_BEGINNINGS = (
    (b"PK\x03\x04", "a ZIP archive, as PyTorch's .bin files are", "convert it with llama.cpp's convert_hf_to_gguf.py"),
    (b"vers", "a Git LFS pointer, not the file itself", "fetch the file itself: git lfs pull"),
    (b"<!DO", "a web page, not a model", "download the file itself, not the page that shows it"),
    (b"<htm", "a web page, not a model", "download the file itself, not the page that shows it"),
    (b"FUGG", "a big-endian GGUF file", "convert the model again without --bigendian"),
    (b"ggjt", "a model in llama.cpp's format of 2023", "download the model again as GGUF"),
)

Scalar = str | int | float | bool


class Tensor(NamedTuple):
    name: str
    shape: tuple[int, ...]
    ggml_type: int
    offset_bytes: int  # within the data section

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        kind = GGML_TYPES[self.ggml_type]
        return self.elements // kind.block_elements * kind.block_bytes


@dataclass(frozen=True, slots=True)
class Header:
    """Everything before the tensor data. Texts in `values` are cut at KEPT_TEXT_BYTES."""

    version: int
    values: Mapping[str, Scalar]
    value_types: Mapping[str, int]  # GGUF's type code of each value: llama.cpp aborts when it expects another
    arrays: Mapping[str, Array]
    tensors: tuple[Tensor, ...]
    data_offset: int  # file offset that tensor offsets count from
    alignment: int  # bytes that tensors are aligned to
    metadata: range  # file offsets of keys and values


def read_header(cursor: Cursor) -> Header:
    """Parse and check everything before the tensor data; InvalidArgument if anything is amiss."""
    version = _read_version(cursor)
    tensor_count, key_count = cursor.u64(), cursor.u64()
    if tensor_count > MAX_TENSORS or key_count > MAX_KEYS:
        raise cursor.bad(
            f"it declares {tensor_count:,} tensors and {key_count:,} metadata keys "
            f"(at most {MAX_TENSORS:,} and {MAX_KEYS:,} are accepted)"
        )
    begin = cursor.position
    values, value_types, arrays = _read_metadata(cursor, key_count)
    metadata = range(begin, cursor.position)
    alignment = _alignment(cursor, values)
    tensors = tuple(_read_tensor(cursor) for _ in range(tensor_count))
    data_offset = _padded(cursor.position, alignment)
    _check_layout(cursor, tensors, data_offset, alignment)
    return Header(version, values, value_types, arrays, tensors, data_offset, alignment, metadata)


def _read_version(cursor: Cursor) -> int:
    magic = cursor.take(min(4, cursor.size))
    if magic != b"GGUF":
        raise _not_gguf(cursor, magic)
    version = cursor.u32()
    if version in VERSIONS:
        return version
    if version and version & 0xFFFF == 0:
        raise cursor.bad("it is big-endian", "convert the model again without --bigendian")
    raise cursor.bad(f"its format version is {version}, and only 2 and 3 can be read")


def _not_gguf(cursor: Cursor, magic: bytes) -> InvalidArgument:
    seen = f"it starts with {magic!r}" if magic else "it is empty"
    remedy = "give a .gguf file; llama.cpp's convert_hf_to_gguf.py makes one from a Hugging Face folder"
    for beginning, meaning, hint in _BEGINNINGS:
        if magic == beginning:
            seen, remedy = f"{seen}: {meaning}", hint
    return InvalidArgument(f"{cursor.name} is not a GGUF file: {seen}", field="file", hint=remedy)


def _read_metadata(cursor: Cursor, count: int) -> tuple[dict[str, Scalar], dict[str, int], dict[str, Array]]:
    values: dict[str, Scalar] = {}
    types: dict[str, int] = {}
    arrays: dict[str, Array] = {}
    strings_left = MAX_STRINGS
    for _ in range(count):
        key = _read_key(cursor)
        if key in values or key in arrays:
            raise cursor.bad(f"its metadata key {key[:80]!r} occurs twice")
        code = types[key] = cursor.u32()
        if code == _ARRAY:
            arrays[key] = _skim_array(cursor, key, strings_left)
            strings_left -= arrays[key].length if arrays[key].item_type == _STRING else 0
        elif code == _STRING:
            values[key] = _read_text(cursor)
        else:
            values[key] = _read_number(cursor, key, code)
    return values, types, arrays


def _read_key(cursor: Cursor) -> str:
    length = cursor.u64()
    if not 0 < length <= MAX_KEY_BYTES:
        raise cursor.bad(f"it has a metadata key of {length:,} bytes (1 to {MAX_KEY_BYTES:,} are accepted)")
    return cursor.take(length).decode(errors="backslashreplace")


def _read_text(cursor: Cursor) -> str:
    length = cursor.u64()
    if length > MAX_TEXT_BYTES:
        raise cursor.bad(f"it declares a text of {length:,} bytes (at most {MAX_TEXT_BYTES:,} are accepted)")
    text = cursor.take(min(length, KEPT_TEXT_BYTES))
    cursor.skip(length - len(text))
    return text.decode(errors="replace")


def _read_number(cursor: Cursor, key: str, code: int) -> int | float | bool:
    layout = _NUMBERS.get(code)
    if layout is None:
        raise cursor.bad(f"its metadata key {key[:80]!r} has the unknown type {code}")
    (number,) = cursor.unpack(layout)
    return bool(number) if code == _BOOL else number


def _skim_array(cursor: Cursor, key: str, strings_left: int) -> Array:
    """Pass over an array, checking that all of it is there. Arrays of arrays do not load in llama.cpp either."""
    item_type, count = cursor.u32(), cursor.u64()
    array = Array(item_type, count, cursor.position)
    if item_type == _STRING:
        if count > min(strings_left, cursor.remaining // 8):
            raise cursor.bad(f"its array {key[:80]!r} declares {count:,} texts, more than the file can hold")
        for _ in cursor.strings(count, MAX_TEXT_BYTES):
            pass
    elif item_type in _NUMBERS:
        cursor.skip(count * _NUMBERS[item_type].size)
    else:
        raise cursor.bad(f"its array {key[:80]!r} has items of the unusable type {item_type}")
    return array


def _alignment(cursor: Cursor, values: Mapping[str, Scalar]) -> int:
    """Bytes that tensors are aligned to: a power of two, 32 unless the file says otherwise."""
    alignment = values.get("general.alignment", 32)
    if type(alignment) is not int or not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise cursor.bad(f"its alignment is {alignment!r:.40}, which is not a power of two")
    return alignment


def _read_tensor(cursor: Cursor) -> Tensor:
    (raw,) = cursor.strings(1, MAX_TENSOR_NAME_BYTES)
    name = raw.decode(errors="backslashreplace")
    dimensions = cursor.u32()
    if not 0 < dimensions <= MAX_DIMENSIONS:
        raise cursor.bad(f"its tensor {name!r} has {dimensions} dimensions (1 to {MAX_DIMENSIONS} are possible)")
    shape = tuple(cursor.u64() for _ in range(dimensions))
    code, offset = cursor.u32(), cursor.u64()
    kind = GGML_TYPES.get(code)
    if kind is None:
        raise cursor.bad(f"its tensor {name!r} has the unknown type {code}", "it may need a newer firedeck")
    if shape[0] % kind.block_elements or math.prod(shape) not in range(1, 1 << 63):
        raise cursor.bad(f"its tensor {name!r} has the impossible shape {shape} for {kind.label}")
    return Tensor(name, shape, code, offset)


def _check_layout(cursor: Cursor, tensors: tuple[Tensor, ...], data_start: int, alignment: int) -> None:
    """Tensors must follow each other, aligned and inside the file: llama.cpp accepts no other layout."""
    expected, seen = 0, set[str]()
    for tensor in tensors:
        if tensor.name in seen:
            raise cursor.bad(f"its tensor {tensor.name!r} occurs twice")
        seen.add(tensor.name)
        if tensor.offset_bytes != expected:
            raise cursor.bad(f"its tensor {tensor.name!r} is at offset {tensor.offset_bytes:,}, not {expected:,}")
        end = data_start + expected + tensor.size_bytes
        if end > cursor.size:
            raise cursor.bad(
                f"its tensor {tensor.name!r} ends at byte {end:,}, but the file has {cursor.size:,}",
                "the download was cut off: fetch it again",
            )
        expected = _padded(expected + tensor.size_bytes, alignment)


def _padded(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment
