"""`config.json` of a decoder: its dimensions, or the reason why it cannot be converted. Pure.

A config that leaves a field out means what transformers take then: what differs by architecture is in `architectures`,
the rest is LlamaConfig's. A wrong guess of a size cannot pass: the weights have another shape then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from client.errors import FailedPrecondition, FiredeckError, InvalidArgument
from engine.models.hugging_face.architectures import BY_CLASS, Architecture

NAME = "config.json"
OTHERWISE = "convert it with llama.cpp's convert_hf_to_gguf.py and upload the GGUF file"
_LAYERS_MAX, _WIDTH_MAX, _VOCABULARY_MAX, _CONTEXT_MAX = 1024, 1 << 17, 1 << 21, 1 << 24
# What would change what the model computes, and is not there in llama.cpp's graphs of these architectures.
_REFUSED = {
    "quantization_config": "its weights are quantized (quantization_config)",
    "attention_bias": "its attention has biases (attention_bias)",
    "mlp_bias": "its feed-forward layers have biases (mlp_bias)",
    "num_local_experts": "it is a mixture of experts (num_local_experts)",
    "use_bidirectional_attention": "its tokens see those after them (use_bidirectional_attention)",
}
_LOCAL = "sliding_attention"  # in `layer_types`


Metadata = dict[str, str | bool | int | float | list[int]]


@dataclass(frozen=True, slots=True)
class Rope:
    """How positions are rotated. `linear`: positions are divided by it; `factors`: each frequency is, by its own;
    `local_base`: the base of layers with a window, where it is another."""

    base: float
    linear: float = 1.0
    factors: tuple[float, ...] = ()
    local_base: float | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Layers that look back at `tokens` only, by layer."""

    tokens: int
    local: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Decoder:
    """The dimensions of a model; counts, and tokens for `context`. `tied`: its head is its token embedding; caps are
    what scores of attention and logits stay below."""

    architecture: Architecture
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
    window: Window | None = None
    attention_cap: float | None = None
    logit_cap: float | None = None

    def metadata(self) -> Metadata:
        """As GGUF has them; what `rope.factors` says is a tensor there."""
        found: Metadata = {
            "block_count": self.layers, "context_length": self.context, "embedding_length": self.embedding,
            "feed_forward_length": self.feed_forward, "attention.head_count": self.heads,
            "attention.head_count_kv": self.kv_heads, "attention.key_length": self.head_size,
            "attention.value_length": self.head_size, "attention.layer_norm_rms_epsilon": self.epsilon,
            "rope.dimension_count": self.head_size, "rope.freq_base": self.rope.base, "vocab_size": self.vocabulary,
        }  # fmt: skip
        if self.rope.linear != 1:
            found |= {"rope.scaling.type": "linear", "rope.scaling.factor": self.rope.linear}
        if self.window is not None:
            found["attention.sliding_window"] = self.window.tokens
            found["attention.sliding_window_pattern"] = [int(local) for local in self.window.local]
        given = {
            "rope.freq_base_swa": self.rope.local_base, "attn_logit_softcapping": self.attention_cap,
            "final_logit_softcapping": self.logit_cap,
        }  # fmt: skip
        found |= {key: value for key, value in given.items() if value is not None}
        return {f"{self.architecture.name}.{key}": value for key, value in found.items()}


