"""A model in another precision: made whole by llama.cpp, or refused with the file at fault and nothing left behind."""

from pathlib import Path

import pytest

from client.errors import FailedPrecondition, FiredeckError, InvalidArgument
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


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "least"), [("F16", 0.98), ("BF16", 0.98), ("Q8_0", 0.94), ("Q4_0", 0.7)])
def test_other_precisions_agree_with_their_source_as_they_did(
    smollm2: Path, tmp_path: Path, kind: str, least: float
) -> None:
    """SmolLM2's own file is Q4_1: what it is requantized to goes on alike in so many places of the test text."""
    llama.start_backend()
    source = evaluation.read(smollm2, threads=1, gpu_layers=0)
    made = evaluation.read(quantize(smollm2, tmp_path / "x.gguf", kind), threads=1, gpu_layers=0)
    assert evaluation.agreement(source, made) >= least


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
