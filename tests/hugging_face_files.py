"""Models as transformers save them, for tests: made of a known GGUF file, by the way back."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from engine.models.cursor import Cursor, open_regular
from engine.models.header import read_header
from tests.gguf_copies import Words
from tests.peft_files import MODULES, safetensors

OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
INNER = {
    "llama": {**MODULES, "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"},
    "gemma3": {
        **MODULES, "attn_norm": "input_layernorm", "post_attention_norm": "post_attention_layernorm",
        "ffn_norm": "pre_feedforward_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
        "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    },
}  # fmt: skip
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
SMOLLM = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
}
IDS = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad"}


def folder(at: Path, source: Path, *, shards: int = 1, config: Mapping[str, Any] | None = None) -> Path:
    """The model of a BF16 GGUF file, a llama with byte-level BPE or a Gemma 3 with sentencepiece's, as transformers
    would have saved it; `config` are changes."""
    reader = gguf.GGUFReader(source)
    at.mkdir(parents=True)
    facts = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    kind = facts["general.architecture"]
    save(at, "config.json", _config(facts, kind) | dict(config or {}))
    save(at, "tokenizer.json", byte_level(facts) if kind == "llama" else sentencepiece(_words(facts)))
    save(at, "tokenizer_config.json", _tokenizer_config(facts))
    weights = {_name(one.name, kind): _values(one, facts, kind) for one in reader.tensors}
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


def sentencepiece(words: Words) -> dict[str, Any]:
    """tokenizer.json as transformers make it of Gemma's: each way to make a token of two, best scores first."""
    _, scores, types = words
    # llama.cpp looks for these before it replaces spaces, transformers have them with sentencepiece's.
    texts = [
        text.replace(" ", "\u2581") if kind == USER_DEFINED else text
        for text, kind in zip(words.texts, types, strict=True)
    ]
    ids = {text: number for number, text in enumerate(texts)}
    usual = [number for number, kind in enumerate(types) if kind == NORMAL]
    merges = [
        [texts[number][:at], texts[number][at:]]
        for number in sorted(usual, key=lambda number: -scores[number])
        for at in range(1, len(texts[number]))
        if texts[number][:at] in ids and texts[number][at:] in ids
    ]
    added = [
        {"id": number, "content": text, "special": types[number] == CONTROL}
        for number, text in enumerate(texts)
        if types[number] in (CONTROL, USER_DEFINED)
    ]
    spaces = {"pattern": {"String": " "}}
    return {
        "added_tokens": added, "normalizer": {"type": "Replace", **spaces, "content": "\u2581"},
        "pre_tokenizer": {"type": "Split", **spaces, "behavior": "MergedWithPrevious", "invert": False},
        "model": {"type": "BPE", "byte_fallback": True, "unk_token": "<unk>", "vocab": ids, "merges": merges},
    }  # fmt: skip


def _words(facts: Mapping[str, Any]) -> Words:
    return Words(*(facts[f"tokenizer.ggml.{name}"] for name in ("tokens", "scores", "token_type")))


MODEL_TYPES = {"llama": "llama", "gemma3": "gemma3_text"}  # "gemma3" is the one that sees
OWN = {
    "llama": {"architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "attention_bias": False},
    "gemma3": {
        "architectures": ["Gemma3ForCausalLM"], "hidden_activation": "gelu_pytorch_tanh", "rope_local_base_freq": 10000,
        "query_pre_attn_scalar": 256, "attn_logit_softcapping": None, "final_logit_softcapping": None,
    },
}  # fmt: skip


def _config(facts: Mapping[str, Any], kind: str) -> dict[str, Any]:
    fact = {name.removeprefix(f"{kind}."): value for name, value in facts.items()}
    return {
        **OWN[kind], "model_type": MODEL_TYPES[kind], "torch_dtype": "bfloat16",
        "vocab_size": len(facts["tokenizer.ggml.tokens"]),
        "hidden_size": fact["embedding_length"], "intermediate_size": fact["feed_forward_length"],
        "num_hidden_layers": fact["block_count"], "num_attention_heads": fact["attention.head_count"],
        "num_key_value_heads": fact["attention.head_count_kv"], "max_position_embeddings": fact["context_length"],
        "rope_theta": fact["rope.freq_base"], "rms_norm_eps": fact["attention.layer_norm_rms_epsilon"],
        "tie_word_embeddings": True, "rope_scaling": None, "sliding_window": fact.get("attention.sliding_window"),
    }  # fmt: skip


def _tokenizer_config(facts: Mapping[str, Any]) -> dict[str, Any]:
    texts = facts["tokenizer.ggml.tokens"]
    named = {f"{short}_token": texts[facts[f"tokenizer.ggml.{name}_token_id"]] for name, short in IDS.items()}
    opening = facts.get("tokenizer.ggml.add_bos_token")
    return {**named, "chat_template": facts.get("tokenizer.chat_template"), "add_bos_token": opening}


def _name(target: str, kind: str) -> str:
    found = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", target)
    return f"model.layers.{found[1]}.{INNER[kind][found[2]]}.weight" if found else f"{OUTER[target[:-7]]}.weight"


def _values(tensor: Any, facts: Mapping[str, Any], kind: str) -> NDArray[Any]:
    """BF16 as its bits; a llama's rows of queries and keys in the order of their halves, Gemma's norms without one."""
    values = tensor.data if tensor.data.dtype == np.float32 else tensor.data.view(np.uint16)
    if kind == "gemma3":
        return np.asarray(values - np.float32(1) if tensor.name.endswith("norm.weight") else values)
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
        wanted |= {f"model.layers.{layer}.{INNER['llama'][part]}.weight": shape for part, shape in shapes.items()}
    return {
        name: (random.standard_normal(shape) * 0.05 if len(shape) > 1 else np.ones(shape)).astype(np.float16)
        for name, shape in wanted.items()
    }


def _byte_letters() -> list[str]:
    """GPT-2's letters for the 256 bytes, by byte (https://github.com/openai/gpt-2, encoder.py)."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(spare)) for byte in range(256)]
