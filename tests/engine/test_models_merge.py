"""An adapter merged into its base's weights answers as one beside them, to rounding."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from client.errors import FailedPrecondition
from engine.models import own_models
from engine.models.dequantize import floats
from engine.models.merge import merge
from engine.models.quantize import quantize
from tests import adapter_files
from tests.hugging_face_files import tensors
from tests.llama_logits import cosines, logits

pytestmark = pytest.mark.model
TEXT = "The lighthouse keeper climbed the stairs every evening, and every evening he counted them aloud."


@pytest.fixture(scope="module")
def base(short_smollm2: Path) -> Path:
    return short_smollm2


@pytest.fixture(scope="module")
def lora(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapter_files.make(tmp_path_factory.mktemp("lora") / "lora.gguf", base, seed=3, strength=0.3, layers=3)


def test_merged_answers_as_unmerged_and_not_as_the_base(base: Path, lora: Path, tmp_path: Path) -> None:
    made = merge(base, lora, tmp_path / "merged.gguf")
    own_models.check(made)
    together, beside, alone = logits(made, TEXT), logits(base, TEXT, lora), logits(base, TEXT)
    # Quantized weights are multiplied with quantized activations, 16-bit floats are not: more than rounding apart.
    assert cosines(together, beside).min() > 0.99
    assert cosines(alone, beside).min() < 0.98


def test_into_floats_it_is_merged_to_the_last_bits(base: Path, lora: Path, tmp_path: Path) -> None:
    whole = quantize(base, tmp_path / "f32.gguf", "F32")
    together, beside = logits(merge(whole, lora, tmp_path / "merged.gguf"), TEXT), logits(whole, TEXT, lora)
    assert cosines(together, beside).min() > 0.999999
    assert np.array_equal(together.argmax(axis=1), beside.argmax(axis=1))
    half = quantize(base, tmp_path / "f16.gguf", "F16")
    assert cosines(logits(merge(half, lora, tmp_path / "merged.gguf"), TEXT), logits(half, TEXT, lora)).min() > 0.9999


def test_what_the_adapter_does_not_change_is_byte_for_byte_the_bases(base: Path, lora: Path, tmp_path: Path) -> None:
    made = merge(base, lora, tmp_path / "merged.gguf")
    before, after = tensors(base), tensors(made)
    assert list(after) == list(before)
    changed = [name for name in after if after[name] != before[name]]
    assert changed == [name for name in after if name.startswith(("blk.0.", "blk.1.", "blk.2.")) and "norm" not in name]
    assert {after[name][0] for name in changed} == {gguf.GGMLQuantizationType.F16}


def test_floats_are_those_that_ggml_means() -> None:
    random = np.random.default_rng(1)
    values = random.standard_normal(512).astype(np.float32)
    for kind in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_1, gguf.GGMLQuantizationType.BF16):
        raw = gguf.quants.quantize(values, kind)
        known = gguf.quants.dequantize(raw, kind).reshape(-1)
        assert np.allclose(floats(raw.tobytes(), int(kind), 512), known, rtol=0, atol=1e-6), kind
    assert np.array_equal(floats(values.tobytes(), 0, 512), values)


def test_an_adapter_of_another_base_is_refused(gemma: Path, lora: Path, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="is for the architecture 'llama'"):
        merge(gemma, lora, tmp_path / "merged.gguf")
    assert list(tmp_path.iterdir()) == []
