"""Adapters as PEFT saves them: what becomes of their numbers, what is refused and why, and that no file can hurt."""

from __future__ import annotations

import contextlib
import json
import random
import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from client.errors import FailedPrecondition, FiredeckError, InvalidArgument
from engine.models import adapter, gguf_writer, peft, safetensors
from engine.models.header import Tensor
from tests import peft_files, seeds
from tests.peft_files import named

Q4_1 = 3
HEADS, KV_HEADS, WIDTH = 4, 2, 32  # heads of 8
SHAPES = {
    "attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, WIDTH // 2), "attn_v": (WIDTH, WIDTH // 2),
    "attn_output": (WIDTH, WIDTH), "ffn_gate": (WIDTH, 64), "ffn_up": (WIDTH, 64), "ffn_down": (64, WIDTH),
}  # fmt: skip
TENSORS = {f"blk.0.{name}.weight": Tensor(f"blk.0.{name}.weight", shape, Q4_1, 0) for name, shape in SHAPES.items()}
LLAMA = adapter.BaseFacts("llama", TENSORS, HEADS, KV_HEADS)
QWEN = adapter.BaseFacts("qwen2", TENSORS, HEADS, KV_HEADS)
Q = "blk.0.attn_q.weight"
Values = dict[str, NDArray[Any]]


def tensors(rank: int = 4) -> dict[str, NDArray[np.float32]]:
    return peft_files.random_tensors(LLAMA, seed=7, rank=rank, layers=1)


def converted(folder: Path, base: adapter.BaseFacts = LLAMA) -> tuple[Values, float]:
    """What the `gguf` package reads in the file that is made of a folder, and its alpha."""
    made = peft.convert(peft.files_in(folder), base, folder / "out" / "made.gguf")
    assert adapter.read(made, base).architecture == base.architecture
    reader = gguf.GGUFReader(made)
    alpha = reader.fields["adapter.lora.alpha"]
    values = {one.name: np.array(one.data) for one in reader.tensors}
    return values, float(alpha.parts[alpha.data[0]][0])


