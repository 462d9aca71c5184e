"""The safetensors of a model, under GGUF's names, in its order of rows and in the precision that they are stored in.

In llama's GGUF files the rows of the query and key weights are interleaved, as `peft` says; in Gemma's the norms are
larger by one, which is what their layers multiply with. Norms and biases are always 32-bit. The weights of a mixture's
experts, which are tensors of their own here, are one there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.errors import FailedPrecondition, InvalidArgument
from engine.models.cursor import open_regular
from engine.models.gguf_writer import FloatTensor
from engine.models.hugging_face.config import Decoder
from engine.models.hugging_face.fields import unfit
from engine.models.peft import interleaved
from engine.models.safetensors import FLOATS, SafeTensors, opened

SINGLE, INDEX, SUFFIX = "model.safetensors", "model.safetensors.index.json", ".safetensors"
PICKLES = (".bin", ".pt", ".pth")
MAX_INDEX_BYTES = 16 << 20
ROUTER = "ffn_gate_inp"  # which experts a token goes through: 32 bits, as llama.cpp's quantizer leaves it
_NOT_WEIGHTS = ("rotary_emb.inv_freq", "rotary_pos_emb.inv_freq")  # follows from the config


@contextmanager
def tensors(files: Mapping[str, Path], model: Decoder) -> Iterator[list[FloatTensor]]:
    """The tensors of a model, to be written while this is open. Errors as of `config.read`."""
    with ExitStack() as stack:
        stored = [stack.enter_context(opened(files[name])) for name in shards(files)]
        places = _places(stored)
        wanted = _wanted(model)
        _check(places, wanted, model)
        parts: dict[str, list[str]] = {}
        for name, (target, _) in wanted.items():
            parts.setdefault(target, []).append(name)
        made = [_made(places, names, target, wanted[names[0]][1], model) for target, names in parts.items()]
        if model.rope.factors:
            factors = np.array(model.rope.factors, np.float32)
            made += [FloatTensor(f"{name}.weight", factors.shape, lambda: factors) for name in _factor_names(model)]
        yield made


def shards(files: Mapping[str, Path]) -> list[str]:
    """The names of the files that hold the weights. FailedPrecondition where one of them is missing."""
    if INDEX in files:
        named = sorted(_indexed(files[INDEX]))
        if missing := [name for name in named if name not in files]:
            raise FailedPrecondition(f"{missing[0][:120]} is missing", field="file", hint=f"{INDEX} names it: give it")
        return named
    if SINGLE in files:
        return [SINGLE]
    pickles = [name for name in files if name.endswith(PICKLES)]
    if pickles:
        raise unfit(f"{pickles[0]} is a pickle, which runs what it holds when it is read", "save it as safetensors")
    raise FailedPrecondition(f"{SINGLE} is missing, and {INDEX} too", field="file", hint="give the model's weights")


def _indexed(path: Path) -> set[str]:
    with open_regular(path) as fd:
        raw = os.pread(fd, MAX_INDEX_BYTES + 1, 0)
    try:
        index = json.loads(raw) if len(raw) <= MAX_INDEX_BYTES else None
    except (ValueError, RecursionError):
        index = None
    named = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise InvalidArgument(f"{INDEX} names no files", field="file", hint="give it as transformers has saved it")
    return set(named.values())


def _places(stored: list[SafeTensors]) -> dict[str, SafeTensors]:
    """Where each tensor is."""
    found: dict[str, SafeTensors] = {}
    for file in stored:
        for name in file.tensors:
            if name in found:
                raise InvalidArgument(f"{name[:120]!r} is in {found[name].name} and in {file.name}", field="file")
            found[name] = file
    return found


def _factor_names(model: Decoder) -> tuple[str, ...]:
    """llama.cpp takes a phi3's long ones where there is room for more than the original context, which there is not:
    they are the short ones here, so that it never takes others."""
    phi3 = model.architecture.name == "phi3"
    return ("rope_factors_long", "rope_factors_short") if phi3 else ("rope_freqs",)


def _wanted(model: Decoder) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Each tensor of such a model: its name in the file, then GGUF's, and its shape. Those of a layer's experts are one
    in GGUF, in the order of their numbers."""
    heads, keys = model.heads * model.head_size, model.kv_heads * model.head_size
    width, inner, kind = model.embedding, model.feed_forward, model.architecture
    up = 2 * inner if kind.fused_feed_forward else inner
    shapes = {
        "attn_q": (heads, width), "attn_k": (keys, width), "attn_v": (keys, width), "attn_output": (width, heads),
        "attn_qkv": (heads + 2 * keys, width), "ffn_gate": (inner, width), "ffn_up": (up, width),
        "ffn_down": (width, inner), "ffn_gate_exps": (inner, width), "ffn_up_exps": (inner, width),
        "ffn_down_exps": (width, inner), "attn_q_norm": (model.head_size,), "attn_k_norm": (model.head_size,),
    }  # fmt: skip
    found: dict[str, tuple[str, tuple[int, ...]]] = {
        "model.embed_tokens.weight": ("token_embd.weight", (model.vocabulary, width)),
        "model.norm.weight": ("output_norm.weight", (width,)),
    }
    if not model.tied:
        found["lm_head.weight"] = ("output.weight", (model.vocabulary, width))
    for layer in range(model.layers):
        for part, target in kind.weights.items():
            shape = shapes.get(target, (width,))  # all other norms are of the width
            found[f"model.layers.{layer}.{part}.weight"] = (f"blk.{layer}.{target}.weight", shape)
            if part in kind.biases:
                found[f"model.layers.{layer}.{part}.bias"] = (f"blk.{layer}.{target}.bias", shape[:1])
        if kind.experts is not None:
            at, router = (
                f"model.layers.{layer}.{kind.experts.path}",
                f"model.layers.{layer}.{kind.experts.router}.weight",
            )
            found[router] = (f"blk.{layer}.{ROUTER}.weight", (model.experts, width))
            for part, target in kind.experts.weights.items():
                for number in range(model.experts):
                    found[f"{at}.{number}.{part}.weight"] = (f"blk.{layer}.{target}.weight", shapes[target])
    return found


