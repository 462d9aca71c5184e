"""A folder of Hugging Face's becomes the very model that it was made of: the same weights, words and answers."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest

from client.errors import FailedPrecondition, FiredeckError, InvalidArgument
from engine.models import own_models
from engine.models.hugging_face import convert
from engine.models.quantize import quantize
from engine.preparing import evaluation
from engine.replica import llama
from tests import hugging_face_files as hf
from tests import seeds
from tests.gguf_copies import with_fewer_words, with_words, words_of
from tests.hugging_face_reference import QWEN2_WORDS

pytestmark = pytest.mark.model
TEXTS = (
    "Hello, world!", "  two  spaces\n\n\tand a tab", "1234567890 12,5 %", "Ünïcödé: 漢字, ελληνικά, 🙂🚀",
    "don't we'll I'd", "<|im_start|>user\nhi<|im_end|>", "def f(x):\n    return x**2  # √2", "", " ", "a" * 300,
)  # fmt: skip


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Layers enough to tell one order of rows from another, and layers with a window from one without."""
    folder = tmp_path_factory.mktemp("original")
    if request.param == "llama":
        short = request.getfixturevalue("short_smollm2")
    else:
        short = with_fewer_words(request.getfixturevalue("gemma"), folder / "short.gguf", layers=7, most=8_000)
    return quantize(short, folder / "bf16.gguf", "BF16")


