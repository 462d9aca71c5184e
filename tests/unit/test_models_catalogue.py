"""The model library: its entries, and how they are found."""

from __future__ import annotations

import dataclasses
from importlib.resources import files

import pytest

from client.errors import InvalidArgument, NotFound
from engine.models import catalogue


def test_the_library_has_the_two_embedded_models() -> None:
    assert [entry.name for entry in catalogue.embedded()] == [
        "accounts/fireworks/models/smollm2-135m-instruct",
        "accounts/fireworks/models/gemma-3-270m",
    ]


def test_only_the_instruct_model_supports_chat() -> None:
    assert [entry.supports_chat for entry in catalogue.embedded()] == [True, False]


@pytest.mark.parametrize("entry", catalogue.library(), ids=lambda entry: entry.id)
def test_an_entry_is_found_by_full_name_and_by_id(entry: catalogue.Entry) -> None:
    assert catalogue.find(entry.name) is entry
    assert catalogue.find(entry.id) is entry


def test_an_unknown_name_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(NotFound) as caught:
        catalogue.find("gpt-9")
    assert "gemma-3-270m" in caught.value.text


def test_every_pypi_source_is_pinned_and_names_and_files_are_unique() -> None:
    entries = catalogue.library()
    for entry in entries:
        if isinstance(entry.source, tuple):
            assert all("==" in part.requirement for part in entry.source)
    assert len({entry.name for entry in entries}) == len({entry.file for entry in entries}) == len(entries)


def test_every_hub_entry_has_a_name_of_its_own_and_drafts_of_its_own_family() -> None:
    for entry in catalogue.library():
        if isinstance(entry.source, catalogue.HfSource):
            assert entry.file == catalogue.from_hf("x", f"hf:{entry.source.repo}/{entry.source.file}").file
        for draft in entry.recommended_drafts:
            smaller = catalogue.find(draft)
            assert (smaller.parameter_count or 0) < (entry.parameter_count or 0) / 3
            assert smaller.architecture == entry.architecture


def test_the_documented_drafts_are_recommended_for_what_is_larger_than_3b() -> None:
    for family, draft in (("llama-v3", "llama-v3p2-1b-instruct"), ("qwen2p5", "qwen2p5-0p5b-instruct")):
        large = [e for e in catalogue.library() if e.id.startswith(family) and (e.parameter_count or 0) > 4e9]
        assert large
        assert all(e.recommended_drafts == (catalogue.LIBRARY_PREFIX + draft,) for e in large)


def test_what_a_file_takes_is_about_known_before_the_hub_has_told() -> None:
    assert catalogue.find("smollm2-135m-instruct").expected_bytes == 98_362_432
    assert 4.5e9 < catalogue.find("llama-v3p1-8b-instruct").expected_bytes < 5.2e9
    assert catalogue.from_hf("x", "hf:o/r/x.gguf").expected_bytes == 0


def test_gemma_states_its_terms() -> None:
    entry = catalogue.find("gemma-3-270m")
    assert "Terms" in entry.license_note
    assert entry.license_url.endswith("/gemma/terms")


def broken(old: str, new: str) -> str:
    text = files("engine.models").joinpath("catalogue.toml").read_text("utf-8")
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("sha256 = ", "sha512 = ", "sha512"),
        ('sha256 = "b1', 'sha256 = "B1', "64 hexadecimal"),
        ('file = "Smol', 'file = "../Smol', "a path"),
        ('name = "accounts/fireworks', 'name = "accounts/other', "accounts/fireworks/models/"),
        ("member = ", "membre = ", "membre"),
    ],
)
def test_a_broken_entry_is_named(old: str, new: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        catalogue.parse(broken(old, new))


def test_an_hf_source_makes_an_entry_whose_facts_are_unknown() -> None:
    entry = catalogue.from_hf("accounts/local/models/qwen", "hf:Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf")
    assert entry.source == catalogue.HfSource("Qwen/Qwen3-0.6B-GGUF", "Qwen3-0.6B-Q8_0.gguf")
    assert entry.file == "Qwen--Qwen3-0.6B-GGUF--Qwen3-0.6B-Q8_0.gguf"
    unknown = {field.name for field in dataclasses.fields(entry) if getattr(entry, field.name) is None}
    assert unknown >= {"sha256", "size_bytes", "context_length", "supports_chat"}


@pytest.mark.parametrize(
    "source",
    ["", "hf:", "hf:org/repo", "hf:org/repo/file.bin", "hf:org/../x.gguf", "hf:a/b/../x.gguf", "hf:a b/c/d.gguf"],
)
def test_a_text_that_is_no_hf_source_is_refused(source: str) -> None:
    with pytest.raises(InvalidArgument, match="not a Hugging Face source"):
        catalogue.HfSource.parse(source)


PLAIN = """
[[model]]
name = "accounts/fireworks/models/m"
display_name = "M"
description = "d"
license = "MIT"
license_note = "n"
license_url = "u"
file = "m.gguf"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
size_bytes = 1
architecture = "llama"
quantization = "F16"
parameter_count = 1
context_length = 1
supports_chat = true
sizes = { layers = 1, embedding = 1, feed_forward = 1, heads = 1, kv_heads = 1, head_size = 1, vocabulary = 1 }
"""


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('path = "/disk/m.gguf"', "/disk/m.gguf"), ('url = "https://host/m.gguf"', "https://host/m.gguf"),
        ('hf = "hf:org/repo/m.gguf"', "hf:org/repo/m.gguf"), ('hf = "hf:org/repo@v1/m.gguf"', "hf:org/repo@v1/m.gguf"),
        ('[[model.pypi]]\nrequirement = "m==1"\nmember = "m/m.gguf"\ndownload_bytes = 1', "pypi:m==1"),
    ],
)  # fmt: skip
def test_an_entry_comes_from_a_package_a_hub_an_address_or_a_path(line: str, told: str) -> None:
    [entry] = catalogue.parse(PLAIN + line)
    assert entry.origin_text == told
