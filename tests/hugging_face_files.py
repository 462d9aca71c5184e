"""Models as transformers save them, for tests: made of a known GGUF file, by the way back."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import llama_cpp.llama_cpp as C
import numpy as np
from numpy.typing import NDArray

from engine.models.cursor import Cursor, open_regular
from engine.models.header import read_header
from engine.replica import llama
from tests.peft_files import MODULES, safetensors

OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
INNER = {**MODULES, "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
CONTROL, USER_DEFINED = 3, 4
TYPES_OF = {8: 3, 32: 6, 16: 4, 1: 2, 2: 5, 4: 1}  # GGUF's types of tokens by llama.cpp's LLAMA_TOKEN_ATTR_*
SMOLLM = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
}
IDS = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad"}


def folder(at: Path, source: Path, *, shards: int = 1, config: Mapping[str, Any] | None = None) -> Path:
    """The llama of a BF16 GGUF file with byte-level BPE as transformers would have saved it; `config` are changes."""
    reader = gguf.GGUFReader(source)
    at.mkdir(parents=True)
    facts = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    save(at, "config.json", _config(facts) | dict(config or {}))
    save(at, "tokenizer.json", byte_level(facts))
    save(at, "tokenizer_config.json", _tokenizer_config(facts))
    weights = {_name(one.name): _values(one, facts) for one in reader.tensors}
    if shards == 1:
        (at / "model.safetensors").write_bytes(safetensors(weights, {"format": "pt"}))
        return at
    names, places = list(weights), {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = {name: weights[name] for name in names[number::shards]}
        (at / file).write_bytes(safetensors(part, {"format": "pt"}))
        places |= dict.fromkeys(part, file)
    save(at, "model.safetensors.index.json", {"metadata": {}, "weight_map": places})
    return at


def save(at: Path, name: str, content: Any) -> None:
    (at / name).write_text(json.dumps(content))


def byte_level(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A tokenizer.json of GPT-2's kind, of a GGUF file's metadata."""
    texts, types = facts["tokenizer.ggml.tokens"], facts["tokenizer.ggml.token_type"]
    added = [
        {"id": number, "content": text, "special": kind == CONTROL, "single_word": False, "normalized": False}
        for number, (text, kind) in enumerate(zip(texts, types, strict=True))
        if kind in (CONTROL, USER_DEFINED)
    ]
    return {
        "version": "1.0", "added_tokens": added, "normalizer": None, "pre_tokenizer": SMOLLM,
        "post_processor": {"type": "ByteLevel"},
        "model": {
            "type": "BPE", "byte_fallback": False, "vocab": {text: number for number, text in enumerate(texts)},
            "merges": facts["tokenizer.ggml.merges"],
        },
    }  # fmt: skip


def _config(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "torch_dtype": "bfloat16",
        "hidden_size": facts["llama.embedding_length"], "intermediate_size": facts["llama.feed_forward_length"],
        "num_hidden_layers": facts["llama.block_count"], "num_attention_heads": facts["llama.attention.head_count"],
        "num_key_value_heads": facts["llama.attention.head_count_kv"], "vocab_size": facts["llama.vocab_size"],
        "max_position_embeddings": facts["llama.context_length"], "rope_theta": facts["llama.rope.freq_base"],
        "rms_norm_eps": facts["llama.attention.layer_norm_rms_epsilon"], "tie_word_embeddings": True,
        "rope_scaling": None, "attention_bias": False,
    }  # fmt: skip


def _tokenizer_config(facts: Mapping[str, Any]) -> dict[str, Any]:
    texts = facts["tokenizer.ggml.tokens"]
    named = {f"{short}_token": texts[facts[f"tokenizer.ggml.{name}_token_id"]] for name, short in IDS.items()}
    return {**named, "chat_template": facts["tokenizer.chat_template"], "tokenizer_class": "GPT2Tokenizer"}


def _name(target: str) -> str:
    found = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", target)
    return f"model.layers.{found[1]}.{INNER[found[2]]}.weight" if found else f"{OUTER[target[:-7]]}.weight"


