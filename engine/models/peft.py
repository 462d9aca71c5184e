"""A LoRA adapter as PEFT saves it (`adapter_config.json` and `adapter_model.safetensors`), made a GGUF file.

PEFT's config can say much that a GGUF adapter cannot: whatever would be lost is refused, with the reason. In llama's
GGUF files the rows of the query and key weights stand in another order than in Hugging Face's (the two halves of a
rotated head are interleaved), so the rows of their B matrices are moved the same way: without that an adapter loads,
and answers slightly wrong.

Sources: https://huggingface.co/docs/peft (LoraConfig, checkpoint format); rank and modules as the platform documents
uploads; `LlamaModel.permute` of llama.cpp's conversion for the order of rows.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.errors import FailedPrecondition, FiredeckError, InvalidArgument
from engine.models import gguf_writer
from engine.models.adapter import MAX_ALPHA, BaseFacts
from engine.models.cursor import open_regular
from engine.models.gguf_writer import FloatTensor
from engine.models.safetensors import FLOATS, SafeTensors, opened

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
MAX_CONFIG_BYTES = 1 << 20
RANK_MIN, RANK_MAX = 4, 64

# Architectures by how their query and key rows stand in a GGUF file; of others that is not known here.
_INTERLEAVED = frozenset({"llama"})
_AS_TRAINED = frozenset({"gemma", "gemma2", "gemma3", "phi3", "qwen2", "qwen3", "qwen3moe"})
_MODULES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "block_sparse_moe.gate": "ffn_gate_inp",
    "self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up",  # as Phi-3 has them, three and two in one
}  # fmt: skip
_NAME = re.compile(
    r"base_model\.model\.(?:(?:language_model|model)\.){0,3}layers\.(\d{1,4})\.(.{1,200})"
    r"\.lora_(A|B)(?:\.default)?\.weight"
)
# What a config may say that no GGUF adapter can hold; each is refused unless it has the value that means "not used".
_REFUSED = {
    "use_dora": "it was trained with DoRA, whose magnitudes a GGUF adapter cannot hold",
    "use_qalora": "it was trained with QALoRA, whose grouped inputs a GGUF adapter cannot hold",
    "lora_bias": "it trains biases of its own (lora_bias), which a GGUF adapter cannot hold",
    "modules_to_save": "it replaces whole modules (modules_to_save), which a GGUF adapter cannot hold",
    "trainable_token_indices": "it trains embeddings of tokens, which a GGUF adapter cannot hold",
    "target_parameters": "it changes bare parameters (target_parameters), which are not served",
    "alpha_pattern": "its alpha differs by module (alpha_pattern), and a GGUF adapter has one",
    "alora_invocation_tokens": "it is an activated LoRA (aLoRA), which is not supported",
    "layer_replication": "it repeats layers of its base (layer_replication), which are not there in the base's file",
    "fan_in_fan_out": "its weights are stored transposed (fan_in_fan_out), which is not supported",
}
_SAME_BASE = (True, False, None, "gaussian", "eva", "orthogonal")  # init_lora_weights that leave the base as it was
_TRAIN = "train a plain LoRA"


def files_in(folder: Path) -> dict[str, Path]:
    """The files of an adapter that lie in `folder`, by name. InvalidArgument where none is as PEFT saves one."""
    found = {name: folder / name for name in (CONFIG, WEIGHTS, PICKLE) if (folder / name).exists()}
    if CONFIG not in found:
        raise InvalidArgument(
            f"{folder} holds neither a model (config.json) nor an adapter ({CONFIG})", field="file",
            hint="give a folder as transformers or PEFT save one, or a GGUF file",
        )  # fmt: skip
    return found


def convert(files: Mapping[str, Path], base: BaseFacts, target: Path) -> Path:
    """Write the adapter in `files` (by name) for `base` to the GGUF file `target`, which appears whole or not at all.

    Raises InvalidArgument for files that are unusable, FailedPrecondition for a sound adapter that cannot be served on
    this base; both say why in a sentence. Reads everything: call it from a thread.
    """
    config = _config(files[CONFIG])
    alpha = _alpha(config)
    if base.architecture not in _INTERLEAVED | _AS_TRAINED:
        known = ", ".join(sorted(_INTERLEAVED | _AS_TRAINED))
        raise _unfit(
            f"how weights of the architecture {base.architecture!r} stand in its file is not known here ({known} are)",
            "convert it with llama.cpp's convert_lora_to_gguf.py and upload the GGUF file",
        )
    if WEIGHTS not in files:
        raise _without_weights(files)
    with opened(files[WEIGHTS]) as stored:
        pairs = _pairs(stored)
        scale = math.sqrt if config.get("use_rslora") else None
        tensors = [one for weight, pair in sorted(pairs.items()) for one in _made(stored, weight, pair, base, scale)]
        metadata: dict[str, str | int | float] = {
            "general.architecture": base.architecture, "general.type": "adapter", "adapter.type": "lora",
            "adapter.lora.alpha": alpha,
        }  # fmt: skip
        return gguf_writer.write(target, metadata, tensors)


def _config(path: Path) -> dict[str, Any]:
    with open_regular(path) as fd:
        raw = os.pread(fd, MAX_CONFIG_BYTES + 1, 0)
    try:
        config = json.loads(raw) if len(raw) <= MAX_CONFIG_BYTES else None
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise InvalidArgument(f"{CONFIG} is not a JSON object", field="file", hint="give it as PEFT has saved it")
    kind = config.get("peft_type", "LORA")
    if kind != "LORA":
        raise _unfit(f"its peft_type is {str(kind)[:40]!r}, and only 'LORA' can be served", _TRAIN)
    for key, why in _REFUSED.items():
        if config.get(key):
            raise _unfit(why, _TRAIN)
    if config.get("bias", "none") != "none":
        raise _unfit(f"it trains biases (bias {str(config['bias'])[:40]!r}), which a GGUF adapter cannot hold", _TRAIN)
    start = config.get("init_lora_weights")
    if start not in _SAME_BASE:
        raise _unfit(
            f"its init_lora_weights {str(start)[:40]!r} changes the base's own weights",
            "save it with path_initial_model_for_weight_conversion",
        )
    rank = config.get("r")
    if type(rank) is not int or not RANK_MIN <= rank <= RANK_MAX:
        raise _unfit(f"its rank r is {str(rank)[:40]}", f"train one of rank {RANK_MIN} to {RANK_MAX}")
    return config


def _alpha(config: Mapping[str, Any]) -> float:
    alpha = config.get("lora_alpha", 8)  # PEFT's own default
    if type(alpha) not in (int, float) or not 0 < alpha <= MAX_ALPHA:
        raise InvalidArgument(
            f"lora_alpha of {CONFIG} is {str(alpha)[:40]} (more than 0, at most {MAX_ALPHA:,.0f})", field="file"
        )
    return float(alpha)


def _pairs(stored: SafeTensors) -> dict[str, dict[str, str]]:
    """The names of A and B in the file, by the base's weight that they change."""
    pairs: dict[str, dict[str, str]] = {}
    for name in stored.tensors:
        found = _NAME.fullmatch(name)
        module = _MODULES.get(found[2]) if found else None
        if found is None or module is None:
            raise _unfit(
                f"its tensor {name[:120]!r} changes what adapters may not change here",
                f"train with target_modules of {', '.join(sorted(one.rpartition('.')[2] for one in _MODULES))} alone",
            )
        pair = pairs.setdefault(f"blk.{int(found[1])}.{module}.weight", {})
        if found[3] in pair:
            raise InvalidArgument(f"{stored.name} has {name[:120]!r} twice, under two spellings", field="file")
        pair[found[3]] = name
    if not pairs:
        raise InvalidArgument(f"{stored.name} holds no tensors", field="file", hint="save the adapter again")
    return pairs


