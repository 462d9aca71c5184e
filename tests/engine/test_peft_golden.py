"""Golden numbers: models and adapters that were converted compute what transformers and PEFT compute with them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from engine.models import adapter, peft
from engine.models.hugging_face import convert
from engine.models.quantize import quantize
from engine.replica import llama
from tests import hugging_face_files as hf
from tests.engine.conftest import ROOT
from tests.gguf_copies import with_fewer_words
from tests.llama_logits import cosines, logits

PYTHON = Path(os.environ.get("FIREDECK_TORCH_PYTHON", ROOT / ".venv-torch" / "bin" / "python"))
COSINE_MIN = 0.9999
TEXT = "The lighthouse keeper climbed the stairs every evening, and every evening he counted them aloud, one by one."
WORDS = 8_000  # of Gemma's, the most frequent ones
LAYERS = 18  # all of Gemma 3 270M's

pytestmark = [
    pytest.mark.model,
    pytest.mark.soak,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        not PYTHON.exists(),
        reason="no torch: make torch, or FIREDECK_TORCH_PYTHON after pip install torch transformers peft",
    ),
]


@pytest.mark.parametrize("name", ["smollm2", "gemma"])
def test_a_model_and_an_adapter_of_it_answer_as_transformers_and_peft_do(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source: Path = request.getfixturevalue(name)
    if name == "gemma":
        source = with_fewer_words(source, tmp_path / "fewer.gguf", LAYERS, WORDS)
    folder = hf.folder(tmp_path / "hf", quantize(source, tmp_path / "bf16.gguf", "BF16"))
    tokens = words(source)
    command = [str(PYTHON), "-m", "tests.engine.peft_golden", str(folder), str(tmp_path / "lora")]
    command += [str(tmp_path / "answers.npz"), *map(str, tokens)]
    child = subprocess.run(command, cwd=ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    theirs = np.load(tmp_path / "answers.npz")

    made = convert.convert(convert.files_in(folder), tmp_path / "made.gguf", name)
    whole = quantize(made, tmp_path / "f32.gguf", "F32")  # so that nothing but the conversion is compared
    lora = peft.convert(peft.files_in(tmp_path / "lora"), adapter.read_base(whole), tmp_path / "lora.gguf")
    plain, adapted = (
        cosines(logits(whole, tokens, one), theirs[key]) for key, one in (("plain", None), ("adapted", lora))
    )
    unlike = cosines(logits(whole, tokens), theirs["adapted"])
    least = f"least cosine {plain.min():.7f} without and {adapted.min():.7f} with the adapter"
    print(f"{name}, {len(tokens)} places: {least}, {unlike.min():.4f} between both")
    assert plain.min() >= COSINE_MIN
    assert adapted.min() >= COSINE_MIN
    assert unlike.min() < COSINE_MIN


def words(file: Path) -> list[int]:
    llama.start_backend()
    model = llama.Model(str(file), gpu_layers=0)
    found = model.vocabulary.tokenize(TEXT, add_special=False, parse_special=False)
    model.close()
    return found
