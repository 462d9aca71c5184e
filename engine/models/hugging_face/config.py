"""`config.json` of a decoder: its dimensions, or the reason why it cannot be converted. Pure.

A config that leaves a field out means what transformers take then: what differs by architecture is in `architectures`,
the rest is LlamaConfig's. A wrong guess of a size cannot pass: the weights have another shape then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.models.hugging_face import rope
from engine.models.hugging_face.architectures import BY_CLASS, Architecture
from engine.models.hugging_face.fields import CONTEXT_MAX, ORIGINAL, bad, count, number, unfit
from engine.models.hugging_face.rope import LOCAL, Rope

_LAYERS_MAX, _WIDTH_MAX, _VOCABULARY_MAX, _EXPERTS_MAX = 1024, 1 << 17, 1 << 21, 512
# What would change what the model computes, and is not there in llama.cpp's graphs of these architectures.
_REFUSED = {
    "quantization_config": "its weights are quantized (quantization_config)",
    "attention_bias": "its attention has biases (attention_bias)",
    "mlp_bias": "its feed-forward layers have biases (mlp_bias)",
    "num_local_experts": "it is a mixture of experts (num_local_experts)",
    "num_experts": "it is a mixture of experts (num_experts)",
    "use_bidirectional_attention": "its tokens see those after them (use_bidirectional_attention)",
}


Metadata = dict[str, str | bool | int | float | list[int]]


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
    experts: int = 0  # each as wide as `feed_forward`
    experts_used: int = 0

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
        if self.experts and self.architecture.experts:
            found |= {"expert_count": self.experts, "expert_used_count": self.experts_used}
            if self.architecture.experts.metadata_width:
                found["expert_feed_forward_length"] = self.feed_forward
        given = {
            "rope.scaling.attn_factor": self.rope.gain if self.rope.gain != 1 else None,
            "rope.freq_base_swa": self.rope.local_base, "attn_logit_softcapping": self.attention_cap,
            "final_logit_softcapping": self.logit_cap,
        }  # fmt: skip
        found |= {key: value for key, value in given.items() if value is not None}
        return {f"{self.architecture.name}.{key}": value for key, value in found.items()}


def read(config: Any) -> Decoder:
    """The facts of a parsed config.json. InvalidArgument where it is none, FailedPrecondition for a sound one that
    cannot be converted; both say why in a sentence."""
    if not isinstance(config, dict):
        raise bad("it is not a JSON object")
    kind = _architecture(config)
    embedding = count(config, "hidden_size", 4096, _WIDTH_MAX)
    heads = count(config, "num_attention_heads", 32, _WIDTH_MAX)
    kv_heads = count(config, "num_key_value_heads", heads, heads)
    head_size = count(config, "head_dim", kind.head_size or embedding // heads, _WIDTH_MAX)
    if heads % kv_heads or head_size % 2:
        raise bad(f"{heads} heads, {kv_heads} of keys, each of {head_size}, do not go together")
    if kind.square and heads * head_size != embedding:
        raise unfit(
            f"{heads} heads of {head_size} are not its width of {embedding}, which llama.cpp asks of {kind.name}"
        )
    layers = count(config, "num_hidden_layers", 32, _LAYERS_MAX)
    trained = count(config, "max_position_embeddings", kind.context, CONTEXT_MAX)
    context = _context(config, kind, trained)
    experts, used = _experts(config, kind)
    attention_cap, logit_cap = _caps(config, kind)
    _check_scale(config, kind, layers, embedding // heads, head_size)
    return Decoder(
        architecture=kind,
        layers=layers,
        embedding=embedding,
        feed_forward=count(
            config, kind.experts.width_key if kind.experts else "intermediate_size", 11008, 8 * _WIDTH_MAX
        ),
        heads=heads,
        kv_heads=kv_heads,
        head_size=head_size,
        vocabulary=count(config, "vocab_size", 32000, _VOCABULARY_MAX),
        context=context,
        epsilon=number(config, "rms_norm_eps", kind.epsilon),
        tied=_tied(config, kind),
        rope=rope.read(config, kind, head_size, trained),
        window=_window(config, kind, layers, context),
        attention_cap=attention_cap,
        logit_cap=logit_cap,
        experts=experts,
        experts_used=used,
    )


def _architecture(config: Mapping[str, Any]) -> Architecture:
    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named else named
    found = BY_CLASS.get(name) if isinstance(name, str) else None
    if found is None:
        raise unfit(f"its architecture is {str(name)[:60]!r} ({', '.join(BY_CLASS)} are converted here)")
    for key, why in _REFUSED.items():
        if config.get(key) and not (found.experts and found.experts.count_key == key):
            raise unfit(why)
    activation = config.get(found.activation_key) or found.activation
    if activation != found.activation:
        raise unfit(f"its activation is {str(activation)[:40]!r}, and a {found.name}'s is {found.activation}")
    return found


def _experts(config: Mapping[str, Any], kind: Architecture) -> tuple[int, int]:
    """How many there are in a layer, and how many of them a token goes through; llama.cpp makes their shares sum up to
    1, and has experts in every layer."""
    if kind.experts is None:
        return 0, 0
    key = kind.experts.normalizes_key
    if key is not None and config.get(key) is not True:
        raise unfit(f"its {key} is {str(config.get(key))[:20]}, and llama.cpp computes a {kind.name} with true")
    if config.get("decoder_sparse_step", 1) != 1 or config.get("mlp_only_layers"):
        raise unfit("some of its layers have no experts (decoder_sparse_step, mlp_only_layers)")
    there = count(config, kind.experts.count_key, 8, _EXPERTS_MAX)
    return there, count(config, "num_experts_per_tok", kind.experts.used_default, there)


def _context(config: Mapping[str, Any], kind: Architecture, trained: int) -> int:
    """The tokens that it serves: fewer than it was trained with where llama.cpp computes those beyond otherwise. It
    knows no window of such a layer, and takes the frequencies of long texts for short ones too, where there is room
    for long ones."""
    if not kind.window_is_context:
        return trained
    limits = [trained]
    if config.get("sliding_window") is not None:
        limits.append(count(config, "sliding_window", trained, CONTEXT_MAX))
    if isinstance(config.get("rope_scaling") or config.get("rope_parameters"), dict):
        limits.append(count(config, ORIGINAL, trained, CONTEXT_MAX))
    return min(limits)


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
        None if config.get(key, default) is None else number(config, key, 1.0 if default is None else default)
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
    given = number(config, "query_pre_attn_scalar", 256.0)
    if given != scale:
        raise unfit(f"its attention is scaled by {given:g} (query_pre_attn_scalar), and llama.cpp scales it by {scale}")


def _window(config: Mapping[str, Any], kind: Architecture, layers: int, context: int) -> Window | None:
    counts = kind.window_switch is None or config.get(kind.window_switch)
    if kind.window_is_context:
        return None
    if kind.window is None:
        tokens = config.get("sliding_window") if counts else None
        if tokens is not None and not (type(tokens) is int and tokens >= context):
            raise unfit(f"its attention looks back {str(tokens)[:20]} tokens only (sliding_window)")
        return None
    local = tuple(one == LOCAL for one in _layer_types(config, kind, layers))
    return Window(count(config, "sliding_window", kind.window, CONTEXT_MAX), local)


def _layer_types(config: Mapping[str, Any], kind: Architecture, layers: int) -> list[str]:
    """Of each layer, as newer configs list them, or by the rule of older ones."""
    full = "full_attention"
    given = config.get("layer_types")
    if given is None:
        every = count(config, "sliding_window_pattern", kind.full_every, _LAYERS_MAX)
        return [LOCAL if (layer + 1) % every else full for layer in range(layers)]
    if not isinstance(given, list) or len(given) != layers or not all(one in (LOCAL, full) for one in given):
        raise bad(f"its layer_types do not say {full} or {LOCAL} of each of {layers} layers")
    return given