def _made(
    stored: SafeTensors, target: str, pair: Mapping[str, str], base: BaseFacts, scale: Callable[[float], float] | None
) -> list[FloatTensor]:
    """A and B of one weight, as the GGUF file has them."""
    if len(pair) < 2:
        raise InvalidArgument(
            f"{stored.name} lacks the other half of {next(iter(pair.values()))[:120]!r}", field="file"
        )
    weight = base.tensors.get(target)
    if weight is None or len(weight.shape) != 2:
        raise _unfit(f"it changes {target!r}, which the base does not have", "give the base that it was trained on")
    a, b = stored.tensors[pair["A"]], stored.tensors[pair["B"]]
    inputs, outputs = weight.shape
    rank = a.shape[0] if a.shape else 0
    if (a.shape, b.shape) != ((rank, inputs), (outputs, rank)) or not 1 <= rank <= RANK_MAX:
        raise _unfit(
            f"the shapes of {target!r} do not fit: A {a.shape} and B {b.shape} for a weight of {(outputs, inputs)}",
            "give the base that it was trained on",
        )
    for one in (a, b):
        if one.dtype not in FLOATS:
            raise InvalidArgument(f"{stored.name} holds {one.dtype} ({', '.join(FLOATS)} are accepted)", field="file")
    return [
        FloatTensor(f"{target}.lora_a", a.shape, partial(stored.floats, pair["A"])),
        FloatTensor(f"{target}.lora_b", b.shape, partial(_second, stored, pair["B"], _heads(target, base), scale)),
    ]


def _second(stored: SafeTensors, name: str, heads: int, scale: Callable[[float], float] | None) -> NDArray[np.float32]:
    """B, with its rows in the base's order. GGUF's scale is alpha over rank; of rank-stabilised LoRA it is alpha over
    the rank's root, and the difference goes into B."""
    values = interleaved(stored.floats(name), heads) if heads else stored.floats(name)
    return values * np.float32(scale(values.shape[1])) if scale else values


def _heads(target: str, base: BaseFacts) -> int:
    """Of how many heads the rows of a weight are to be interleaved; 0: they stay where they are."""
    if base.architecture not in _INTERLEAVED or not target.endswith(("attn_q.weight", "attn_k.weight")):
        return 0
    heads = base.heads if target.endswith("attn_q.weight") else base.kv_heads
    if heads < 1 or base.tensors[target].shape[1] % (2 * heads):
        raise _unfit(f"the rows of {target!r} are not those of {heads} heads", "give another base")
    return heads


def interleaved(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows (heads * d, ...) in which row i of each head's second half follows row i of its first half."""
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def _without_weights(files: Mapping[str, Path]) -> FiredeckError:
    if PICKLE in files:
        return _unfit(f"{PICKLE} is a pickle, which runs what it holds when it is read", "save it as safetensors")
    return FailedPrecondition(f"{WEIGHTS} is missing beside {CONFIG}", field="file", hint="give both files")


def _unfit(what: str, hint: str) -> FailedPrecondition:
    """The error for a sound adapter that cannot be served."""
    return FailedPrecondition(f"this adapter cannot be served: {what}", field="file", hint=hint)
