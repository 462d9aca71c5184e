"""What llama.cpp computes with a converted model is what the model computes, told by a reference in plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.models import adapter, peft
from engine.models.hugging_face import convert
from tests import hugging_face_reference as reference
from tests import peft_files
from tests.hugging_face_reference import Reference
from tests.llama_logits import cosines, logits

pytestmark = pytest.mark.model
COSINE_MIN = 0.9999
NEAR = 1e-6  # 1 - cosine of most places; the worst of some has twice that, by the rounding of a cache of 16 bits
TOKENS = np.random.default_rng(5).integers(0, 260, 24).astype(np.int32)


def without(part: str) -> Callable[[Reference], None]:
    """Its biases, or its norms: weights by the end of their name become zero, or one."""

    def change(model: Reference) -> None:
        for name, values in model.weights.items():
            if name.endswith(part):
                values[...] = 0.0

    return change


def other(**config: Any) -> Callable[[Reference], None]:
    return lambda model: model.config.update(config)


def swapped(part: str, with_: str) -> Callable[[Reference], None]:
    def change(model: Reference) -> None:
        for name in [name for name in model.weights if f"{part}.weight" in name]:
            other_name = name.replace(part, with_)
            model.weights[name], model.weights[other_name] = model.weights[other_name], model.weights[name]

    return change


# What a conversion could get wrong, and numbers then tell.
MISTAKES: dict[str, list[Callable[[Reference], None]]] = {
    "llama": [other(rope_theta=100.0)],
    "qwen2": [without(".bias"), other(rope_theta=100.0)],
    "qwen3": [without("q_norm.weight"), other(rope_scaling=None)],
    "mixtral": [other(num_experts_per_tok=1), swapped("experts.0.w1", "experts.1.w1"), swapped("0.w1", "0.w3")],
    "qwen3moe": [
        other(num_experts_per_tok=2), swapped("experts.0.up_proj", "experts.1.up_proj"), without("k_norm.weight"),
    ],
    "phi3": [
        other(rope_scaling=None), other(rope_scaling={"short_factor": [9.0] * 8}), other(max_position_embeddings=128),
    ],
    "gemma2": [
        without("post_attention_layernorm.weight"), other(attn_logit_softcapping=None),
        other(final_logit_softcapping=None), other(sliding_window=24),
    ],
    "gemma3": [
        without("k_norm.weight"), other(rope_local_base_freq=1e6), other(rope_theta=1e4), other(sliding_window=24),
        other(layer_types=["sliding_attention", "sliding_attention", "full_attention"]),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", reference.CONFIGS)
def test_logits_are_those_of_the_reference_and_would_tell_a_mistake(tmp_path: Path, kind: str) -> None:
    folder = reference.folder(tmp_path / "hf", kind, seed=7)
    made = convert.convert(convert.files_in(folder), tmp_path / "made.gguf", kind)
    found = logits(made, TOKENS.tolist())
    apart = 1 - cosines(found, Reference(folder).logits(TOKENS))
    assert (np.median(apart) < NEAR, apart.max() < 2 * NEAR) == (True, True), apart.max()
    for number, mistake in enumerate(MISTAKES[kind]):
        wrong = Reference(folder)
        mistake(wrong)
        assert cosines(found, wrong.logits(TOKENS)).min() < COSINE_MIN, number


@pytest.mark.parametrize("kind", reference.CONFIGS)
def test_an_adapter_of_pefts_changes_them_as_it_changes_the_references_weights(tmp_path: Path, kind: str) -> None:
    folder = reference.folder(tmp_path / "hf", kind, seed=8)
    made = convert.convert(convert.files_in(folder), tmp_path / "made.gguf", kind)
    base = adapter.read_base(made)
    tensors = peft_files.random_tensors(base, seed=9, rank=4, layers=2)
    if kind == "phi3":
        tensors = {name.replace("mlp.up_proj", "mlp.gate_up_proj"): one for name, one in tensors.items()}
    lora = peft_files.folder(tmp_path / "lora", tensors, r=4, lora_alpha=8)
    file = peft.convert(peft.files_in(lora), base, tmp_path / "lora.gguf")
    model = Reference(folder)
    assert cosines(logits(made, TOKENS.tolist(), file), model.logits(TOKENS)).min() < COSINE_MIN
    model.adapt(tensors, scale=8 / 4)
    assert cosines(logits(made, TOKENS.tolist(), file), model.logits(TOKENS)).min() > COSINE_MIN
