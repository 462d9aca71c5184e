"""The adapter check: what it finds, what it refuses and why, and that no file can hurt it."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.errors import FailedPrecondition, FiredeckError, InvalidArgument
from engine.models import adapter
from engine.models.header import Tensor
from tests import adapter_files
from tests.adapter_files import Matrix

F32, Q4_1, NVFP4 = 0, 3, 40
BASE = adapter.BaseFacts(
    "llama",
    {
        tensor.name: tensor
        for tensor in (
            Tensor("token_embd.weight", (32, 100), Q4_1, 0),
            Tensor("blk.0.attn_q.weight", (32, 64), Q4_1, 0),
            Tensor("blk.0.attn_norm.weight", (32,), F32, 0),
            Tensor("blk.0.ffn_down_exps.weight", (64, 32, 3), Q4_1, 0),
            Tensor("blk.0.ffn_up.weight", (32, 64), NVFP4, 0),
        )
    },
)
UNTIED = adapter.BaseFacts("llama", {**BASE.tensors, "output.weight": Tensor("output.weight", (32, 100), Q4_1, 0)})
TARGET = "blk.0.attn_q.weight"


def ones(*shape: int) -> Matrix:
    """Shapes as numpy has them, the slowest dimension first: ggml's the other way round."""
    return np.ones(shape, np.float32)


def pair(target: str = TARGET, rank: int = 4, inputs: int = 32, outputs: int = 64) -> list[tuple[str, Matrix]]:
    return [(f"{target}.lora_a", ones(rank, inputs)), (f"{target}.lora_b", ones(outputs, rank))]


def read(
    folder: Path, tensors: list[tuple[str, Any]], base: adapter.BaseFacts = BASE, **options: Any
) -> adapter.AdapterFacts:
    path = folder / "tiny.gguf"
    adapter_files.write(path, tensors, **options)
    return adapter.read(path, base)


def refusal(folder: Path, tensors: list[tuple[str, Any]], kind: type[FiredeckError], **options: Any) -> str:
    with pytest.raises(kind) as caught:
        read(folder, tensors, **options)
    assert type(caught.value) is kind
    return caught.value.text


def test_an_adapter_tells_its_rank_alpha_targets_and_digest(tmp_path: Path) -> None:
    facts = read(tmp_path, pair(), alpha=8.0)
    content = (tmp_path / "tiny.gguf").read_bytes()
    assert facts == adapter.AdapterFacts(
        digest=hashlib.sha256(content).hexdigest(), architecture="llama", rank=4, alpha=8.0,
        size_bytes=len(content), targets=(TARGET,),
    )  # fmt: skip


def test_an_adapter_without_alpha_is_taken_as_llama_cpp_takes_it(tmp_path: Path) -> None:
    assert read(tmp_path, pair(), alpha=None).alpha == 0.0


def test_ranks_may_differ_from_tensor_to_tensor(tmp_path: Path) -> None:
    exps = "blk.0.ffn_down_exps.weight"
    experts = [(f"{exps}.lora_a", ones(3, 8, 64)), (f"{exps}.lora_b", ones(3, 32, 8))]
    facts = read(tmp_path, pair() + experts)
    assert (facts.rank, facts.targets) == (8, (TARGET, exps))


@pytest.mark.parametrize("rank", [1, 512])
def test_the_smallest_and_the_largest_rank_are_accepted(tmp_path: Path, rank: int) -> None:
    assert read(tmp_path, pair(rank=rank)).rank == rank


def test_a_rank_over_the_bound_is_refused(tmp_path: Path) -> None:
    assert "has rank 513 (1 to 512 are served)" in refusal(tmp_path, pair(rank=513), FailedPrecondition)


@pytest.mark.parametrize("values", [ones(4, 32).astype(np.float16), ones(4, 32)])
def test_half_and_single_precision_are_accepted(tmp_path: Path, values: Any) -> None:
    assert read(tmp_path, [(f"{TARGET}.lora_a", values), pair()[1]]).rank == 4


@pytest.mark.parametrize("kind", [gguf.GGMLQuantizationType.BF16, gguf.GGMLQuantizationType.Q8_0])
def test_bfloat_and_8_bit_weights_are_accepted(tmp_path: Path, kind: gguf.GGMLQuantizationType) -> None:
    raw = gguf.quants.quantize(ones(4, 32), kind)

    def add_a(writer: gguf.GGUFWriter) -> None:
        writer.add_tensor(f"{TARGET}.lora_a", raw, raw_dtype=kind)

    assert read(tmp_path, pair()[1:], extra=add_a).rank == 4


def test_other_weight_types_are_refused(tmp_path: Path) -> None:
    doubles = [(name, values.astype(np.float64)) for name, values in pair()]
    assert "is F64 (F32, F16, BF16 and Q8_0 are accepted)" in refusal(tmp_path, doubles, InvalidArgument)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0"])
