"""The architectures that are converted: what of each differs, as data.

Sources: transformers' configurations of these models, for what a config leaves out; llama.cpp's graphs of them, for
what each computes; GGUF's names of tensors (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

_ATTENTION = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
}  # fmt: skip
_FEED_FORWARD = {"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
_TWO_NORMS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
_FOUR_NORMS = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
}  # fmt: skip
_HEAD_NORMS = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}


@dataclass(frozen=True, slots=True)
class Architecture:
    """One architecture; `name` is GGUF's. What is None or empty it does not have."""

    name: str
    weights: Mapping[str, str]  # of a layer: Hugging Face's names, then GGUF's
    biases: tuple[str, ...] = ()  # of those the ones with a bias beside the weight
    context: int = 2048  # here and below: what a config means that leaves it out
    head_size: int | None = None  # None: the width over the number of heads
    tied: bool = False
    rope_base: float = 10_000.0
    rope_kinds: tuple[str, ...] = ("linear",)  # scaled positions that llama.cpp computes in this one
    activation: str = "silu"
    activation_key: str = "hidden_act"
    interleaved: bool = False  # GGUF's rows of queries and keys, see `peft.interleaved`
    norm_offset: float = 0.0  # what GGUF's norms are larger by
    square: bool = False  # llama.cpp takes heads times their size for the width
    always_tied: bool = False  # llama.cpp knows no head of its own
    window: int | None = None  # tokens that a layer looks back; None: every layer sees everything
    window_switch: str | None = None  # the field that says whether a window counts
    full_every: int = 1  # every layer of such a number sees everything, the others through the window
    local_rope_base: float | None = None  # of layers with a window, where it is another
    attention_cap: float | None = None
    logit_cap: float | None = None
    uneven_scale_layers: int | None = None  # with so many layers scores are scaled by width over heads, not head size
    epsilon: float = 1e-6
    window_is_context: bool = False  # llama.cpp computes it without its window: it gets no longer text than that
    fused_feed_forward: bool = False  # gate and up are one weight
    experts: Experts | None = None


@dataclass(frozen=True, slots=True)
class Experts:
    """Of a mixture of experts, whose feed-forward parts take the place of a layer's own: `weights` as of an
    architecture, below the name and number of an expert; the rest are names in a config."""

    path: str
    weights: Mapping[str, str]
    router: str
    count_key: str
    used_default: int
    width_key: str = "intermediate_size"
    normalizes_key: str | None = None  # whether the shares of those that are used sum up to 1; None: they do
    metadata_width: bool = False  # GGUF says how wide an expert is in a key of its own


LLAMA = Architecture(
    "llama", _TWO_NORMS | _ATTENTION | _FEED_FORWARD, rope_kinds=("linear", "llama3"), interleaved=True
)
QWEN2 = Architecture(
    "qwen2", LLAMA.weights, biases=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), context=32_768,
    window_switch="use_sliding_window", square=True,
)  # fmt: skip
QWEN3 = replace(QWEN2, name="qwen3", weights={**LLAMA.weights, **_HEAD_NORMS}, biases=(), head_size=128, square=False)
MIXTRAL = replace(
    LLAMA, weights={**_TWO_NORMS, **_ATTENTION}, context=131_072, rope_base=1_000_000.0, epsilon=1e-5,
    experts=Experts(
        "block_sparse_moe.experts", {"w1": "ffn_gate_exps", "w3": "ffn_up_exps", "w2": "ffn_down_exps"},
        router="block_sparse_moe.gate", count_key="num_local_experts", used_default=2,
    ),
)  # fmt: skip
QWEN3_MOE = replace(
    QWEN3, name="qwen3moe", weights={**_TWO_NORMS, **_ATTENTION, **_HEAD_NORMS}, head_size=None,
    experts=Experts(
        "mlp.experts", {"gate_proj": "ffn_gate_exps", "up_proj": "ffn_up_exps", "down_proj": "ffn_down_exps"},
        router="mlp.gate", count_key="num_experts", used_default=8, width_key="moe_intermediate_size",
        normalizes_key="norm_topk_prob", metadata_width=True,
    ),
)  # fmt: skip
PHI3 = Architecture(
    "phi3",
    {
        **_TWO_NORMS, "self_attn.qkv_proj": "attn_qkv", "self_attn.o_proj": "attn_output",
        "mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    },
    context=4096, rope_kinds=("longrope", "su"), square=True, epsilon=1e-5, window_is_context=True,
    fused_feed_forward=True,
)  # fmt: skip
GEMMA2 = Architecture(
    "gemma2", _FOUR_NORMS | _ATTENTION | _FEED_FORWARD, context=8192, head_size=256, tied=True, always_tied=True,
    activation="gelu_pytorch_tanh", activation_key="hidden_activation", norm_offset=1.0, window=4096, full_every=2,
    attention_cap=50.0, logit_cap=30.0, uneven_scale_layers=46,
)  # fmt: skip
GEMMA3 = replace(
    GEMMA2, name="gemma3", weights={**GEMMA2.weights, **_HEAD_NORMS}, context=131_072, always_tied=False,
    rope_base=1_000_000.0, local_rope_base=10_000.0, full_every=6, attention_cap=None, logit_cap=None,
    uneven_scale_layers=62,
)  # fmt: skip

BY_CLASS = {
    "LlamaForCausalLM": LLAMA, "MistralForCausalLM": LLAMA, "MixtralForCausalLM": MIXTRAL, "Qwen2ForCausalLM": QWEN2,
    "Qwen3ForCausalLM": QWEN3, "Qwen3MoeForCausalLM": QWEN3_MOE, "Gemma2ForCausalLM": GEMMA2,
    "Gemma3ForCausalLM": GEMMA3, "Phi3ForCausalLM": PHI3,
}  # fmt: skip