def swapped(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """By hand: row i of a head's first half goes to place 2i of the head, row i of its second half to 2i + 1."""
    out, head = np.empty_like(rows), len(rows) // heads
    for n in range(heads):
        for i in range(head // 2):
            out[n * head + 2 * i] = rows[n * head + i]
            out[n * head + 2 * i + 1] = rows[n * head + head // 2 + i]
    return out


def test_a_llama_adapter_keeps_its_numbers_with_query_and_key_rows_in_the_files_order(tmp_path: Path) -> None:
    given = tensors()
    found, alpha = converted(peft_files.folder(tmp_path, given, lora_alpha=16))
    assert alpha == 16
    assert len(found) == 2 * len(SHAPES)
    for target in TENSORS:
        heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(target.split(".")[2], 0)
        b = given[named(target, "B")]
        assert np.array_equal(found[f"{target}.lora_a"], given[named(target, "A")]), target
        assert np.array_equal(found[f"{target}.lora_b"], swapped(b, heads) if heads else b), target


def test_where_the_base_has_its_rows_as_trained_nothing_is_moved(tmp_path: Path) -> None:
    given = tensors()
    found, _ = converted(peft_files.folder(tmp_path, given), QWEN)
    assert all(np.array_equal(found[f"{t}.lora_b"], given[named(t, "B")]) for t in TENSORS)


def test_half_and_brain_floats_become_the_floats_that_they_stand_for(tmp_path: Path) -> None:
    given: Values = {**tensors()}
    half = given[named(Q, "A")].astype(np.float16)
    brain = (given[named(Q, "B")].view(np.uint32) >> 16).astype(np.uint16)
    given |= {named(Q, "A"): half, named(Q, "B"): brain}
    found, _ = converted(peft_files.folder(tmp_path, given), QWEN)
    assert np.array_equal(found[f"{Q}.lora_a"], half.astype(np.float32))
    assert np.array_equal(found[f"{Q}.lora_b"], (brain.astype(np.uint32) << 16).view(np.float32))


def test_rank_stabilised_scale_goes_into_b(tmp_path: Path) -> None:
    given = tensors(rank=4)
    found, alpha = converted(peft_files.folder(tmp_path, given, lora_alpha=8, use_rslora=True), QWEN)
    served = found[f"{Q}.lora_b"] @ found[f"{Q}.lora_a"] * (alpha / 4)
    meant = given[named(Q, "B")] @ given[named(Q, "A")] * (8 / 4**0.5)
    assert np.allclose(served, meant, rtol=1e-6)


@pytest.mark.parametrize(
    "prefix", ["base_model.model.", "base_model.model.model.language_model.", "base_model.model.language_model.model."]
)
def test_what_stands_before_the_layers_does_not_matter(tmp_path: Path, prefix: str) -> None:
    given = {name.replace("base_model.model.model.", prefix): values for name, values in tensors().items()}
    assert len(converted(peft_files.folder(tmp_path, given))[0]) == 2 * len(SHAPES)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"use_dora": True}, "DoRA"), ({"bias": "all"}, "biases"), ({"bias": ["x"]}, "biases"),
        ({"lora_bias": True}, "lora_bias"), ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"r": 2}, "rank r is"), ({"r": 65}, "rank r is"), ({"r": "8"}, "rank r is"), ({"r": True}, "rank r is"),
        ({"peft_type": "IA3"}, "IA3"), ({"init_lora_weights": "pissa_niter_4"}, "changes the base"),
        ({"init_lora_weights": "olora"}, "changes the base"), ({"alpha_pattern": {"q_proj": 3}}, "alpha_pattern"),
        ({"lora_alpha": 0}, "lora_alpha"), ({"lora_alpha": None}, "lora_alpha"), ({"lora_alpha": 1e9}, "lora_alpha"),
        ({"trainable_token_indices": [1]}, "embeddings"), ({"fan_in_fan_out": True}, "transposed"),
        ({"alora_invocation_tokens": [1]}, "aLoRA"), ({"target_parameters": ["x"]}, "target_parameters"),
        ({"use_qalora": True}, "QALoRA"), ({"layer_replication": [[0, 1]]}, "layer_replication"),
    ],
)  # fmt: skip
def test_what_a_gguf_adapter_cannot_hold_is_refused_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(FiredeckError, match=why) as caught:
        converted(peft_files.folder(tmp_path, tensors(), **changes))
    assert caught.value.status == 400
    assert (caught.value.hint == "train one of rank 4 to 64") == ("r" in changes)
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("base_model.model.model.embed_tokens.lora_embedding_A", "may not change"),
        ("base_model.model.lm_head.lora_A.weight", "may not change"),
        ("base_model.model.model.layers.0.mlp.experts.3.up_proj.lora_A.weight", "may not change"),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector", "may not change"),
        ("base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight", "other half"),
        ("base_model.model.layers.0.self_attn.q_proj.lora_A.weight", "twice"),
    ],
)
def test_other_tensors_are_refused_by_name(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(FiredeckError, match=why):
        converted(peft_files.folder(tmp_path, tensors() | {name: np.ones((4, WIDTH), np.float32)}))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({named(Q, "A"): np.ones((4, 31), np.float32)}, "do not fit"),
        ({named(Q, "B"): np.ones((32, 5), np.float32)}, "do not fit"),
        ({named(Q, "A"): np.ones((65, 32), np.float32), named(Q, "B"): np.ones((32, 65), np.float32)}, "do not fit"),
        ({named(Q, "A"): np.ones((0, 32), np.float32), named(Q, "B"): np.ones((32, 0), np.float32)}, "do not fit"),
        ({named(Q, "A"): np.ones((4, 32), np.int64)}, "I64"),
        ({named(Q, "A"): np.full((4, 32), np.inf, np.float32)}, "no numbers"),
    ],
)
def test_numbers_that_do_not_fit_the_base_are_refused(tmp_path: Path, changed: Values, why: str) -> None:
    with pytest.raises(FiredeckError, match=why):
        converted(peft_files.folder(tmp_path, {**tensors(), **changed}))


