"""The GGUF reader: what it finds, what it refuses, and that no file can hurt it."""

from __future__ import annotations

import os
import random
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.errors import InvalidArgument
from engine.models import catalogue, fetch, gguf, header, own_models
from tests import seeds

U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def array(item_type: int, items: list[bytes]) -> bytes:
    return struct.pack("<IQ", item_type, len(items)) + b"".join(items)


def key(name: str, code: int, payload: bytes) -> bytes:
    return text(name) + struct.pack("<I", code) + payload


def u32(name: str, value: int) -> bytes:
    return key(name, U32, struct.pack("<I", value))


def string(name: str, value: str) -> bytes:
    return key(name, STRING, text(value))


def tensor(name: str, shape: tuple[int, ...], code: int, offset: int) -> bytes:
    return text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}QIQ", *shape, code, offset)


def vocabulary(texts: list[bytes], types: list[int]) -> list[bytes]:
    return [
        key("tokenizer.ggml.tokens", ARRAY, array(STRING, [text(piece) for piece in texts])),
        key("tokenizer.ggml.scores", ARRAY, array(F32, [struct.pack("<f", 0.0) for _ in texts])),
        key("tokenizer.ggml.token_type", ARRAY, array(I32, [struct.pack("<i", kind) for kind in types])),
    ]


def keys(*extra: bytes) -> list[bytes]:
    """A small language model's metadata, with `extra` behind it."""
    return [
        string("general.architecture", "llama"),
        string("general.name", "Tiny"),
        string("general.license", "mit"),
        u32("general.file_type", 3),
        u32("llama.context_length", 256),
        u32("llama.embedding_length", 32),
        u32("llama.block_count", 1),
        string("tokenizer.chat_template", "{{ messages }}"),
        *vocabulary([b"<unk>", b"<0x0A>", b"a"], [2, 6, 1]),
        *extra,
    ]


TENSORS = [tensor("token_embd.weight", (32, 4), 3, 0), tensor("output_norm.weight", (32,), 0, 96)]
DATA = bytes(96 + 128)  # 4 rows of one Q4_1 block (20 bytes), padded to 96; then 32 floats


def build(
    metadata: list[bytes] | None = None,
    tensors: list[bytes] | None = None,
    data: bytes = DATA,
    version: int = 3,
    alignment: int = 32,
) -> bytes:
    """A GGUF file by hand, so that the test shares no code with what it tests."""
    metadata = keys() if metadata is None else metadata
    tensors = TENSORS if tensors is None else tensors
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata)) + b"".join(metadata) + b"".join(tensors)
    return head + bytes(-len(head) % alignment) + data


def read(folder: Path, content: bytes) -> gguf.GgufInfo:
    path = folder / "tiny.gguf"
    path.write_bytes(content)
    return gguf.read(path)


def refusal(folder: Path, content: bytes) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        read(folder, content)
    return caught.value


def test_a_small_file_tells_its_facts(tmp_path: Path) -> None:
    content = build()
    assert read(tmp_path, content) == gguf.GgufInfo(
        kind="model", architecture="llama", name="Tiny", license="mit", quantization="Q4_1",
        parameter_count=32 * 4 + 32, tensor_count=2, size_bytes=len(content), context_length=256,
        embedding_length=32, block_count=1, vocabulary_size=3, has_chat_template=True, split_count=1,
    )  # fmt: skip


def test_version_2_reads_like_version_3(tmp_path: Path) -> None:
    assert read(tmp_path, build(version=2)).architecture == "llama"


def test_a_larger_alignment_is_followed(tmp_path: Path) -> None:
    norm = tensor("output_norm.weight", (32,), 0, 128)
    content = build(keys(u32("general.alignment", 128)), [TENSORS[0], norm], bytes(256), alignment=128)
    assert read(tmp_path, content).tensor_count == 2


def test_a_mixture_of_experts_tells_how_many_it_has(tmp_path: Path) -> None:
    assert read(tmp_path, build(keys(u32("llama.expert_count", 8)))).expert_count == 8


def test_what_the_file_does_not_say_is_none_not_zero(tmp_path: Path) -> None:
    info = read(tmp_path, build([string("general.architecture", "llama")]))
    assert (info.name, info.context_length, info.vocabulary_size, info.license) == (None, None, None, None)
    assert not info.has_chat_template
    assert info.quantization == "Q4_1", "the type that holds most weights, when the file has no word for it"


def test_escape_sequences_in_a_name_never_reach_a_terminal(tmp_path: Path) -> None:
    metadata = [string("general.architecture", "llama"), string("general.name", "\x1b]0;owned\x07Ti\nny")]
    assert read(tmp_path, build(metadata)).name == "]0;ownedTiny"


def test_long_texts_are_passed_over_and_shortened(tmp_path: Path) -> None:
    info = read(tmp_path, build([string("general.architecture", "llama"), string("general.name", "n" * 3_000_000)]))
    assert info.name == "n" * header.KEPT_TEXT_BYTES