@pytest.fixture(scope="module")
def converted(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hf")
    files = convert.files_in(hf.folder(folder / "whole", original, shards=2))
    assert convert.unused(files) == []
    return convert.convert(files, folder / "made.gguf", "Mine")


def words(file: Path) -> list[list[int]]:
    """The tokens of each text, and of it with control tokens taken for what they are."""
    llama.start_backend()
    model = llama.Model(str(file), gpu_layers=0)
    try:
        take = model.vocabulary.tokenize
        plain = [take(text, add_special=True, parse_special=False) for text in TEXTS]
        return plain + [take(text, add_special=False, parse_special=True) for text in TEXTS]
    finally:
        model.close()


def test_every_weight_is_bit_for_bit_that_of_the_original(original: Path, converted: Path) -> None:
    before, after = hf.tensors(original), hf.tensors(converted)
    assert after.keys() == before.keys()
    assert [name for name, tensor in after.items() if tensor != before[name]] == []


def test_what_the_original_says_of_its_architecture_the_other_says_too(original: Path, converted: Path) -> None:
    before, after = (
        {n: f.contents() for n, f in gguf.GGUFReader(file).fields.items()} for file in (original, converted)
    )
    kind = before["general.architecture"]
    mine = {name: value for name, value in before.items() if name.startswith((f"{kind}.", "general.architecture"))}
    assert {name: after.get(name) for name in mine} == mine


def test_words_and_answers_are_the_same(original: Path, converted: Path) -> None:
    assert own_models.check(converted).info.quantization == "BF16"
    assert words(converted) == words(original)
    mine, theirs = (evaluation.read(file, threads=1, gpu_layers=0) for file in (converted, original))
    assert np.array_equal(mine.choices, theirs.choices)
    assert mine.perplexity == theirs.perplexity


@pytest.mark.soak
def test_all_of_gemma_comes_back_with_its_262144_words(gemma: Path, tmp_path: Path) -> None:
    original = quantize(gemma, tmp_path / "bf16.gguf", "BF16")
    files = convert.files_in(hf.folder(tmp_path / "hf", original, shards=2))
    made = convert.convert(files, tmp_path / "made.gguf", "Gemma")
    assert words(made) == words(original)
    before = hf.tensors(original)
    assert [name for name, tensor in hf.tensors(made).items() if tensor != before.pop(name)] == []
    assert not before


def test_a_vocabulary_of_sentencepiece_cuts_as_the_original_does(gemma: Path, tmp_path: Path) -> None:
    """The most frequent of Gemma's words and all its letters, below weights that say nothing: merges made of their
    scores become scores again, and cut as they do."""
    vocabulary = words_of(gemma, most=8_000)
    size = len(vocabulary.texts)
    folder = hf.tiny(tmp_path / "hf", vocab_size=size, hidden_size=32, intermediate_size=32, num_hidden_layers=1)
    hf.save(folder, "tokenizer.json", hf.sentencepiece(vocabulary))
    hf.save(folder, "tokenizer_config.json", {"bos_token": "<bos>", "eos_token": "<eos>", "add_bos_token": True})
    made = convert.convert(convert.files_in(folder), tmp_path / "made.gguf", "Words")
    assert words(made) == words(with_words(made, tmp_path / "original.gguf", vocabulary))


def test_qwens_words_are_cut_at_each_digit_where_others_are_not(tmp_path: Path) -> None:
    """What the name of its pre-tokenizer is for: the merge of two digits is there, and never used."""
    tokenizer = hf.tiny_tokenizer()
    tokenizer["model"]["vocab"]["12"] = 262
    tokenizer["model"]["merges"].append(["1", "2"])
    for name, parts, tokens in (
        ("qwen2", QWEN2_WORDS, 2),
        ("smollm", hf.SMOLLM, 2),
        ("gpt-2", hf.SMOLLM["pretokenizers"][1], 1),
    ):
        folder = hf.tiny(tmp_path / name)
        hf.save(folder, "tokenizer.json", tokenizer | {"pre_tokenizer": parts})
        made = convert.convert(convert.files_in(folder), tmp_path / f"{name}.gguf", name)
        model = llama.Model(str(made), gpu_layers=0)
        assert len(model.vocabulary.tokenize("12", add_special=False, parse_special=False)) == tokens, name
        model.close()


@pytest.mark.parametrize(("rstrip", "name", "tokens"), [(True, "Mine", 2), (False, "my-phi3", 3)])
def test_special_tokens_take_spaces_where_the_tokenizer_says_so_whatever_the_model_is_called(
    tmp_path: Path, rstrip: bool, name: str, tokens: int
) -> None:
    """llama.cpp goes by the model's name, and cannot load a "phi-3" whose vocabulary lacks certain tokens."""
    tokenizer = hf.tiny_tokenizer()
    kept = ("<unk>", "<s>", "<|endoftext|>") if rstrip else ()
    first = 262
    for at, text in enumerate((*kept, "</s>", "<|user|>")):
        tokenizer["added_tokens"].append({"id": first + at, "content": text, "special": True})
    for one in tokenizer["added_tokens"]:
        one["rstrip"] = rstrip and one["content"] not in kept
    folder = hf.tiny(tmp_path / "hf", vocab_size=first + len(kept) + 2)
    hf.save(folder, "tokenizer.json", tokenizer)
    made = convert.convert(convert.files_in(folder), tmp_path / "made.gguf", name)
    llama.start_backend()
    model = llama.Model(str(made), gpu_layers=0)
    assert len(model.vocabulary.tokenize("<|user|> x", add_special=False, parse_special=True)) == tokens
    model.close()


def test_one_without_tied_weights_and_with_scaled_positions_loads_and_computes(tmp_path: Path) -> None:
    scaled = {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 128,
    }  # fmt: skip
    folder = hf.tiny(tmp_path / "hf", rope_scaling=scaled, rope_theta=500_000.0)
    made = convert.convert(convert.files_in(folder), tmp_path / "made.gguf", "Tiny")
    names = {one.name: one.tensor_type.name for one in gguf.GGUFReader(made).tensors}
    assert (names["output.weight"], names["rope_freqs.weight"]) == ("F16", "F32")
    assert own_models.check(made).info.quantization == "F16"
    llama.start_backend()
    model = llama.Model(str(made), gpu_layers=0)
    assert model.vocabulary.tokenize("the in", add_special=True, parse_special=False)[:2] == [260, 258]
    assert model.chat_template == "{{ messages[0].content }}"
    context = llama.Context(model, llama.Shape(slots=1, context=64, threads=1))
    assert context.prefill(0, np.arange(32, dtype=np.int32), 0, rows="last") == 0
    assert np.isfinite(context.logits(1)).all()
    context.close()
    model.close()


@pytest.mark.parametrize(
    ("remove", "error", "said"),
    [
        ("config.json", FailedPrecondition, r"config\.json is missing"),
        ("tokenizer.json", FailedPrecondition, r"tokenizer\.json is missing"),
        ("model.safetensors", FailedPrecondition, r"model\.safetensors is missing"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, remove: str, error: type[FiredeckError], said: str) -> None:
    folder = hf.tiny(tmp_path / "hf")
    (folder / remove).unlink()
    with pytest.raises(error, match=said):
        convert.convert(convert.files_in(folder), tmp_path / "x.gguf", "x")
    assert not list(tmp_path.glob("*gguf*"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_hidden_layers": 3}, "lack 'model.layers.2"),
        ({"num_hidden_layers": 1}, "which a llama does not have"),
        ({"intermediate_size": 95}, "has the shape"),
    ],
)
def test_weights_and_config_that_do_not_belong_together_are_refused(
    tmp_path: Path, changes: dict[str, int], said: str
) -> None:
    folder = hf.tiny(tmp_path / "hf")
    hf.save(folder, "config.json", json.loads((folder / "config.json").read_text()) | changes)
    with pytest.raises(FailedPrecondition, match=said):
        convert.convert(convert.files_in(folder), tmp_path / "x.gguf", "x")


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    folder = hf.tiny(tmp_path / "hf")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(FailedPrecondition, match="is a pickle"):
        convert.convert(convert.files_in(folder), tmp_path / "x.gguf", "x")


def _break_files(tmp_path: Path, seed: int, times: int) -> None:
    """Bytes changed, cut and put in at random in one file of a folder: each is converted or refused with a sentence."""
    random = np.random.default_rng(seed)
    whole = {path.name: path.read_bytes() for path in hf.tiny(tmp_path / "hf").iterdir()}
    refused = 0
    for _ in range(times):
        name = str(random.choice(sorted(whole)))
        raw = bytearray(whole[name])
        end = min(len(raw), 16_384)  # headers lie in front
        for _change in range(int(random.integers(1, 4))):
            at = int(random.integers(0, end))
            raw[at] = int(random.integers(0, 256))
        if random.random() < 0.3:
            del raw[int(random.integers(0, len(raw))) :]
        (tmp_path / "hf" / name).write_bytes(raw)
        try:
            convert.convert(convert.files_in(tmp_path / "hf"), tmp_path / "x.gguf", "x")
        except (InvalidArgument, FailedPrecondition) as error:
            refused += 1
            assert error.message, seed  # noqa: PT017 - most are refused, and all of those with a reason
        (tmp_path / "hf" / name).write_bytes(whole[name])
    assert 0 < refused < times, seed


def test_files_with_broken_bytes_are_converted_or_refused(tmp_path: Path) -> None:
    _break_files(tmp_path, seeds.of_run(), 150)


@pytest.mark.soak
def test_ten_thousand_files_with_broken_bytes_are_converted_or_refused(tmp_path: Path) -> None:
    _break_files(tmp_path, seeds.of_run(), 10_000)