def test_weights_that_are_no_numbers_are_refused_in_every_type(tmp_path: Path, kind: str, value: float) -> None:
    quantization = gguf.GGMLQuantizationType[kind]
    bad = ones(4, 32)
    bad[3, 31] = value
    raw = gguf.quants.quantize(ones(4, 32) if kind == "Q8_0" else bad, quantization)
    if kind == "Q8_0":
        raw = raw.copy()
        raw[3, :2] = np.frombuffer(np.float16(value).tobytes(), np.uint8)

    def add_a(writer: gguf.GGUFWriter) -> None:
        writer.add_tensor(f"{TARGET}.lora_a", raw, raw_dtype=quantization)

    assert "no numbers" in refusal(tmp_path, pair()[1:], InvalidArgument, extra=add_a)


def test_a_model_is_no_adapter(tmp_path: Path) -> None:
    assert "is not an adapter: its general.type is 'model'" in refusal(
        tmp_path, pair(), InvalidArgument, general_type="model"
    )


def test_another_kind_of_adapter_is_refused(tmp_path: Path) -> None:
    assert "adapter.type is 'dora'" in refusal(tmp_path, pair(), InvalidArgument, method="dora")


def test_another_architecture_is_refused_with_both_names(tmp_path: Path) -> None:
    told = refusal(tmp_path, pair(), FailedPrecondition, architecture="gemma3")
    assert "'gemma3', the base is 'llama'" in told


def test_an_activated_lora_is_refused(tmp_path: Path) -> None:
    def invocation(writer: gguf.GGUFWriter) -> None:
        writer.add_array("adapter.alora.invocation_tokens", [1, 2])

    assert "aLoRA" in refusal(tmp_path, pair(), FailedPrecondition, extra=invocation)


@pytest.mark.parametrize(("side", "missing"), [(0, "lora_b"), (1, "lora_a")])
def test_half_a_pair_is_refused(tmp_path: Path, side: int, missing: str) -> None:
    assert f"'{TARGET}.{missing}' is missing" in refusal(tmp_path, pair()[side : side + 1], InvalidArgument)


def test_no_tensors_at_all_are_refused(tmp_path: Path) -> None:
    assert "no tensors" in refusal(tmp_path, [], InvalidArgument)


@pytest.mark.parametrize("name", ["blk.0.attn_q.weight", "blk.0.attn_norm.weight", f"{TARGET}.lora_c", "lora_a"])
def test_tensors_that_are_no_part_of_a_lora_are_refused(tmp_path: Path, name: str) -> None:
    told = refusal(tmp_path, [*pair(), (name, ones(4, 32))], InvalidArgument)
    assert "no part of a LoRA" in told or "missing" in told


def test_a_weight_that_the_base_does_not_have_is_refused(tmp_path: Path) -> None:
    told = refusal(tmp_path, pair("blk.7.attn_q.weight"), FailedPrecondition)
    assert "'blk.7.attn_q.weight', which the base does not have" in told


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (ones(4, 16), ones(64, 4)),  # fewer inputs
        (ones(4, 32), ones(32, 4)),  # fewer outputs
        (ones(4, 32), ones(64, 5)),  # two ranks
        (ones(32, 4), ones(4, 64)),  # transposed
        (ones(2, 4, 32), ones(2, 64, 4)),  # experts where the base has none
    ],
)
def test_shapes_that_do_not_fit_are_refused_and_shown(tmp_path: Path, a: Matrix, b: Matrix) -> None:
    told = refusal(tmp_path, [(f"{TARGET}.lora_a", a), (f"{TARGET}.lora_b", b)], FailedPrecondition)
    assert "do not fit" in told
    assert "for a weight of (32, 64)" in told


def test_too_few_experts_are_refused(tmp_path: Path) -> None:
    exps = "blk.0.ffn_down_exps.weight"
    experts = [(f"{exps}.lora_a", ones(2, 8, 64)), (f"{exps}.lora_b", ones(2, 32, 8))]
    assert "do not fit" in refusal(tmp_path, experts, FailedPrecondition)


def test_norms_are_refused_because_llama_cpp_would_pass_over_them(tmp_path: Path) -> None:
    norm = pair("blk.0.attn_norm.weight", outputs=1)
    assert "no matrix that a LoRA can be applied to" in refusal(tmp_path, norm, FailedPrecondition)


def test_a_weight_in_nvfp4_is_refused_because_llama_cpp_would_abort(tmp_path: Path) -> None:
    assert "is NVFP4" in refusal(tmp_path, pair("blk.0.ffn_up.weight"), FailedPrecondition)


def embedding(rank_a: int = 4, rank_b: int = 4) -> list[tuple[str, Matrix]]:
    name = "token_embd.weight"
    return [(f"{name}.lora_a", ones(100, rank_a)), (f"{name}.lora_b", ones(32, rank_b))]


def test_an_embedding_is_adapted_where_the_output_layer_is_another(tmp_path: Path) -> None:
    assert read(tmp_path, embedding(), UNTIED).rank == 4


def test_a_tied_embedding_is_refused_because_llama_cpp_would_abort(tmp_path: Path) -> None:
    assert "also the base's output layer" in refusal(tmp_path, embedding(), FailedPrecondition)