def test_a_base_whose_order_of_rows_is_not_known_is_refused(tmp_path: Path) -> None:
    folder = peft_files.folder(tmp_path, tensors())
    with pytest.raises(FailedPrecondition, match=r"'stablelm'.*not known") as caught:
        converted(folder, adapter.BaseFacts("stablelm", TENSORS, HEADS, KV_HEADS))
    assert "convert_lora_to_gguf.py" in (caught.value.hint or "")
    with pytest.raises(FailedPrecondition, match="are not those of 0 heads"):
        converted(folder, adapter.BaseFacts("llama", TENSORS))


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    folder = peft_files.folder(tmp_path, tensors())
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(FailedPrecondition, match="pickle"):
        converted(folder)
    (folder / "adapter_model.bin").unlink()
    with pytest.raises(FailedPrecondition, match=r"safetensors is missing"):
        converted(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"r": ' + "9" * 5000 + "}", " " * (2 << 20)])
def test_a_config_that_cannot_be_used_is_refused(tmp_path: Path, text: str) -> None:
    folder = peft_files.folder(tmp_path, tensors())
    (folder / "adapter_config.json").write_text(text)
    with pytest.raises(InvalidArgument, match="JSON object"):
        converted(folder)


def header(entries: dict[str, Any], data: bytes = b"\0" * 8) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "header of 0"), (b"\0" * 8, "header of 0"), (struct.pack("<Q", 1 << 63) + b"{}", "declares a header"),
        (struct.pack("<Q", 17 << 20) + b"{" + b" " * (17 << 20), "declares a header"), (b"PK\x03\x04" * 9, "header"),
        (struct.pack("<Q", 4) + b"nope", "not JSON"), (struct.pack("<Q", 2) + b"[]", "not a JSON object"),
        (struct.pack("<Q", 16) + b'{"a": 1, "a": 2}', "twice"), (header({"a": 3}), "no shape"),
        (header({"a": {**ONE, "dtype": "F7"}}), "unknown type"), (header({"a": {**ONE, "shape": [-2]}}), "no shape"),
        (header({"a": {**ONE, "shape": [True, 2]}}), "no shape"), (header({"a": ONE, "b": ONE}), "not at"),
        (header({"a": {**ONE, "shape": [3]}}), "does not fill"),
        (header({"a": {**ONE, "data_offsets": [8, 16]}}, b"\0" * 16), "not at"),
        (header({"a": ONE}, b"\0" * 9), "the file has"), (header({"a": ONE}, b"\0" * 4), "the file has"),
        (header({"a": {**ONE, "shape": [1 << 47, 1 << 47]}}), "does not fill"),
        (header({"__metadata__": {"a": 1}}, b""), "metadata"),
    ],
)  # fmt: skip
def test_a_header_that_lies_is_refused(tmp_path: Path, raw: bytes, why: str) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(raw)
    with pytest.raises(InvalidArgument, match=why), safetensors.opened(file):
        pass


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """The file with a bit, a length or an end that is not what it was."""
    at = chance.randrange(len(raw))
    how = chance.randrange(4)
    if how == 0:
        return raw[:at] + bytes([raw[at] ^ 1 << chance.randrange(8)]) + raw[at + 1 :]
    if how == 1:
        return raw[:at]
    if how == 2:
        return struct.pack("<Q", chance.choice([0, 1, len(raw), 1 << 31, 1 << 63, chance.getrandbits(16)])) + raw[8:]
    return raw[:at] + bytes(chance.choices(b'0123456789[]{}",:-e', k=chance.randrange(1, 6))) + raw[at:]


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.soak)])
def test_no_mutated_file_does_more_than_be_refused(tmp_path: Path, count: int) -> None:
    seed = seeds.of_run()
    print(f"seed {seed}")
    chance = random.Random(seed)
    folder = peft_files.folder(tmp_path, {name: tensors()[name] for name in (named(Q, "A"), named(Q, "B"))})
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        whole = (folder / name).read_bytes()
        for _ in range(count // 2):
            (folder / name).write_bytes(mutated(whole, chance))
            with contextlib.suppress(InvalidArgument, FailedPrecondition):
                made = peft.convert(peft.files_in(folder), LLAMA, tmp_path / "made.gguf")
                adapter.read(made, LLAMA)
        (folder / name).write_bytes(whole)


def test_a_file_that_is_written_says_what_it_was_given(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensors = [gguf_writer.FloatTensor(name, (2, 3), lambda: values) for name in ("a", "b")]
    made = gguf_writer.write(tmp_path / "a.gguf", {"general.architecture": "x", "n": 7, "f": 0.5}, tensors)
    reader = gguf.GGUFReader(made)
    assert {one.name: one.data.tolist() for one in reader.tensors} == {"a": values.tolist(), "b": values.tolist()}
    assert [int(reader.fields["n"].parts[-1][0]), float(reader.fields["f"].parts[-1][0])] == [7, 0.5]
