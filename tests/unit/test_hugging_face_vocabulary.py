"""tokenizer.json of a decoder: read as transformers mean it, or refused with the reason."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import FailedPrecondition, FiredeckError, InvalidArgument
from engine.models.hugging_face import naming, vocabulary
from tests.arbitrary import JSON
from tests.hugging_face_files import SMOLLM, tiny_tokenizer
from tests.hugging_face_reference import QWEN2_WORDS

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
    return vocabulary.read(tokenizer, settings, {}, size)


def changed(tokenizer: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one thing changed: `model.type`."""
    copied = copy.deepcopy(tokenizer)
    *outer, last = path.split(".")
    place = copied
    for name in outer:
        place = place[name]
    place[last] = value
    return copied


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
        ("added_tokens", [{"id": 262, "content": "th"}], "two of its tokens have one text"),
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


def test_qwens_pre_tokenizer_is_known_and_its_composed_text_too() -> None:
    qwen = changed(changed(tiny_tokenizer(), "pre_tokenizer", QWEN2_WORDS), "normalizer", {"type": "NFC"})
    assert words(qwen)["tokenizer.ggml.pre"] == "qwen2"
    assert words(changed(qwen, "normalizer", None))["tokenizer.ggml.pre"] == "qwen2"
    with pytest.raises(FailedPrecondition, match="changes text before it cuts it"):
        words(changed(qwen, "normalizer", {"type": "Lowercase"}))
    other = copy.deepcopy(qwen)
    other["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] += "|x"
    with pytest.raises(FailedPrecondition, match=r"not known here \(smollm, gpt-2, llama-bpe, qwen2 are\)"):
        words(other)


def test_what_was_added_for_larger_models_of_a_family_has_no_row_and_is_left_out() -> None:
    larger = tiny_tokenizer()
    larger["added_tokens"].append({"id": 264, "content": "<image>", "special": True})
    assert words(larger) == words(tiny_tokenizer())
    larger["model"]["vocab"]["<image>"] = 264
    assert words(larger) == words(tiny_tokenizer())


def test_an_added_token_of_spaces_has_spaces_in_its_text() -> None:
    spaces = {"id": 8, "content": "\u2581\u2581", "special": False}
    found = words(changed(SPIECE, "added_tokens", [*SPIECE["added_tokens"], spaces]), 9)
    assert (found["tokenizer.ggml.tokens"][8], found["tokenizer.ggml.token_type"][8]) == ("  ", 4)  # type: ignore[index]


def test_a_cut_at_spaces_that_are_no_longer_there_is_none() -> None:
    """Gemma's: every space is sentencepiece's by then."""
    cut = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    assert words(changed(SPIECE, "pre_tokenizer", cut), 9) == words(SPIECE, 9)
    for other in ({**cut, "invert": True}, {**cut, "pattern": {"String": "t"}}):
        with pytest.raises(FailedPrecondition, match="not known here"):
            words(changed(SPIECE, "pre_tokenizer", other), 9)


def test_of_several_templates_the_default_counts_and_a_file_of_its_own_before_them() -> None:
    several = [{"name": "tools", "template": "t"}, {"name": "default", "template": "d"}]
    assert words(tiny_tokenizer(), chat_template=several)["tokenizer.chat_template"] == "d"
    assert vocabulary.read(tiny_tokenizer(), {"chat_template": "d"}, {}, 264, "f")["tokenizer.chat_template"] == "f"
    with pytest.raises(InvalidArgument, match="chat template"):
        words(tiny_tokenizer(), chat_template=7)


PLACES = (
    "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "model", "model.type", "model.vocab",
    "model.merges", "model.byte_fallback", "model.unk_token",
)  # fmt: skip


@given(st.sampled_from([tiny_tokenizer(), SPIECE]), st.sampled_from(PLACES), JSON)
def test_any_tokenizer_is_read_or_refused_with_a_sentence(whole: dict[str, Any], place: str, value: Any) -> None:
    try:
        read = words(changed(whole, place, value))
    except FiredeckError as error:
        assert error.message.isprintable()  # noqa: PT017 - whatever it is, nothing else is raised
    else:
        assert read is not None


def phi3(*, rstrip: bool, without: str = "") -> dict[str, Any]:
    kept = ("<unk>", "<s>", "<|endoftext|>")
    texts = [text for text in (*kept, "</s>", "<|user|>", "<|end|>") if text != without]
    added = [{"id": at, "content": text, "rstrip": rstrip and text not in kept} for at, text in enumerate(texts)]
    return {"added_tokens": added}


def test_a_name_says_that_it_is_a_phi3_where_its_tokens_take_spaces_and_nowhere_else() -> None:
    plain = phi3(rstrip=False)
    told = [naming.named(name, plain) for name in ("Mine", "my-PHI3-mini", "Phi-3")]
    assert told == ["Mine", "my-phi 3-mini", "phi 3"]
    takes = phi3(rstrip=True)
    assert [naming.named(name, takes) for name in ("Mine", "my-Phi3")] == ["Mine (phi-3)", "my-Phi3"]
    with pytest.raises(FailedPrecondition, match="are missing"):
        naming.named("Mine", phi3(rstrip=True, without="<|endoftext|>"))
    takes["added_tokens"][-1]["rstrip"] = False
    with pytest.raises(FailedPrecondition, match="and others do not"):
        naming.named("Mine", takes)
    for nothing in ({}, {"added_tokens": None}, {"added_tokens": ["x"]}, []):
        assert naming.named("Mine", nothing) == "Mine"
