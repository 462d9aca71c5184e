"""Copies of GGUF files for tests: with fewer layers, or with another vocabulary."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import llama_cpp.llama_cpp as C
import numpy as np

from engine.models.cursor import Cursor, open_regular
from engine.models.header import read_header
from engine.replica import llama

TYPES_OF = {8: 3, 32: 6, 16: 4, 1: 2, 2: 5, 4: 1}  # GGUF's types of tokens by llama.cpp's LLAMA_TOKEN_ATTR_*
EMBEDDING = "token_embd.weight"


class Words(NamedTuple):
    """A vocabulary as GGUF has it: texts, scores and types by id."""

    texts: list[str]
    scores: list[float]
    types: list[int]


def words_of(file: Path, most: int) -> Words:
    """The first `most` tokens of a GGUF file's sentencepiece vocabulary, and all of a single letter."""
    llama.start_backend()
    model = llama.Model(str(file), gpu_layers=0)
    vocabulary, found = model.vocabulary.pointer, Words([], [], [])
    for number in range(model.vocabulary.size):
        text = C.llama_vocab_get_text(vocabulary, number).decode()
        if number < most or len(text) == 1:
            found.texts.append(text)
            found.scores.append(C.llama_vocab_get_score(vocabulary, number))
            flags = C.llama_vocab_get_attr(vocabulary, number)
            found.types.append(next(kind for flag, kind in TYPES_OF.items() if flags & flag))
    model.close()
    return found


def with_words(source: Path, target: Path, words: Words) -> Path:
    """A copy of a GGUF file with another vocabulary of sentencepiece's."""
    changes = {
        "tokenizer.ggml.tokens": words.texts, "tokenizer.ggml.scores": words.scores,
        "tokenizer.ggml.token_type": words.types,
    }  # fmt: skip
    return _copied(source, target, changes, lambda name: True)


def pruned(source: Path, target: Path, layers: int) -> Path:
    """A copy of a GGUF file with its first layers alone."""
    return _copied(source, target, {"block_count": layers}, lambda name: _within(name, layers))


def with_fewer_words(source: Path, target: Path, layers: int, most: int) -> Path:
    """The same of a file whose vocabulary is sentencepiece's, and of that the first `most` words and their letters.
    Reads the 262,144 of Gemma's by llama.cpp, which takes a second, and not ten."""
    whole = words_of(source, most=1 << 20)
    letters = set("".join(whole.texts[:most]))
    ids = [number for number, text in enumerate(whole.texts) if number < most or text in letters]
    with open_regular(source) as fd:
        header = read_header(Cursor(fd, source.name))
    kind = str(header.values["general.architecture"])
    writer = gguf.GGUFWriter(target, kind)
    for name, value in ({**header.values, f"{kind}.block_count": layers}).items():
        if name != "general.architecture":
            writer.add_key_value(name, value, gguf.GGUFValueType(header.value_types[name]))
    writer.add_token_list([whole.texts[one] for one in ids])
    writer.add_token_scores([whole.scores[one] for one in ids])
    writer.add_token_types([whole.types[one] for one in ids])
    data = np.memmap(source, np.uint8, "r", header.data_offset)
    for one in header.tensors:
        if _within(one.name, layers):
            raw = data[one.offset_bytes :][: one.size_bytes].reshape(one.shape[-1], -1)
            rows = raw[ids] if one.name == EMBEDDING else raw
            stored = gguf.GGMLQuantizationType(one.ggml_type)
            values = rows.reshape(-1).view(np.float32) if len(one.shape) == 1 else rows
            writer.add_tensor(one.name, values, raw_dtype=stored)
    return _written(writer, target)


def _within(name: str, layers: int) -> bool:
    found = re.match(r"blk\.(\d+)\.", name)
    return found is None or int(found[1]) < layers


def _copied(source: Path, target: Path, changes: Mapping[str, Any], kept: Callable[[str], bool]) -> Path:
    reader = gguf.GGUFReader(source)
    kind = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, kind)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        inner = field.types[-1] if len(field.types) > 1 else None
        name = field.name.removeprefix(f"{kind}.")
        value = changes[name] if name in changes else field.contents()
        writer.add_key_value(field.name, value, field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        if kept(tensor.name):
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    return _written(writer, target)


def _written(writer: gguf.GGUFWriter, target: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target
