"""Dimensions from GGUF headers: dense, grouped, per-layer, recurrent and encoder models, built by hand."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from client.errors import InvalidArgument
from engine.models import dimensions, fetch
from engine.models.catalogue import find
from engine.models.dimensions import Dimensions
from tests.unit.test_models_gguf import ARRAY, BOOL, DATA, TENSORS, U32, array, build, key, keys, tensor, u32


def read(folder: Path, *extra: bytes, tensors: list[bytes] | None = None, data: bytes = DATA) -> Dimensions:
    path = folder / "tiny.gguf"
    path.write_bytes(build(keys(*extra), tensors, data))
    return dimensions.read(path)


HEADS = [u32("llama.attention.head_count", 4), u32("llama.feed_forward_length", 64)]


def test_head_sizes_follow_from_the_width_where_the_file_does_not_say(tmp_path):
    found = read(tmp_path, *HEADS, u32("llama.attention.head_count_kv", 2))
    assert (found.kv_heads, found.key_length, found.value_length) == ((2,), 8, 8)
    assert (found.embedding_length, found.feed_forward_length, found.vocabulary_size) == (32, 64, 3)
    assert found.weights_bytes == (tmp_path / "tiny.gguf").stat().st_size
    assert found.over_estimated == ""


def test_without_a_number_of_kv_heads_every_head_has_its_own(tmp_path):
    assert read(tmp_path, *HEADS).kv_heads == (4,)


def test_heads_and_head_sizes_that_the_file_names_are_taken(tmp_path):
    each = key("llama.attention.head_count_kv", ARRAY, array(U32, [struct.pack("<I", 3)]))
    found = read(tmp_path, *HEADS, each, u32("llama.attention.key_length", 16), u32("llama.attention.value_length", 24))
    assert (found.kv_heads, found.key_length, found.value_length) == ((3,), 16, 24)


def test_recurrent_layers_have_a_state_and_the_doubt_is_said(tmp_path):
    ssm = [u32(f"llama.ssm.{name}", value) for name, value in
           (("inner_size", 100), ("state_size", 16), ("conv_kernel", 4), ("group_count", 1))]  # fmt: skip
    found = read(tmp_path, *HEADS, *ssm)
    assert found.state_elements == 3 * (100 + 32) + 1600
    assert "recurrent" in found.over_estimated
    rwkv = read(tmp_path, u32("llama.wkv.head_size", 8))
    assert (rwkv.state_elements, sum(rwkv.kv_heads)) == (32 * 10, 0)


@pytest.mark.parametrize("name", ["attention.kv_lora_rank", "attention.shared_kv_layers"])
def test_what_is_over_estimated_is_said(tmp_path, name):
    assert read(tmp_path, *HEADS, u32(f"llama.{name}", 5)).over_estimated


def test_an_encoder_keeps_no_cache(tmp_path):
    assert read(tmp_path, *HEADS, key("llama.attention.causal", BOOL, b"\0")).kv_heads == ()


def test_an_adapter_of_rank_one_has_a_row_and_a_column_for_each_matrix_of_a_layer(tmp_path):
    matrix = tensor("blk.0.attn_q.weight", (32, 64), 0, 224)
    found = read(tmp_path, *HEADS, tensors=[*TENSORS, matrix], data=DATA + bytes(32 * 64 * 4))
    assert found.adapter_elements == 32 + 64


def test_numbers_that_lie_cost_nothing(tmp_path):
    found = read(tmp_path, u32("llama.attention.head_count", 2**32 - 1), u32("llama.ssm.inner_size", 2**32 - 1))
    assert len(found.kv_heads) == 1
    (tmp_path / "no.gguf").write_bytes(b"no")
    with pytest.raises(InvalidArgument):
        dimensions.read(tmp_path / "no.gguf")


@pytest.mark.model
def test_the_embedded_models_are_what_their_makers_say():
    smollm2 = dimensions.read(fetch.path_of(find("smollm2-135m-instruct")))
    assert (smollm2.kv_heads, smollm2.key_length, smollm2.vocabulary_size) == ((3,) * 30, 64, 49152)
    gemma = dimensions.read(fetch.path_of(find("gemma-3-270m")))
    assert (gemma.kv_heads, gemma.key_length, gemma.vocabulary_size) == ((1,) * 18, 256, 262144)