@pytest.mark.parametrize(
    ("beginning", "words"),
    [
        (b"PK\x03\x04rest", ("starts with b'PK\\x03\\x04'", "ZIP", "convert_hf_to_gguf")),
        (b"version https://git-lfs", ("Git LFS", "git lfs pull")),
        (b"<!DOCTYPE html>", ("web page",)),
        (b"hello", ("starts with b'hell'", "give a .gguf file")),
        (b"GG", ("starts with b'GG'",)),
        (b"", ("it is empty",)),
    ],
)
def test_a_file_of_another_kind_is_named_for_what_it_is(tmp_path: Path, beginning: bytes, words: list[str]) -> None:
    error = refusal(tmp_path, beginning)
    assert "tiny.gguf is not a GGUF file" in error.text
    assert all(word in error.text for word in words), error.text


HUGE = 1 << 62
REFUSED = {
    "its format version is 1": build(version=1),
    "its format version is 4": build(version=4),
    "big-endian": build(version=3 << 24),
    "18,446,744,073,709,551,615 tensors": b"GGUF" + struct.pack("<IQQ", 3, (1 << 64) - 1, 1),
    "70,000 metadata keys": b"GGUF" + struct.pack("<IQQ", 3, 1, 70_000),
    "ends too early": build()[:200],
    "metadata key of 0 bytes": build([text("") + struct.pack("<II", U32, 1)]),
    "metadata key of 4,611": build([struct.pack("<Q", HUGE)]),
    "occurs twice": build(keys(u32("llama.block_count", 1))),
    "unknown type 13": build(keys(key("x", 13, b"1234"))),
    "items of the unusable type 9": build(keys(key("x", ARRAY, struct.pack("<IQ", ARRAY, 1)))),
    "declares 4,611,686,018,427,387,904 texts": build(keys(key("x", ARRAY, struct.pack("<IQ", STRING, HUGE)))),
    "it ends too early": build(keys(key("x", ARRAY, struct.pack("<IQ", U64, HUGE)))),
    "a text of 4,611": build(keys(key("x", STRING, struct.pack("<Q", HUGE)))),
    "alignment is 48": build(keys(u32("general.alignment", 48))),
    "alignment is 0": build(keys(u32("general.alignment", 0))),
    "alignment is 'x'": build(keys(string("general.alignment", "x"))),
    "alignment is True": build(keys(key("general.alignment", BOOL, b"\1"))),
    "has 5 dimensions": build(tensors=[tensor("t", (32, 1, 1, 1, 1), 0, 0)]),
    "has 0 dimensions": build(tensors=[tensor("t", (), 0, 0)]),
    "unknown type 4;": build(tensors=[tensor("t", (32,), 4, 0)]),
    "impossible shape (31,) for Q4_1": build(tensors=[tensor("t", (31,), 3, 0)]),
    "impossible shape (0, 4)": build(tensors=[tensor("t", (0, 4), 0, 0)]),
    "impossible shape (4294967296": build(tensors=[tensor("t", (1 << 32, 1 << 32, 32), 0, 0)]),
    "'t' occurs twice": build(tensors=[tensor("t", (32,), 0, 0), tensor("t", (32,), 0, 128)]),
    "is at offset 64, not 128": build(tensors=[tensor("a", (32,), 0, 0), tensor("b", (8,), 0, 64)]),
    "ends at byte": build(data=DATA[:-1]),
    "a text of 64 bytes": build(tensors=[tensor("t" * 64, (32,), 0, 0)]),
    "which architecture": build([]),
    "'llama.context_length' is not a count": build([keys()[0], string("llama.context_length", "many")]),
    "'general.name' is not a text": build([keys()[0], u32("general.name", 1)]),
    "is not a list of texts": build([keys()[0], key("tokenizer.ggml.tokens", ARRAY, array(U32, [b"1234"]))]),
    "a type for each token": build([keys()[0], *vocabulary([b"a", b"b"], [1])]),
    "a score for each token": build([keys()[0], vocabulary([b"a"], [1])[0], vocabulary([], [])[1]]),
    "byte token b'<0x-1>'": build([keys()[0], *vocabulary([b"<0x-1>"], [6])]),
    "byte token b'a'": build([keys()[0], *vocabulary([b"a"], [6])]),
}


@pytest.mark.parametrize(("words", "content"), REFUSED.items(), ids=REFUSED.keys())
def test_each_broken_rule_is_refused_in_a_sentence_with_a_remedy(tmp_path: Path, words: str, content: bytes) -> None:
    error = refusal(tmp_path, content)
    assert words.rstrip(";") in error.message
    assert error.hint
    assert error.field == "file"


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "device", "nul"])
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    paths = {"missing": tmp_path / "no.gguf", "folder": tmp_path, "device": Path("/dev/zero"), "nul": Path("a\0b")}
    if kind == "pipe":
        os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidArgument):
        gguf.read(paths.get(kind, tmp_path / "pipe"))


