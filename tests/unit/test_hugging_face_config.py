"""config.json and tokenizer.json of the llama family: read as transformers mean them, or refused with the reason."""

from __future__ import annotations

import contextlib
import copy
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import FailedPrecondition, FiredeckError, InvalidArgument
from engine.models.hugging_face import config, convert, vocabulary
from tests.hugging_face_files import SMOLLM, TINY, tiny_tokenizer

WHOLE: dict[str, Any] = {"architectures": ["LlamaForCausalLM"], **TINY}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip
SPIECE: dict[str, Any] = {
    "added_tokens": [{"id": 0, "content": "<unk>", "special": True}, {"id": 1, "content": "<s>", "special": True}],
    "normalizer": {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "\u2581"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        ],
    },
    "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}]},
    "model": {
        "type": "BPE", "byte_fallback": True, "unk_token": "<unk>", "merges": ["\u2581 t", "\u2581t o"],
        "vocab": {"<unk>": 0, "<s>": 1, "<0x0A>": 2, "\u2581": 3, "t": 4, "o": 5, "\u2581t": 6, "\u2581to": 7},
    },
}  # fmt: skip


def words(tokenizer: Any, size: int = 264, **settings: Any) -> vocabulary.Metadata:
    return vocabulary.read(tokenizer, settings, WHOLE, size)


def changed(tokenizer: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one thing changed: `model.type`."""
    copied = copy.deepcopy(tokenizer)
    *outer, last = path.split(".")
    place = copied
    for name in outer:
        place = place[name]
    place[last] = value
    return copied


def test_what_a_config_leaves_out_is_what_transformers_take() -> None:
    found = config.read({"architectures": ["LlamaForCausalLM"]})
    assert (found.embedding, found.layers, found.heads, found.kv_heads, found.head_size) == (4096, 32, 32, 32, 128)
    assert (found.vocabulary, found.context, found.epsilon, found.rope.base) == (32000, 2048, 1e-6, 10_000.0)
    assert not found.tied
    assert config.read({**WHOLE, "head_dim": 32}).metadata()["llama.attention.key_length"] == 32


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


def test_a_byte_level_vocabulary_is_carried_over_and_padded() -> None:
    found = words(tiny_tokenizer(), bos_token="<|begin|>", eos_token={"content": "<|end|>"}, add_bos_token=True)
    texts, types = found["tokenizer.ggml.tokens"], found["tokenizer.ggml.token_type"]
    assert isinstance(texts, list)
    assert isinstance(types, list)
    assert (found["tokenizer.ggml.model"], found["tokenizer.ggml.pre"]) == ("gpt2", "smollm")
    assert (texts[256:], types[256:]) == (
        ["th", "he", "the", "in", "<|begin|>", "<|end|>", "[PAD262]", "[PAD263]"], [1, 1, 1, 1, 3, 3, 5, 5]
    )  # fmt: skip
    assert found["tokenizer.ggml.merges"] == ["t h", "h e", "th e", "i n"]
    assert (found["tokenizer.ggml.bos_token_id"], found["tokenizer.ggml.eos_token_id"]) == (260, 261)
    assert found["tokenizer.ggml.add_bos_token"] is True


def test_ids_that_only_config_json_has_count_and_the_first_of_several_ends() -> None:
    found = vocabulary.read(tiny_tokenizer(), None, {"bos_token_id": 260, "eos_token_id": [261, 3]}, 264)
    assert (found["tokenizer.ggml.bos_token_id"], found["tokenizer.ggml.eos_token_id"]) == (260, 261)
    assert found["tokenizer.ggml.add_bos_token"] is False


def test_sentencepiece_has_scores_by_the_order_of_merges() -> None:
    found = words(SPIECE, 9, bos_token="<s>")
    assert found["tokenizer.ggml.model"] == "llama"
    assert found["tokenizer.ggml.scores"] == [-2.0, -2.0, -2.0, -2.0, -2.0, -2.0, 0.0, -1.0, -2.0]
    assert found["tokenizer.ggml.token_type"] == [2, 3, 6, 1, 1, 1, 1, 1, 5]
    assert (found["tokenizer.ggml.add_space_prefix"], found["tokenizer.ggml.add_bos_token"]) == (True, True)
    without = changed(SPIECE, "normalizer", SPIECE["normalizer"]["normalizers"][1])
    assert words(without, 9)["tokenizer.ggml.add_space_prefix"] is False


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("model.type", "Unigram", "only 'BPE' is converted"),
        ("normalizer", {"type": "NFC"}, "changes text before"),
        ("pre_tokenizer", {"type": "ByteLevel", "add_prefix_space": True}, "cuts text into words is not known"),
        ("pre_tokenizer", None, "neither works on bytes"),
        ("model.vocab", {"a": 999}, "has the id 999"),
        ("model.vocab", {"a": 1, "b": 1}, "two tokens have the id 1"),
        ("model.merges", ["a b c"], "is no pair"),
        ("added_tokens", [{"id": 1}], "has no id or no content"),
        ("model", None, "no vocabulary"),
    ],
)
def test_a_tokenizer_that_would_cut_differently_is_refused(path: str, value: Any, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        words(changed(tiny_tokenizer(), path, value))


def test_the_pre_tokenizers_that_are_known_have_llama_cpps_names() -> None:
    gpt2 = changed(tiny_tokenizer(), "pre_tokenizer", {"type": "ByteLevel", "add_prefix_space": False})
    assert words(gpt2)["tokenizer.ggml.pre"] == "gpt-2"
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"
    )
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    bytes_alone = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    llama3 = {"type": "Sequence", "pretokenizers": [split, bytes_alone]}
    assert words(changed(tiny_tokenizer(), "pre_tokenizer", llama3))["tokenizer.ggml.pre"] == "llama-bpe"
    assert words(changed(tiny_tokenizer(), "pre_tokenizer", SMOLLM))["tokenizer.ggml.pre"] == "smollm"


def test_of_several_templates_the_default_counts_and_a_file_of_its_own_before_them() -> None:
    several = [{"name": "tools", "template": "t"}, {"name": "default", "template": "d"}]
    assert words(tiny_tokenizer(), chat_template=several)["tokenizer.chat_template"] == "d"
    assert vocabulary.read(tiny_tokenizer(), {"chat_template": "d"}, {}, 264, "f")["tokenizer.chat_template"] == "f"
    with pytest.raises(InvalidArgument, match="chat template"):
        words(tiny_tokenizer(), chat_template=7)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.sampled_from(sorted([*WHOLE, "rope_scaling", "head_dim", "sliding_window", "rope_theta"])), JSON)
def test_any_config_is_read_or_refused_with_a_sentence(key: str, value: Any) -> None:
    with contextlib.suppress(FiredeckError):
        convert.check_config(json.dumps({**WHOLE, key: value}))


PLACES = (
    "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "model", "model.type", "model.vocab",
    "model.merges", "model.byte_fallback", "model.unk_token",
)  # fmt: skip


@given(st.sampled_from([tiny_tokenizer(), SPIECE]), st.sampled_from(PLACES), JSON)
def test_any_tokenizer_is_read_or_refused_with_a_sentence(whole: dict[str, Any], place: str, value: Any) -> None:
    with contextlib.suppress(FiredeckError):
        words(changed(whole, place, value))
