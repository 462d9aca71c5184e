"""`config.json` of a model of the llama family: its dimensions, or the reason why it cannot be converted. Pure.

Defaults are those of transformers' LlamaConfig: a config that leaves a field out means them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from client.errors import FailedPrecondition, FiredeckError, InvalidArgument

NAME = "config.json"
ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM")
OTHERWISE = "convert it with llama.cpp's convert_hf_to_gguf.py and upload the GGUF file"
_LAYERS_MAX, _WIDTH_MAX, _VOCABULARY_MAX, _CONTEXT_MAX = 1024, 1 << 17, 1 << 21, 1 << 24
_ROPE_KINDS = (None, "default", "linear", "llama3")
# What would change what the model computes, and is not there in the weights' llama graph; with the value that means no.
_REFUSED = {
    "quantization_config": "its weights are quantized (quantization_config)",
    "attention_bias": "its attention has biases (attention_bias)",
    "mlp_bias": "its feed-forward layers have biases (mlp_bias)",
    "num_local_experts": "it is a mixture of experts (num_local_experts)",
}


@dataclass(frozen=True, slots=True)
class Rope:
    """How positions are rotated. `linear`: positions are divided by it; `factors`: each frequency is, by its own."""

    base: float
    linear: float = 1.0
    factors: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Llama:
    """The dimensions of a llama; counts, and tokens for `context`. `tied`: its head is its token embedding."""

    layers: int
    embedding: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context: int
    epsilon: float
    tied: bool
    rope: Rope

    def metadata(self) -> dict[str, str | bool | int | float]:
        """As GGUF has them; what `rope.factors` says is a tensor there."""
        found: dict[str, str | bool | int | float] = {
            "llama.block_count": self.layers, "llama.context_length": self.context,
            "llama.embedding_length": self.embedding, "llama.feed_forward_length": self.feed_forward,
            "llama.attention.head_count": self.heads, "llama.attention.head_count_kv": self.kv_heads,
            "llama.attention.key_length": self.head_size, "llama.attention.value_length": self.head_size,
            "llama.attention.layer_norm_rms_epsilon": self.epsilon, "llama.rope.dimension_count": self.head_size,
            "llama.rope.freq_base": self.rope.base, "llama.vocab_size": self.vocabulary,
        }  # fmt: skip
        if self.rope.linear != 1:
            found |= {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": self.rope.linear}
        return found


def read(config: Any) -> Llama:
    """The facts of a parsed config.json. InvalidArgument where it is none, FailedPrecondition for a sound one that
    cannot be converted; both say why in a sentence."""
    if not isinstance(config, dict):
        raise _bad("it is not a JSON object")
    _check_kind(config)
    embedding = _count(config, "hidden_size", 4096, _WIDTH_MAX)
    heads = _count(config, "num_attention_heads", 32, _WIDTH_MAX)
    kv_heads = _count(config, "num_key_value_heads", heads, heads)
    head_size = _count(config, "head_dim", embedding // heads, _WIDTH_MAX)
    if heads % kv_heads or head_size % 2:
        raise _bad(f"{heads} heads, {kv_heads} of keys, each of {head_size}, do not go together")
    context = _count(config, "max_position_embeddings", 2048, _CONTEXT_MAX)
    _check_window(config, context)
    return Llama(
        layers=_count(config, "num_hidden_layers", 32, _LAYERS_MAX),
        embedding=embedding,
        feed_forward=_count(config, "intermediate_size", 11008, 8 * _WIDTH_MAX),
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        vocabulary=_count(config, "vocab_size", 32000, _VOCABULARY_MAX),
        context=context,
        epsilon=_number(config, "rms_norm_eps", 1e-6),
        tied=bool(config.get("tie_word_embeddings", False)),
        rope=_rope(config, head_size, context),
    )


def unfit(why: str, hint: str = OTHERWISE) -> FailedPrecondition:
    """The error for a sound model that cannot be converted."""
    return FailedPrecondition(f"this model cannot be converted: {why}", field="file", hint=hint)


def _check_kind(config: Mapping[str, Any]) -> None:
    named = config.get("architectures")
    architecture = named[0] if isinstance(named, list) and named else named
    if architecture not in ARCHITECTURES:
        raise unfit(f"its architecture is {str(architecture)[:60]!r} ({', '.join(ARCHITECTURES)} are converted here)")
    for key, why in _REFUSED.items():
        if config.get(key):
            raise unfit(why)
    if config.get("hidden_act", "silu") != "silu":
        raise unfit(f"its activation is {str(config['hidden_act'])[:40]!r}, and a llama's is silu")


def _check_window(config: Mapping[str, Any], context: int) -> None:
    window = config.get("sliding_window")
    if window is not None and not (type(window) is int and window >= context):
        raise unfit(f"its attention looks back {str(window)[:20]} tokens only (sliding_window)")


def _rope(config: Mapping[str, Any], head_size: int, context: int) -> Rope:
    """From `rope_parameters` as transformers 5 writes them, or `rope_theta` and `rope_scaling` as those before did."""
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(given, dict):
        raise _bad("its rope_scaling is not a JSON object")
    base = _number({**config, **given}, "rope_theta", 10_000.0)
    kind = given.get("rope_type", given.get("type"))
    if kind not in _ROPE_KINDS:
        raise unfit(f"its positions are scaled by {str(kind)[:40]!r} ('linear' and 'llama3' are converted here)")
    if kind == "linear":
        return Rope(base, linear=_number(given, "factor", 1.0))
    return Rope(base, factors=_llama3(given, base, head_size, context) if kind == "llama3" else ())


def _llama3(given: Mapping[str, Any], base: float, head_size: int, context: int) -> tuple[float, ...]:
    """What each frequency is divided by: long waves by `factor`, short ones by nothing, in between by a mean of both
    (https://github.com/meta-llama/llama-models, `apply_scaling`)."""
    factor, low, high = (_number(given, key, 1.0) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    before = _number(given, "original_max_position_embeddings", float(context))
    if high <= low:
        raise _bad("its rope_scaling has a high_freq_factor that is not above its low_freq_factor")

    def divisor(pair: int) -> float:
        wavelength = 2 * math.pi * math.pow(base, 2 * pair / head_size)
        smooth = min(1.0, max(0.0, (before / wavelength - low) / (high - low)))
        return 1 / ((1 - smooth) / factor + smooth)

    return tuple(divisor(pair) for pair in range(head_size // 2))


def _count(config: Mapping[str, Any], key: str, default: int, most: int) -> int:
    value = config.get(key)
    value = default if value is None else value
    if type(value) is not int or not 1 <= value <= most:
        raise _bad(f"its {key} is {str(value)[:40]} (1 to {most:,} are accepted)")
    return value


def _number(config: Mapping[str, Any], key: str, default: float) -> float:
    value = config.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
        raise _bad(f"its {key} is {str(value)[:40]}, which is no number above 0 that can be used")
    return float(value)


def _bad(why: str) -> FiredeckError:
    return InvalidArgument(f"{NAME} is not usable: {why}", field="file", hint="give it as transformers has saved it")