def read(config: Any) -> Decoder:
    """The facts of a parsed config.json. InvalidArgument where it is none, FailedPrecondition for a sound one that
    cannot be converted; both say why in a sentence."""
    if not isinstance(config, dict):
        raise _bad("it is not a JSON object")
    kind = _architecture(config)
    embedding = _count(config, "hidden_size", 4096, _WIDTH_MAX)
    heads = _count(config, "num_attention_heads", 32, _WIDTH_MAX)
    kv_heads = _count(config, "num_key_value_heads", heads, heads)
    head_size = _count(config, "head_dim", kind.head_size or embedding // heads, _WIDTH_MAX)
    if heads % kv_heads or head_size % 2:
        raise _bad(f"{heads} heads, {kv_heads} of keys, each of {head_size}, do not go together")
    if kind.square and heads * head_size != embedding:
        raise unfit(
            f"{heads} heads of {head_size} are not its width of {embedding}, which llama.cpp asks of {kind.name}"
        )
    layers = _count(config, "num_hidden_layers", 32, _LAYERS_MAX)
    context = _count(config, "max_position_embeddings", kind.context, _CONTEXT_MAX)
    attention_cap, logit_cap = _caps(config, kind)
    _check_scale(config, kind, layers, embedding // heads, head_size)
    return Decoder(
        architecture=kind,
        layers=layers,
        embedding=embedding,
        feed_forward=_count(config, "intermediate_size", 11008, 8 * _WIDTH_MAX),
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        vocabulary=_count(config, "vocab_size", 32000, _VOCABULARY_MAX),
        context=context,
        epsilon=_number(config, "rms_norm_eps", 1e-6),
        tied=_tied(config, kind),
        rope=_rope(config, kind, head_size, context),
        window=_window(config, kind, layers, context),
        attention_cap=attention_cap,
        logit_cap=logit_cap,
    )


def unfit(why: str, hint: str = OTHERWISE) -> FailedPrecondition:
    """The error for a sound model that cannot be converted."""
    return FailedPrecondition(f"this model cannot be converted: {why}", field="file", hint=hint)


def _architecture(config: Mapping[str, Any]) -> Architecture:
    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named else named
    found = BY_CLASS.get(name) if isinstance(name, str) else None
    if found is None:
        raise unfit(f"its architecture is {str(name)[:60]!r} ({', '.join(BY_CLASS)} are converted here)")
    for key, why in _REFUSED.items():
        if config.get(key):
            raise unfit(why)
    activation = config.get(found.activation_key) or found.activation
    if activation != found.activation:
        raise unfit(f"its activation is {str(activation)[:40]!r}, and a {found.name}'s is {found.activation}")
    return found


def _tied(config: Mapping[str, Any], kind: Architecture) -> bool:
    tied = bool(config.get("tie_word_embeddings", kind.tied))
    if kind.always_tied and not tied:
        raise unfit(f"its head is not its token embedding, and a {kind.name}'s is (tie_word_embeddings)")
    return tied


def _caps(config: Mapping[str, Any], kind: Architecture) -> tuple[float | None, float | None]:
    """What the scores of attention and the logits are kept below: Gemma's alone are. null means by nothing."""
    if kind.window is None:
        return None, None
    attention, logits = (
        None if config.get(key, default) is None else _number(config, key, 1.0 if default is None else default)
        for key, default in (
            ("attn_logit_softcapping", kind.attention_cap), ("final_logit_softcapping", kind.logit_cap)
        )
    )  # fmt: skip
    if (attention is None) != (kind.attention_cap is None):
        raise unfit(f"its attn_logit_softcapping is {attention}, which llama.cpp does not compute in a {kind.name}")
    if logits is None and kind.logit_cap is not None:
        raise unfit(f"it has no final_logit_softcapping, and llama.cpp computes a {kind.name} with one")
    return attention, logits


def _check_scale(
    config: Mapping[str, Any], kind: Architecture, layers: int, width_of_head: int, head_size: int
) -> None:
    """Whether attention is scaled as llama.cpp scales it, which does not ask the file."""
    if kind.uneven_scale_layers is None:
        return
    scale = width_of_head if layers == kind.uneven_scale_layers else head_size
    given = _number(config, "query_pre_attn_scalar", 256.0)
    if given != scale:
        raise unfit(f"its attention is scaled by {given:g} (query_pre_attn_scalar), and llama.cpp scales it by {scale}")


def _window(config: Mapping[str, Any], kind: Architecture, layers: int, context: int) -> Window | None:
    counts = kind.window_switch is None or config.get(kind.window_switch)
    if kind.window is None:
        tokens = config.get("sliding_window") if counts else None
        if tokens is not None and not (type(tokens) is int and tokens >= context):
            raise unfit(f"its attention looks back {str(tokens)[:20]} tokens only (sliding_window)")
        return None
    local = tuple(one == _LOCAL for one in _layer_types(config, kind, layers))
    return Window(_count(config, "sliding_window", kind.window, _CONTEXT_MAX), local)


def _layer_types(config: Mapping[str, Any], kind: Architecture, layers: int) -> list[str]:
    """Of each layer, as newer configs list them, or by the rule of older ones."""
    full = "full_attention"
    given = config.get("layer_types")
    if given is None:
        every = _count(config, "sliding_window_pattern", kind.full_every, _LAYERS_MAX)
        return [_LOCAL if (layer + 1) % every else full for layer in range(layers)]
    if not isinstance(given, list) or len(given) != layers or not all(one in (_LOCAL, full) for one in given):
        raise _bad(f"its layer_types do not say {full} or {_LOCAL} of each of {layers} layers")
    return given


def _rope(config: Mapping[str, Any], kind: Architecture, head_size: int, context: int) -> Rope:
    """From `rope_parameters` as transformers 5 writes them, or `rope_theta` and `rope_scaling` as those before did."""
    given: Any = config.get("rope_parameters") or config.get("rope_scaling") or {}
    local: Any = {}
    if isinstance(given, dict) and "full_attention" in given:  # by type of layer
        given, local = given["full_attention"], given.get(_LOCAL) or {}
    if not isinstance(given, dict) or not isinstance(local, dict):
        raise _bad("its rope_scaling is not a JSON object")
    base, scaled = _number({**config, **given}, "rope_theta", kind.rope_base), _scaling(given)
    if scaled not in (None, "default", *kind.rope_kinds):
        known = ", ".join(map(repr, kind.rope_kinds))
        raise unfit(f"its positions are scaled by {str(scaled)[:40]!r} (of a {kind.name} {known} is converted here)")
    return Rope(
        base,
        linear=_number(given, "factor", 1.0) if scaled == "linear" else 1.0,
        factors=_llama3(given, base, head_size, context) if scaled == "llama3" else (),
        local_base=_local_base(config, kind, given, local),
    )


def _local_base(
    config: Mapping[str, Any], kind: Architecture, given: Mapping[str, Any], local: Mapping[str, Any]
) -> float | None:
    """The base of layers with a window, where llama.cpp takes another for them than for the others."""
    if kind.local_rope_base is None:
        if local and local != given:
            raise unfit(f"layers with a window are rotated otherwise than others, and not so in a {kind.name}")
        return None
    if _scaling(local) not in (None, "default"):
        raise unfit("the positions of its layers with a window are scaled (rope_parameters)")
    older = {"rope_theta": config.get("rope_local_base_freq")}
    return _number(local or older, "rope_theta", kind.local_rope_base)


def _scaling(rope: Mapping[str, Any]) -> Any:
    return rope.get("rope_type", rope.get("type"))


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