def test_a_lying_length_costs_no_memory(tmp_path: Path) -> None:
    contents = [build(keys(key("x", STRING, struct.pack("<Q", size)))) for size in (60 << 20, HUGE)]
    tracemalloc.start()
    for content in contents:
        refusal(tmp_path, content)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 4 << 20


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    content = build()
    for size in range(len(content)):
        refusal(tmp_path, content[:size])


def survives(folder: Path, content: bytes) -> None:
    """Read it or refuse it: any other exception fails the test."""
    try:
        read(folder, content)
    except InvalidArgument as error:
        refused = error.message
    else:
        refused = "read"
    assert refused
    assert refused.isprintable()


fuzz = settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
SEED = build()
EDGES = [(1 << bits) - 1 for bits in range(8, 65)]
NUMBERS = st.one_of(st.integers(0, 300), st.sampled_from(EDGES), st.integers(0, 2**64 - 1))


@fuzz
@given(flips=st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.integers(0, 7)), min_size=1, max_size=8))
def test_flipped_bits_never_do_more_than_be_refused(tmp_path: Path, flips: list[tuple[int, int]]) -> None:
    content = bytearray(SEED)
    for place, bit in flips:
        content[place] ^= 1 << bit
    survives(tmp_path, bytes(content))


@fuzz
@given(place=st.integers(4, len(SEED) - 8), number=NUMBERS, width=st.sampled_from(["<I", "<Q"]))
def test_a_lying_number_anywhere_never_does_more_than_be_refused(
    tmp_path: Path, place: int, number: int, width: str
) -> None:
    content = bytearray(SEED)
    struct.pack_into(width, content, place, number & (0xFFFFFFFF if width == "<I" else 2**64 - 1))
    survives(tmp_path, bytes(content))


@fuzz
@given(begin=st.integers(4, len(SEED)), end=st.integers(4, len(SEED)), insert=st.binary(max_size=64))
def test_a_replaced_stretch_never_does_more_than_be_refused(
    tmp_path: Path, begin: int, end: int, insert: bytes
) -> None:
    survives(tmp_path, SEED[: min(begin, end)] + insert + SEED[max(begin, end) :])


@fuzz
@given(st.binary(max_size=400))
def test_noise_behind_the_magic_is_refused(tmp_path: Path, noise: bytes) -> None:
    refusal(tmp_path, b"GGUF" + noise)


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The file with a bit, a number or an end that is not what it was, or with bytes put in or taken out."""
    at, how = chance.randrange(4, len(content)), chance.randrange(4)
    if how == 0:
        return content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :]
    if how == 1:
        return content[:at]
    if how == 2:
        number = chance.choice([*EDGES, len(content), chance.getrandbits(16)])
        return content[:at] + struct.pack("<Q", number) + content[at + 8 :]
    return content[:at] + chance.randbytes(chance.randrange(16)) + content[at + chance.randrange(16) :]


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.soak)])
def test_no_damaged_file_does_more_than_be_refused(tmp_path: Path, count: int) -> None:
    """Damaged once to four times. What is let through is read again by the check of users' files."""
    seed = seeds.of_run()
    print(f"seed {seed}")
    chance, read = random.Random(seed), 0
    for _ in range(count):
        content = SEED
        for _again in range(chance.choice([1, 1, 2, 4])):
            content = damaged(content, chance) if len(content) > 4 else content
        survives(tmp_path, content)
        try:
            own_models.check(tmp_path / "tiny.gguf")
        except InvalidArgument:
            continue
        read += 1
    assert 0 < read < count
    print(f"{read} of {count} are models still, {count - read} were refused")


@pytest.mark.model
@pytest.mark.parametrize("entry", catalogue.embedded(), ids=lambda entry: entry.id)
def test_the_catalogue_says_what_the_embedded_files_say(entry: catalogue.Entry) -> None:
    if not fetch.is_present(entry):
        pytest.fail("not in the cache: run `make install`")
    info = gguf.read(fetch.path_of(entry))
    assert (info.architecture, info.quantization, info.parameter_count, info.context_length, info.size_bytes) == (
        entry.architecture, entry.quantization, entry.parameter_count, entry.context_length, entry.size_bytes
    )  # fmt: skip
    assert info.has_chat_template == entry.supports_chat


@pytest.mark.model
def test_smollm2_is_read_exactly() -> None:
    entry = catalogue.find("smollm2-135m-instruct")
    if not fetch.is_present(entry):
        pytest.fail("not in the cache: run `make install`")
    info = gguf.read(fetch.path_of(entry))
    assert (info.tensor_count, info.vocabulary_size, info.block_count, info.embedding_length, info.license) == (
        272, 49_152, 30, 576, "apache-2.0",
    )  # fmt: skip