def _check(places: Mapping[str, SafeTensors], wanted: Mapping[str, Any], model: Decoder) -> None:
    for name, (_, shape) in wanted.items():
        stored = places[name].tensors[name] if name in places else None
        if stored is None:
            raise FailedPrecondition(
                f"the weights lack {name!r}, which config.json tells of", field="file", hint="give all of the model"
            )
        if stored.shape != shape:
            raise FailedPrecondition(
                f"{name!r} has the shape {stored.shape}, and config.json tells of {shape}", field="file",
                hint="give the config that belongs to these weights",
            )  # fmt: skip
        if stored.dtype not in FLOATS:
            raise unfit(f"its weights are {stored.dtype} ({', '.join(FLOATS)} are converted)")
    spare = {"lm_head.weight"} if model.tied else set()
    for name in places:
        if name not in wanted and name not in spare and not name.endswith(_NOT_WEIGHTS):
            raise unfit(f"it has a tensor {name[:120]!r}, which a {model.architecture.name} does not have")


def _made(
    places: Mapping[str, SafeTensors], names: list[str], target: str, shape: tuple[int, ...], model: Decoder
) -> FloatTensor:
    """One of GGUF's tensors: of one in the files, or of one of each expert."""
    first, part = places[names[0]].tensors[names[0]], target.split(".")[-2]
    kind = first.dtype if len(shape) > 1 and part != ROUTER else "F32"
    if part.endswith("_exps"):
        return FloatTensor(target, (len(names), *shape), partial(_stacked, places, names), kind)
    heads = {"attn_q": model.heads, "attn_k": model.kv_heads}.get(part, 0) if model.architecture.interleaved else 0
    added = model.architecture.norm_offset if part.endswith("norm") else 0.0
    return FloatTensor(target, shape, partial(_rows, places[names[0]], names[0], heads, added), kind)


def _stacked(places: Mapping[str, SafeTensors], names: list[str]) -> NDArray[np.float32]:
    return np.stack([places[name].floats(name) for name in names])


def _rows(stored: SafeTensors, name: str, heads: int, added: float) -> NDArray[np.float32]:
    values = stored.floats(name)
    if added:
        return values + np.float32(added)
    return interleaved(values, heads) if heads else values
