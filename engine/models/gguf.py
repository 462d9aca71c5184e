"""What a GGUF file says about itself, found out without llama.cpp.

llama.cpp aborts, or worse, on some malformed files (five loader bugs reachable by a 6 KB file:
lmstudio-bug-tracker#2289; its SECURITY.md says to check models first). So a file passes here before a replica may see
it. Tensor data is never read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.models.cursor import Cursor, open_regular
from engine.models.customized import CONVERSATION_KEY, DEFAULTS_KEY
from engine.models.ggml_types import FILE_TYPES, GGML_TYPES
from engine.models.header import Header, Scalar, read_header
from engine.models.vocabulary import check_vocabulary


@dataclass(frozen=True, slots=True)
class GgufInfo:
    """The facts of a checked GGUF file. None: the file does not say."""

    kind: str  # general.type: "model", "adapter", "mmproj", "imatrix"
    architecture: str
    name: str | None
    license: str | None
    quantization: str  # as people name it: "Q4_1", "Q4_K_M", "F16"
    parameter_count: int
    tensor_count: int
    size_bytes: int
    context_length: int | None  # tokens seen in training
    embedding_length: int | None
    block_count: int | None  # transformer layers
    vocabulary_size: int | None
    has_chat_template: bool
    split_count: int  # files that the model is spread over; 1 for all but the largest
    expert_count: int | None = None  # of a mixture of experts
    conversation: str | None = None  # what `customized` has written, as JSON
    defaults: str | None = None


def read(path: Path) -> GgufInfo:
    """The facts of the file at `path`; InvalidArgument says in a sentence why it is not usable."""
    with open_regular(path) as fd:
        return read_open(fd, path.name)


def read_open(fd: int, name: str) -> GgufInfo:
    """The facts of an open file, called `name` in errors. The file position of `fd` is neither used nor moved."""
    cursor = Cursor(fd, name)
    header = read_header(cursor)
    check_vocabulary(cursor, header.arrays)
    return _info(cursor, header)


def _info(cursor: Cursor, header: Header) -> GgufInfo:
    facts = _Facts(cursor, header.values)
    architecture = facts.text("general.architecture")
    if not architecture:
        raise cursor.bad("it does not say which architecture it has (general.architecture)")
    tokens = header.arrays.get("tokenizer.ggml.tokens")
    return GgufInfo(
        kind=facts.text("general.type") or "model",
        architecture=architecture,
        name=facts.text("general.name"),
        license=facts.text("general.license"),
        quantization=_quantization(header, facts.count("general.file_type")),
        parameter_count=sum(tensor.elements for tensor in header.tensors),
        tensor_count=len(header.tensors),
        size_bytes=cursor.size,
        context_length=facts.count(f"{architecture}.context_length"),
        embedding_length=facts.count(f"{architecture}.embedding_length"),
        block_count=facts.count(f"{architecture}.block_count"),
        vocabulary_size=tokens.length if tokens else facts.count(f"{architecture}.vocab_size"),
        has_chat_template=bool(facts.text("tokenizer.chat_template")),
        split_count=facts.count("split.count") or 1,
        expert_count=facts.count(f"{architecture}.expert_count"),
        conversation=facts.text(CONVERSATION_KEY),
        defaults=facts.text(DEFAULTS_KEY),
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    """Metadata by key and expected type: a key of another type rules the file out, as it does in llama.cpp."""

    cursor: Cursor
    values: Mapping[str, Scalar]

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise self.cursor.bad(f"its metadata key {key[:80]!r} is not a text")
        # People read these on a terminal: escape sequences in a model's name must not reach it.
        return value and "".join(character for character in value if character.isprintable())

    def count(self, key: str) -> int | None:
        value = self.values.get(key)
        if value is not None and (type(value) is not int or not 0 <= value < 1 << 32):
            raise self.cursor.bad(f"its metadata key {key[:80]!r} is not a count")
        return value


def _quantization(header: Header, file_type: int | None) -> str:
    """The file's own word for it, or else the type that holds most of the weights."""
    if file_type in FILE_TYPES:
        return FILE_TYPES[file_type]
    weights = Counter[str]()
    for tensor in header.tensors:
        weights[GGML_TYPES[tensor.ggml_type].label] += tensor.elements
    return weights.most_common(1)[0][0] if weights else "none"