def test_two_ranks_in_an_embeddings_pair_are_refused_because_llama_cpp_would_abort(tmp_path: Path) -> None:
    told = refusal(tmp_path, embedding(rank_a=4, rank_b=8), FailedPrecondition, base=UNTIED)
    assert "do not fit" in told


@pytest.mark.parametrize("alpha", [float("nan"), float("inf"), -1.0, 1e9])
def test_an_alpha_that_is_no_sane_number_is_refused(tmp_path: Path, alpha: float) -> None:
    assert "adapter.lora.alpha is" in refusal(tmp_path, pair(), InvalidArgument, alpha=alpha)


Add = Callable[[gguf.GGUFWriter], None]


@pytest.mark.parametrize(
    "add",
    [
        lambda writer: writer.add_float64("adapter.lora.alpha", 8.0),
        lambda writer: writer.add_uint32("adapter.lora.alpha", 8),
        lambda writer: writer.add_string("adapter.lora.alpha", "8"),
        lambda writer: writer.add_array("adapter.lora.alpha", [8.0]),
    ],
)
def test_an_alpha_of_another_type_is_refused_because_llama_cpp_would_abort(tmp_path: Path, add: Add) -> None:
    assert "not a 32-bit float" in refusal(tmp_path, pair(), InvalidArgument, alpha=None, extra=add)


@pytest.mark.parametrize("key", ["general.type", "general.architecture", "adapter.type"])
def test_texts_of_another_type_are_refused_because_llama_cpp_would_abort(tmp_path: Path, key: str) -> None:
    path = adapter_files.write(tmp_path / "tiny.gguf", pair())
    name = struct.pack("<Q", len(key)) + key.encode()
    head, _, rest = path.read_bytes().partition(name + struct.pack("<I", 8))
    (length,) = struct.unpack_from("<Q", rest)
    array = struct.pack("<IIQ", 9, 0, length)  # the same bytes as an array of bytes
    path.write_bytes(head + name + array + rest[8:])
    with pytest.raises(InvalidArgument) as caught:
        adapter.read(path, BASE)
    assert f"{key!r} is not a text" in caught.value.message


def test_a_base_in_several_files_is_refused(tmp_path: Path) -> None:
    path = adapter_files.write(tmp_path / "base.gguf", [], extra=lambda w: w.add_uint16("split.count", 3))
    with pytest.raises(FailedPrecondition, match="one of several files"):
        adapter.read_base(path)


def test_a_base_tells_its_architecture_and_weights(tmp_path: Path) -> None:
    path = adapter_files.write(tmp_path / "base.gguf", [("blk.0.attn_q.weight", ones(64, 32))])
    base = adapter.read_base(path)
    assert (base.architecture, base.tensors[TARGET].shape) == ("llama", (32, 64))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="there is no file"):
        adapter.read(tmp_path / "none.gguf", BASE)
    with pytest.raises(InvalidArgument, match="is not a file"):
        adapter.read(tmp_path, BASE)


def accepted(path: Path, content: bytes) -> bool:
    """Whether the check takes it; anything but an answer in words fails the test."""
    path.write_bytes(content)
    try:
        facts = adapter.read(path, BASE)
    except InvalidArgument:
        return False
    assert facts.digest == hashlib.sha256(content).hexdigest()
    assert 1 <= facts.rank <= adapter.MAX_RANK
    return True


def test_thousands_of_damaged_files_are_accepted_or_refused_in_words(tmp_path: Path) -> None:
    whole = adapter_files.write(tmp_path / "tiny.gguf", pair()).read_bytes()
    header_bytes = len(whole) - 4 * (4 * 32 + 64 * 4)
    chance = random.Random(20261121)
    seen = set()
    for number in range(4000):
        content = bytearray(whole)
        span = header_bytes if number % 4 else len(whole)
        for _ in range(chance.choice([1, 1, 2, 8])):
            content[chance.randrange(span)] ^= 1 << chance.randrange(8)
        if number % 5 == 0:
            del content[chance.randrange(len(content)) :]
        seen.add(accepted(tmp_path / "damaged.gguf", bytes(content)))
    assert seen == {True, False}


NOT_BY_TIME = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=300, suppress_health_check=NOT_BY_TIME)
@given(st.data())
def test_any_edit_of_a_file_is_accepted_or_refused_in_words(tmp_path: Path, data: st.DataObject) -> None:
    whole = adapter_files.write(tmp_path / "tiny.gguf", pair()).read_bytes()
    at = data.draw(st.integers(0, len(whole)))
    removed = data.draw(st.integers(0, 16))
    put = data.draw(st.binary(max_size=16))
    accepted(tmp_path / "edited.gguf", whole[:at] + put + whole[at + removed :])


@given(st.binary(max_size=400))
@settings(suppress_health_check=NOT_BY_TIME)
def test_any_bytes_behind_the_magic_are_refused_in_words(tmp_path: Path, rest: bytes) -> None:
    assert not accepted(tmp_path / "noise.gguf", b"GGUF" + rest)
