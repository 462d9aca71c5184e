"""A model in another precision: made whole by llama.cpp, or refused with the file at fault and nothing left behind."""

from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter

from client.errors import FailedPrecondition, FiredeckError, InvalidArgument
from engine import precision
from engine.models import gguf
from engine.models.quantize import quantize
from engine.preparing import evaluation
from engine.replica import llama

pytestmark = pytest.mark.model


def test_the_result_is_the_same_model_in_the_other_precision(smollm2: Path, tmp_path: Path) -> None:
    made = quantize(smollm2, tmp_path / "new" / "model.gguf", "q4_0")
    before, after = gguf.read(smollm2), gguf.read(made)
    assert (before.quantization, after.quantization) == ("Q4_1", "Q4_0")
    assert (after.parameter_count, after.context_length) == (before.parameter_count, before.context_length)
    assert [path.name for path in made.parent.iterdir()] == ["model.gguf"]


def test_what_is_for_experts_alone_is_refused_for_others(smollm2: Path, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="no mixture of experts"):
        quantize(smollm2, tmp_path / "x.gguf", "MXFP4_MOE")
    assert list(tmp_path.iterdir()) == []


def test_experts_become_mxfp4_and_the_rest_q8_0(tmp_path: Path) -> None:
    made = quantize(_mixture(tmp_path / "f16.gguf"), tmp_path / "mxfp4.gguf", "MXFP4_MOE")
    assert gguf.read(made).quantization == "MXFP4"
    types = {one.name: one.tensor_type.name for one in GGUFReader(made).tensors}
    assert {kind for name, kind in types.items() if "_exps" in name} == {"MXFP4"}
    assert types["blk.0.attn_q.weight"] == "Q8_0"


def test_nf4s_analogue_says_of_itself_what_it_is(tmp_path: Path) -> None:
    made = quantize(_mixture(tmp_path / "f16.gguf"), tmp_path / "iq4.gguf", precision.ANALOGUES["NF4"])
    assert precision.own(gguf.read(made).quantization) == ["NF4"]
    assert {one.name: one.tensor_type.name for one in GGUFReader(made).tensors}["blk.0.attn_q.weight"] == "IQ4_NL"


def _mixture(path: Path) -> Path:
    """One layer of a llama of random weights with four experts, and next to no vocabulary."""
    random, width, experts, size = np.random.default_rng(1), 64, 4, 32
    counts = {
        "block_count": 1, "context_length": 64, "embedding_length": width, "feed_forward_length": width,
        "attention.head_count": 2, "attention.head_count_kv": 2, "vocab_size": size, "expert_count": experts,
        "expert_used_count": 2,
    }  # fmt: skip
    square, each = (width, width), (experts, width, width)
    layer: dict[str, tuple[int, ...]] = {
        "attn_norm": (width,), "ffn_norm": (width,), "attn_q": square, "attn_k": square, "attn_v": square,
        "attn_output": square, "ffn_gate_inp": (experts, width), "ffn_gate_exps": each, "ffn_up_exps": each,
        "ffn_down_exps": each,
    }  # fmt: skip
    shapes = {"token_embd": (size, width), "output": (size, width), "output_norm": (width,)}
    shapes |= {f"blk.0.{name}": shape for name, shape in layer.items()}
    writer = GGUFWriter(path, "llama")
    writer.add_type("model")
    for key, value in counts.items():
        writer.add_uint32(f"llama.{key}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([f"t{number}" for number in range(size)])
    writer.add_token_merges(["a b"])
    for name, shape in shapes.items():
        kind = np.float16 if len(shape) > 1 else np.float32
        writer.add_tensor(f"{name}.weight", (random.standard_normal(shape) * 0.1).astype(kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def readings(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, evaluation.Reading]:
    """What SmolLM2's own file, which is Q4_1, makes of the text, and what it is requantized to."""
    llama.start_backend()
    folder = tmp_path_factory.mktemp("precisions")
    found = {"Q4_1": evaluation.read(smollm2, threads=1, gpu_layers=0)}
    for kind in ("F16", "BF16", "Q8_0", "Q4_0", "IQ4_NL"):
        made = quantize(smollm2, folder / f"{kind}.gguf", kind)
        found[kind] = evaluation.read(made, threads=1, gpu_layers=0)
        made.unlink()
    return found


@pytest.mark.soak
@pytest.mark.parametrize(
    ("source", "kind", "figure", "exactly"),
    [
        ("F16", "BF16", 0.991, True), ("F16", "Q8_0", 0.956, True), ("F16", "Q4_0", 0.746, False),
        ("Q4_1", "Q8_0", 0.959, False), ("Q4_1", "Q4_0", 0.755, False), ("Q4_1", "IQ4_NL", 0.79, False),
    ],
)  # fmt: skip
def test_precisions_agree_with_their_source_as_they_were_measured_to(
    readings: dict[str, evaluation.Reading], source: str, kind: str, figure: float, exactly: bool
) -> None:
    """The figures were measured over another text, of 584 tokens. Two of them are reached here as they are; for the
    others this text of 607 places is a sample that may lie two standard errors off (it came to 0.722, 0.954, 0.731 and
    0.759 in the order of the list), and no further."""
    places = len(readings[source].choices)
    least = figure if exactly else figure - 2 * (figure * (1 - figure) / places) ** 0.5
    assert evaluation.agreement(readings[source], readings[kind]) >= least


@pytest.mark.soak
def test_floats_of_16_bits_agree_with_what_was_quantized_but_for_how_it_is_computed(
    readings: dict[str, evaluation.Reading],
) -> None:
    """The weights are the same numbers but for a last digit: llama.cpp rounds what they are multiplied with to 8 bits
    beside Q4_1, and to 16 beside these. Measured here alone: 0.964 and 0.962."""
    assert min(evaluation.agreement(readings["Q4_1"], readings[kind]) for kind in ("F16", "BF16")) >= 0.95


@pytest.mark.parametrize("name", ["", "Q9_9", "IQ1_S", "Q4_0 "])
def test_an_unknown_precision_is_refused_by_name(smollm2: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgument, match="is no precision"):
        quantize(smollm2, tmp_path / "x.gguf", name)


def test_quantizing_what_is_quantized_can_be_forbidden(smollm2: Path, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="quantized already"):
        quantize(smollm2, tmp_path / "x.gguf", "Q8_0", allow_requantize=False)


def test_a_file_that_is_no_model_never_reaches_llama_cpp(tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(FiredeckError):
        quantize(bad, tmp_path / "x.gguf", "Q4_0")
    assert list(tmp_path.iterdir()) == [bad]


def test_the_source_is_never_overwritten(smollm2: Path) -> None:
    size = smollm2.stat().st_size
    with pytest.raises(InvalidArgument, match="the same file"):
        quantize(smollm2, smollm2, "Q4_0")
    assert smollm2.stat().st_size == size


def test_a_folder_that_cannot_be_written_is_refused(smollm2: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FailedPrecondition, match="cannot write"):
        quantize(smollm2, tmp_path / "file" / "x.gguf", "Q4_0")
