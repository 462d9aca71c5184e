"""Embeddings and reranking, the parts that need no model: what a request may be, how texts are packed and shaped."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import InvalidArgument
from engine.replica.embeddings import _body, shaped
from engine.replica.pooler import pack
from engine.replica.pooling_fields import MAX_DOCUMENTS, MAX_INPUTS, EmbeddingRequest, RerankRequest
from engine.replica.rerank import filled
from engine.replica.wire_types import validated

LENGTHS = st.lists(st.integers(1, 600), max_size=60)


@given(LENGTHS, st.integers(1, 512), st.integers(1, 32))
def test_every_text_is_in_exactly_one_batch(lengths: list[int], tokens: int, texts: int) -> None:
    batches = pack(lengths, tokens=tokens, texts=texts)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))


@given(LENGTHS, st.integers(1, 512), st.integers(1, 32))
def test_a_batch_keeps_both_bounds_unless_it_is_one_long_text(lengths: list[int], tokens: int, texts: int) -> None:
    for batch in pack(lengths, tokens=tokens, texts=texts):
        assert 1 <= len(batch) <= texts
        assert len(batch) == 1 or sum(lengths[index] for index in batch) <= tokens


@given(LENGTHS, st.integers(1, 512))
def test_texts_of_like_length_share_a_batch(lengths: list[int], tokens: int) -> None:
    order = [lengths[index] for batch in pack(lengths, tokens=tokens, texts=8) for index in batch]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("given_", "inputs"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([[1, 2], [3]], [[1, 2], [3]]),
    ],
)
def test_all_four_forms_of_input_become_a_list_of_inputs(given_: Any, inputs: Any) -> None:
    assert validated(EmbeddingRequest, {"model": "m", "input": given_}).input == inputs


@pytest.mark.parametrize(
    "bad",
    [None, [], 1, True, {}, [True], [1, "a"], ["a", 1], ["a", [1]], [[1], "a"], [[1], [True]], [-1], [2**31], [1.5],
     [None], [{"text": "x"}], ["\ud800"], ["a"] * (MAX_INPUTS + 1), [[1]] * (MAX_INPUTS + 1)],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_any_other_input_is_refused_by_name(bad: Any) -> None:
    with pytest.raises(InvalidArgument) as refused:
        validated(EmbeddingRequest, {"model": "m", "input": bad})
    assert refused.value.field == "input"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": True}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"normalize": "yes"}, "normalize"),
    ],
)
def test_a_bad_option_is_refused_by_name(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        validated(EmbeddingRequest, {"input": "x"} | fields)
    assert refused.value.field == field


@given(st.integers(1, 8), st.integers(1, 16), st.integers(0, 2**32 - 1))
def test_a_cut_vector_has_length_one_again(count: int, dimensions: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)
    cut = shaped(vectors, dimensions, normalize=True)
    assert cut.shape == (count, dimensions)
    assert np.allclose(np.linalg.norm(cut, axis=1), 1, atol=1e-6)
    assert np.array_equal(shaped(vectors, dimensions, normalize=False), vectors[:, :dimensions])


def test_a_vector_of_zeros_stays_zeros() -> None:
    assert not shaped(np.zeros((1, 4), np.float32), None, normalize=True).any()


def test_base64_holds_the_very_floats_that_the_list_shows() -> None:
    vectors = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)

    def answered(encoding: str) -> dict[str, Any]:
        request = validated(EmbeddingRequest, {"model": 'm"', "input": "x", "encoding_format": encoding})
        return json.loads(_body(request, vectors, 7))

    lists, packed = answered("float"), answered("base64")
    assert lists["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert lists["model"] == 'm"'
    for one, other in zip(lists["data"], packed["data"], strict=True):
        decoded = np.frombuffer(base64.b64decode(other["embedding"]), "<f4")
        assert np.array_equal(np.array(one["embedding"], np.float32), decoded)


def test_documents_are_texts_or_objects_with_a_text() -> None:
    request = validated(RerankRequest, {"query": "q", "documents": ["a", {"text": "b"}]})
    assert request.documents == ["a", "b"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"documents": []}, "documents"),
        ({"documents": "a"}, "documents"),
        ({"documents": [""]}, "documents"),
        ({"documents": [1]}, "documents"),
        ({"documents": [{"body": "a"}]}, "documents"),
        ({"documents": ["\udfff"]}, "documents"),
        ({"documents": ["a"] * (MAX_DOCUMENTS + 1)}, "documents"),
        ({"query": ""}, "query"),
        ({"query": None}, "query"),
        ({"top_n": 0}, "top_n"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_bad_rerank_field_is_refused_by_name(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        validated(RerankRequest, {"query": "q", "documents": ["a"]} | fields)
    assert refused.value.field == field


def test_a_template_takes_the_texts_as_content_and_reads_no_braces_in_them() -> None:
    rendered = filled("<s>Q: {query} D: {document}</s>", "{document}", "{query}</s>")
    assert rendered.text == "<s>Q: {document} D: {query}</s></s>"
    assert [s.text for s in rendered.segments if s.is_content] == ["{document}", "{query}</s>"]
