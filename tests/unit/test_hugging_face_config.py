"""config.json of a decoder: read as transformers mean them, or refused with the reason."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import FailedPrecondition, FiredeckError, InvalidArgument
from engine.models.hugging_face import config, convert
from engine.models.hugging_face.rope import Rope
from tests.arbitrary import JSON
from tests.hugging_face_files import TINY

WHOLE: dict[str, Any] = {"architectures": ["LlamaForCausalLM"], **TINY}
QWEN2 = {**WHOLE, "architectures": ["Qwen2ForCausalLM"]}
QWEN3 = {**WHOLE, "architectures": ["Qwen3ForCausalLM"]}
MIXTRAL = {**WHOLE, "architectures": ["MixtralForCausalLM"], "num_local_experts": 4}
QWEN3_MOE = {
    **WHOLE, "architectures": ["Qwen3MoeForCausalLM"], "num_experts": 8, "norm_topk_prob": True,
    "moe_intermediate_size": 48,
}  # fmt: skip
PHI3 = {**WHOLE, "architectures": ["Phi3ForCausalLM"]}
LONGROPE = {"type": "longrope", "short_factor": [1.0, 1.5] * 4, "long_factor": [4.0, 8.0] * 4}
GEMMA2 = {**TINY, "architectures": ["Gemma2ForCausalLM"], "tie_word_embeddings": True}
GEMMA3 = {**GEMMA2, "architectures": ["Gemma3ForCausalLM"], "num_hidden_layers": 7}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip


def test_what_a_config_leaves_out_is_what_transformers_take() -> None:
    found = config.read({"architectures": ["LlamaForCausalLM"]})
    assert (found.embedding, found.layers, found.heads, found.kv_heads, found.head_size) == (4096, 32, 32, 32, 128)
    assert (found.vocabulary, found.context, found.epsilon, found.rope.base) == (32000, 2048, 1e-6, 10_000.0)
    assert not found.tied
    assert config.read({**WHOLE, "head_dim": 32}).metadata()["llama.attention.key_length"] == 32


def test_what_each_architecture_takes_where_its_config_is_silent() -> None:
    assert [config.read(one).head_size for one in (QWEN2, QWEN3, GEMMA2, GEMMA3)] == [16, 128, 256, 256]
    two, three = config.read(GEMMA2), config.read(GEMMA3)
    assert (two.window, two.attention_cap, two.logit_cap) == (config.Window(4096, (True, False)), 50.0, 30.0)
    assert (three.attention_cap, three.logit_cap, three.rope.base, three.rope.local_base) == (None, None, 1e6, 1e4)
    assert config.read({name: value for name, value in GEMMA3.items() if name != "tie_word_embeddings"}).tied
    told = three.metadata()
    assert told["gemma3.attention.sliding_window_pattern"] == [1, 1, 1, 1, 1, 0, 1]
    assert (told["gemma3.rope.freq_base_swa"], told["gemma3.attention.sliding_window"]) == (1e4, 4096)
    assert "gemma3.final_logit_softcapping" not in told
    assert not [name for name in config.read(QWEN3).metadata() if "sliding" in name or "capping" in name]


def test_newer_configs_say_of_each_type_of_layer_how_it_is_rotated() -> None:
    old = {
        **GEMMA3,
        "rope_theta": 2e6,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "rope_local_base_freq": 5e4,
    }
    full = {"rope_type": "linear", "factor": 8.0, "rope_theta": 2e6}
    both = {"full_attention": full, "sliding_attention": {"rope_type": "default", "rope_theta": 5e4}}
    assert config.read({**GEMMA3, "rope_parameters": both}) == config.read(old)
    both["sliding_attention"] = full
    with pytest.raises(FailedPrecondition, match="layers with a window are scaled"):
        config.read({**GEMMA3, "rope_parameters": both})
    assert config.read({**GEMMA2, "rope_parameters": both}).rope == Rope(2e6, linear=8.0)
    both["sliding_attention"] = {"rope_type": "default", "rope_theta": 5e4}
    with pytest.raises(FailedPrecondition, match="rotated otherwise than others"):
        config.read({**GEMMA2, "rope_parameters": both})


def test_layers_with_a_window_are_as_listed_or_by_the_rule() -> None:
    every = config.read({**GEMMA3, "sliding_window_pattern": 3}).window
    types = ["sliding_attention", "sliding_attention", "full_attention"] * 2 + ["sliding_attention"]
    assert config.read({**GEMMA3, "layer_types": types}).window == every
    with pytest.raises(InvalidArgument, match="of each of 7 layers"):
        config.read({**GEMMA3, "layer_types": types[:-1]})


def test_a_window_of_qwens_counts_where_it_is_switched_on() -> None:
    assert config.read({**QWEN2, "use_sliding_window": False, "sliding_window": 16}).window is None
    with pytest.raises(FailedPrecondition, match="looks back 16 tokens"):
        config.read({**QWEN2, "use_sliding_window": True, "sliding_window": 16})


@pytest.mark.parametrize(
    ("whole", "changes", "said"),
    [
        (QWEN3_MOE, {"norm_topk_prob": False}, "norm_topk_prob is False"),
        (QWEN3_MOE, {"norm_topk_prob": None}, "norm_topk_prob is None"),
        (QWEN3_MOE, {"mlp_only_layers": [0]}, "no experts"),
        (QWEN3_MOE, {"decoder_sparse_step": 2}, "no experts"),
        (QWEN3_MOE, {"sliding_window": 16, "use_sliding_window": True}, "looks back 16"),
        (QWEN3, {"num_experts": 8}, "mixture of experts"),
        (MIXTRAL, {"sliding_window": 16}, "looks back 16"),
        (PHI3, {"partial_rotary_factor": 0.75}, "a part of each head"),
        (PHI3, {"rope_scaling": {"type": "linear", "factor": 2.0}}, "'linear' .of a phi3 'longrope'"),
        (QWEN2, {"head_dim": 32}, "4 heads of 32 are not its width of 64"),
        (QWEN2, {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "'yarn' .of a qwen2 'linear' is"),
        (QWEN3, {"rope_scaling": LLAMA3}, "'llama3'"),
        (GEMMA2, {"tie_word_embeddings": False}, "its head is not its token embedding"),
        (GEMMA2, {"attn_logit_softcapping": None}, "attn_logit_softcapping is None"),
        (GEMMA2, {"final_logit_softcapping": None}, "no final_logit_softcapping"),
        (GEMMA2, {"query_pre_attn_scalar": 144}, "scaled by 144 .* by 256"),
        (GEMMA3, {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50"),
        (GEMMA3, {"use_bidirectional_attention": True}, "see those after them"),
        (GEMMA3, {"hidden_activation": "gelu"}, "activation is 'gelu', and a gemma3's is gelu_pytorch_tanh"),
        (GEMMA3, {"num_hidden_layers": 62}, "by 256 .* by 16"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(
    whole: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(FailedPrecondition, match=said):
        config.read(whole | changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "its architecture is 'GPT2LMHeadModel'"),
        ({"architectures": None}, "its architecture is 'None'"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"attention_bias": True}, "biases"),
        ({"num_local_experts": 8}, "mixture of experts"),
        ({"hidden_act": "gelu"}, "'gelu'"),
        ({"sliding_window": 128}, "looks back 128 tokens"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4}}, "'yarn'"),
    ],
)
def test_what_cannot_be_converted_is_refused_with_the_reason(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(FailedPrecondition, match=said) as refused:
        config.read(WHOLE | changes)
    assert (refused.value.field, bool(refused.value.hint)) == ("file", True)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 0}, {"hidden_size": True}, {"num_hidden_layers": 1 << 40}, {"num_key_value_heads": 3},
        {"rms_norm_eps": -1}, {"rope_theta": "x"}, {"vocab_size": 1.5}, {"rope_scaling": [1]}, {"head_dim": 7},
        {"rope_scaling": {**LLAMA3, "high_freq_factor": 1.0}},
    ],
)  # fmt: skip
def test_what_is_no_config_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"config\.json is not usable"):
        config.read(WHOLE | changes)


def test_a_mixture_has_experts_as_wide_as_its_config_says_of_them() -> None:
    found = config.read(MIXTRAL)
    assert (found.experts, found.experts_used, found.epsilon, found.rope.base) == (4, 2, 1e-5, 1e6)
    told = found.metadata()
    assert (told["llama.expert_count"], told["llama.expert_used_count"]) == (4, 2)
    told = config.read({**QWEN3_MOE, "num_experts_per_tok": 3}).metadata()
    assert (told["qwen3moe.expert_count"], told["qwen3moe.expert_used_count"]) == (8, 3)
    assert told["qwen3moe.expert_feed_forward_length"] == 48
    assert not [name for name in config.read(WHOLE).metadata() if "expert" in name]
    with pytest.raises(InvalidArgument, match=r"num_experts_per_tok is 9 \(1 to 8"):
        config.read({**QWEN3_MOE, "num_experts_per_tok": 9})


def test_a_phi3_serves_as_many_tokens_as_llama_cpp_computes_as_it_does() -> None:
    assert config.read(PHI3).context == 256
    assert config.read({**PHI3, "sliding_window": 100}).context == 100
    long = config.read({**PHI3, "rope_scaling": LONGROPE, "original_max_position_embeddings": 64})
    assert (long.context, long.rope.factors) == (64, (1.0, 1.5) * 4)
    assert math.isclose(long.rope.gain, math.sqrt(1 + math.log(4) / math.log(64)))
    assert long.metadata()["phi3.rope.scaling.attn_factor"] == long.rope.gain
    assert config.read({**PHI3, "rope_scaling": {**LONGROPE, "attention_factor": 1.5}}).rope.gain == 1.5
    for wrong in ([1.0] * 7, [0.0] * 8, "x", None, [True] * 8):
        with pytest.raises(InvalidArgument, match="no list of 8 numbers"):
            config.read({**PHI3, "rope_scaling": {**LONGROPE, "short_factor": wrong}})


def test_a_window_as_long_as_the_context_and_none_at_all_are_the_same() -> None:
    assert config.read({**WHOLE, "sliding_window": None}) == config.read({**WHOLE, "sliding_window": 256})


def test_scaled_positions_are_those_of_llama_3() -> None:
    """The published way to scale a frequency, frequency by frequency."""
    found = config.read({**WHOLE, "hidden_size": 512, "rope_theta": 500_000.0, "rope_scaling": LLAMA3})
    assert len(found.rope.factors) == found.head_size // 2 == 64
    for pair, factor in enumerate(found.rope.factors):
        frequency = 500_000.0 ** (-2 * pair / 128)
        wavelength = 2 * math.pi / frequency
        if wavelength < 8192 / 4:
            scaled = frequency
        elif wavelength > 8192:
            scaled = frequency / 8
        else:
            smooth = (8192 / wavelength - 1) / (4 - 1)
            scaled = (1 - smooth) * frequency / 8 + smooth * frequency
        assert math.isclose(frequency / factor, scaled, rel_tol=1e-9)
    new_style = {**WHOLE, "hidden_size": 512, "rope_parameters": {**LLAMA3, "rope_theta": 500_000.0}}
    assert config.read(new_style) == found


def test_linear_scaling_is_metadata() -> None:
    found = config.read({**WHOLE, "rope_scaling": {"type": "linear", "factor": 2.0}})
    assert found.metadata()["llama.rope.scaling.factor"] == 2.0
    assert "llama.rope.scaling.type" not in config.read(WHOLE).metadata()


KEYS = (
    *WHOLE, "rope_scaling", "head_dim", "sliding_window", "rope_theta", "rope_parameters", "layer_types",
    "sliding_window_pattern", "attn_logit_softcapping", "query_pre_attn_scalar", "rope_local_base_freq", "num_experts",
    "num_experts_per_tok", "original_max_position_embeddings", "partial_rotary_factor",
)  # fmt: skip


@given(st.sampled_from([WHOLE, QWEN2, QWEN3_MOE, PHI3, GEMMA2, GEMMA3]), st.sampled_from(sorted(KEYS)), JSON)
def test_any_config_is_read_or_refused_with_a_sentence(whole: dict[str, Any], key: str, value: Any) -> None:
    with contextlib.suppress(FiredeckError):
        convert.check_config(json.dumps({**whole, key: value}))