def _values(tensor: Any, facts: Mapping[str, Any]) -> NDArray[Any]:
    """BF16 as its bits, rows of queries and keys in the order of their halves."""
    values = tensor.data if tensor.data.dtype == np.float32 else tensor.data.view(np.uint16)
    heads = {
        "attn_q": facts["llama.attention.head_count"], "attn_k": facts["llama.attention.head_count_kv"]
    }.get(tensor.name.split(".")[-2], 0)  # fmt: skip
    if not heads:
        return np.asarray(values)
    return np.asarray(values.reshape(heads, -1, 2, values.shape[-1]).swapaxes(1, 2).reshape(values.shape))


def tensors(file: Path) -> dict[str, tuple[int, tuple[int, ...], bytes]]:
    """Type, shape and bytes of each."""
    with open_regular(file) as fd:
        header = read_header(Cursor(fd, file.name))
        return {
            one.name: (one.ggml_type, one.shape, os.pread(fd, one.size_bytes, header.data_offset + one.offset_bytes))
            for one in header.tensors
        }


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
    """A copy of a llama's GGUF file with its first layers alone."""

    def kept(name: str) -> bool:
        found = re.match(r"blk\.(\d+)\.", name)
        return found is None or int(found[1]) < layers

    return _copied(source, target, {"llama.block_count": layers}, kept)


def _copied(source: Path, target: Path, changes: Mapping[str, Any], kept: Callable[[str], bool]) -> Path:
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        inner = field.types[-1] if len(field.types) > 1 else None
        value = changes[field.name] if field.name in changes else field.contents()
        writer.add_key_value(field.name, value, field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        if kept(tensor.name):
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


TINY = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 264, "max_position_embeddings": 256, "tie_word_embeddings": False,
}  # fmt: skip
WORDS = ["th", "he", "the", "in"]
CONTROLS = ["<|begin|>", "<|end|>"]


def tiny(at: Path, *, seed: int = 1, **config: Any) -> Path:
    """A llama of random weights that writes nothing of sense, a megabyte of it; `config` are changes."""
    whole = {"architectures": ["LlamaForCausalLM"], "bos_token_id": 260, "eos_token_id": [261], **TINY, **config}
    at.mkdir(parents=True)
    save(at, "config.json", whole)
    save(at, "tokenizer.json", tiny_tokenizer())
    save(at, "tokenizer_config.json", {"chat_template": "{{ messages[0].content }}", "add_bos_token": True})
    (at / "model.safetensors").write_bytes(safetensors(tiny_weights(whole, seed), {"format": "pt"}))
    return at


def tiny_tokenizer() -> dict[str, Any]:
    """Bytes, four words and two control tokens: ids 0 to 261."""
    texts = [*_byte_letters(), *WORDS]
    added = [{"id": 260 + n, "content": text, "special": True} for n, text in enumerate(CONTROLS)]
    return {
        "added_tokens": added, "normalizer": None, "pre_tokenizer": SMOLLM, "post_processor": None,
        "model": {
            "type": "BPE", "vocab": {text: number for number, text in enumerate(texts)},
            "merges": [["t", "h"], ["h", "e"], ["th", "e"], ["i", "n"]],
        },
    }  # fmt: skip


def tiny_weights(config: Mapping[str, Any], seed: int) -> dict[str, NDArray[Any]]:
    random, width, inner = np.random.default_rng(seed), config["hidden_size"], config["intermediate_size"]
    keys = width // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes = {
        "attn_q": (width, width), "attn_k": (keys, width), "attn_v": (keys, width), "attn_output": (width, width),
        "ffn_gate": (inner, width), "ffn_up": (inner, width), "ffn_down": (width, inner), "attn_norm": (width,),
        "ffn_norm": (width,),
    }  # fmt: skip
    wanted = {"model.embed_tokens.weight": (config["vocab_size"], width), "model.norm.weight": (width,)}
    wanted |= {} if config["tie_word_embeddings"] else {"lm_head.weight": (config["vocab_size"], width)}
    for layer in range(config["num_hidden_layers"]):
        wanted |= {f"model.layers.{layer}.{INNER[part]}.weight": shape for part, shape in shapes.items()}
    return {
        name: (random.standard_normal(shape) * 0.05 if len(shape) > 1 else np.ones(shape)).astype(np.float16)
        for name, shape in wanted.items()
    }


def _byte_letters() -> list[str]:
    """GPT-2's letters for the 256 bytes, by byte (https://github.com/openai/gpt-2, encoder.py)."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(spare)) for byte in range(256)]
