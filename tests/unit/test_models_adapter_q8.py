"""The rewriting of adapters as Q8_0: the same product to within its rounding, whatever rank, type and alpha."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.errors import InvalidArgument
from engine.models import adapter, adapter_q8
from engine.models.cursor import open_regular
from tests import adapter_files
from tests.adapter_files import Matrix
from tests.unit.test_models_adapter import BASE, TARGET, UNTIED, ones


def rewritten(
    folder: Path, tensors: list[tuple[str, Matrix]], base: adapter.BaseFacts = BASE, alpha: float = 8.0
) -> Path:
    whole = adapter_files.write(folder / "whole.gguf", tensors, alpha=alpha)
    adapter.read(whole, base)
    with open_regular(whole) as fd, (folder / "q8.gguf").open("wb") as out:
        adapter_q8.rewrite(fd, "whole.gguf", out)
    return folder / "q8.gguf"


def matrices(path: Path) -> dict[str, Matrix]:
    return {one.name: gguf.quants.dequantize(one.data, one.tensor_type) for one in gguf.GGUFReader(path).tensors}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    rank=st.integers(1, 70),
    alpha=st.sampled_from([0.0, 1.0, 16.0]),
    strength=st.sampled_from([1e-6, 1e-3, 1.0, 100.0]),
    half=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_the_product_stays_what_it_was(
    tmp_path: Path, rank: int, alpha: float, strength: float, half: bool, seed: int
) -> None:
    random = np.random.default_rng(seed)
    kind = np.float16 if half else np.float32
    a = random.standard_normal((rank, 32)).astype(kind)
    b = (random.standard_normal((64, rank)) * strength).astype(kind)
    path = rewritten(tmp_path, [(f"{TARGET}.lora_b", b), (f"{TARGET}.lora_a", a)], alpha=alpha)
    facts = adapter.read(path, BASE)
    assert (facts.rank % 32, facts.alpha) == (0, 0.0)
    found = matrices(path)
    wanted = b.astype(np.float64) @ a.astype(np.float64) * (alpha / rank if alpha else 1.0)
    made = found[f"{TARGET}.lora_b"].astype(np.float64) @ found[f"{TARGET}.lora_a"].astype(np.float64)
    assert np.linalg.norm(made - wanted) <= 0.02 * np.linalg.norm(wanted)


def test_an_adapter_of_zeros_stays_one(tmp_path: Path) -> None:
    zeros = [(f"{TARGET}.lora_a", ones(4, 32)), (f"{TARGET}.lora_b", 0 * ones(64, 4))]
    assert not matrices(rewritten(tmp_path, zeros))[f"{TARGET}.lora_b"].any()


def test_the_factors_of_an_embedding_are_filled_up_along_the_rank(tmp_path: Path) -> None:
    pair = [("token_embd.weight.lora_a", ones(100, 4)), ("token_embd.weight.lora_b", ones(32, 4))]
    path = rewritten(tmp_path, pair, UNTIED, alpha=0.0)
    assert adapter.read(path, UNTIED).rank == 32
    found = matrices(path)
    product = found["token_embd.weight.lora_a"] @ found["token_embd.weight.lora_b"].T
    assert np.allclose(product, 4.0, rtol=0.02)


def test_weights_beyond_the_range_of_a_block_are_refused(tmp_path: Path) -> None:
    huge = [(f"{TARGET}.lora_a", 1e30 * ones(4, 32)), (f"{TARGET}.lora_b", ones(64, 4))]
    with pytest.raises(InvalidArgument, match="too large to be of use"):
        rewritten(tmp_path, huge)


def test_only_adapters_of_quantized_models_are_worth_it() -> None:
    assert adapter_q8.worthwhile(BASE)
    floats = {name: tensor._replace(ggml_type=30) for name, tensor in BASE.tensors.items()}
    assert not adapter_q8.worthwhile(adapter.BaseFacts("llama", floats))
