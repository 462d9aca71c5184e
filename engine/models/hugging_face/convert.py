"""A folder as transformers save a model, made one GGUF file. Reads everything: for a process of its own."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from client.errors import FailedPrecondition, InvalidArgument
from engine.models import customized, gguf_writer
from engine.models.cursor import open_regular
from engine.models.customized import Conversation
from engine.models.gguf_writer import FloatTensor
from engine.models.hugging_face import config, fields, naming, vocabulary, weights

MAX_JSON_BYTES = 64 << 20  # the largest vocabularies have 20 MB
_FILE_TYPES = {"F32": 0, "F16": 1, "BF16": 32}  # of enum llama_ftype
_USED = (customized.NAME, fields.NAME, vocabulary.NAME, vocabulary.CONFIG, vocabulary.TEMPLATE, weights.INDEX)


def files_in(folder: Path) -> dict[str, Path]:
    """The files of a model that lie in `folder`, by name."""
    return {file.name: file for file in sorted(folder.iterdir()) if file.is_file() and not file.name.startswith(".")}


def unused(files: Mapping[str, Path]) -> list[str]:
    """The names of those that nothing is taken from."""
    return [name for name in files if name not in (*_USED, *weights.shards(files))]


def check_config(text: str | bytes, tokenizer_config: str | bytes = b"{}") -> None:
    """Whether a model with these two files, as far as they tell, can be converted; errors as of `config.read`."""
    config.read(_parsed(fields.NAME, text))
    settings = _parsed(vocabulary.CONFIG, tokenizer_config)
    if not isinstance(settings, dict):
        raise InvalidArgument(f"{vocabulary.CONFIG} is not a JSON object", field="tokenizerConfigJson")


def convert(files: Mapping[str, Path], target: Path, name: str, talk: Conversation | None = None) -> Path:
    """Write the model in `files` (by name) to the GGUF file `target`, which appears whole or not at all. `name` is what
    it calls itself, see `naming`; `talk` how it is talked with, where no fireworks.json says it. InvalidArgument for
    files that are unusable, FailedPrecondition for a sound model that cannot be converted; both say why in a sentence.
    """
    raw = _json(files, fields.NAME)
    model = config.read(raw)
    template = _text(files, vocabulary.TEMPLATE).decode(errors="replace") if vocabulary.TEMPLATE in files else None
    settings = _json(files, vocabulary.CONFIG) if vocabulary.CONFIG in files else {}
    custom, tokenizer = customized.read(files, talk), _json(files, vocabulary.NAME)
    words = vocabulary.read(tokenizer, settings, raw, model.vocabulary, template)
    with weights.tensors(files, model) as tensors:
        metadata: dict[str, gguf_writer.Value] = {
            "general.architecture": model.architecture.name, "general.type": "model",
            "general.name": naming.named(name, tokenizer),
            "general.file_type": _FILE_TYPES[_most(tensors)], **model.metadata(), **words, **custom.metadata,
        }  # fmt: skip
        return gguf_writer.write(target, metadata, tensors)


def _most(tensors: Sequence[FloatTensor]) -> str:
    """The type of most of the weights."""
    sizes = Counter[str]()
    for tensor in tensors:
        sizes[tensor.kind] += tensor.size_bytes
    return sizes.most_common(1)[0][0]


def _json(files: Mapping[str, Path], name: str) -> Any:
    if name not in files:
        raise FailedPrecondition(f"{name} is missing", field="file", hint="give it as transformers has saved it")
    return _parsed(name, _text(files, name))


def _text(files: Mapping[str, Path], name: str) -> bytes:
    with open_regular(files[name]) as fd:
        size = os.fstat(fd).st_size
        if size > MAX_JSON_BYTES:
            raise InvalidArgument(f"{name} has {size:,} bytes (at most {MAX_JSON_BYTES:,} are read)", field="file")
        return os.pread(fd, size, 0)


def _parsed(name: str, text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(
            f"{name} is not JSON: {str(error)[:80]}", field="file", hint="give it as transformers has saved it"
        ) from None
