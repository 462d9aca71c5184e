"""Uploads in pieces: what has come stays, nothing is written twice, and two states of one file never mix."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import FailedPrecondition, InvalidArgument, PayloadTooLarge
from engine.resumed import Piece, check_version, is_whole, part_of, piece_of, settle
from engine.uploads import Ticket, Uploads

MODEL, VERSION, OTHER = "accounts/local/models/m", "0123456789abcdef", "fedcba9876543210"
FILE = b"0123456789"
TICKET = Ticket("PUT", MODEL, "a.gguf", len(FILE), expires=100.0)


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path, b"k" * 32)


def anything_goes() -> None:
    """The model takes files."""


async def chunks(*parts: bytes, breaks: bool = False) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if breaks:
        raise ConnectionResetError


async def resumed(uploads: Uploads, first: int | None, *parts: bytes, version: str = VERSION) -> int:
    return await uploads.resume(TICKET, version, Piece(first, len(FILE)), chunks(*parts), anything_goes)


async def test_what_came_before_the_connection_broke_stays_and_the_rest_goes_behind_it(uploads: Uploads) -> None:
    assert await resumed(uploads, None) == 0
    broken = chunks(b"012", b"34", breaks=True)
    with pytest.raises(ConnectionResetError):
        await uploads.resume(TICKET, VERSION, Piece(0, 10), broken, anything_goes)
    assert await resumed(uploads, None) == 5
    assert uploads.files_of(MODEL) == {}, "what is not whole is nobody's file"
    assert await resumed(uploads, 5, b"567") == 8
    assert await resumed(uploads, 8, b"89") == 10
    assert uploads.gguf_of(MODEL).read_bytes() == FILE
    assert await resumed(uploads, None) == 10, "who asks again later has nothing to send"


@pytest.mark.parametrize("first", [0, 2, 4, 9])
async def test_a_piece_that_begins_elsewhere_is_not_written(uploads: Uploads, first: int) -> None:
    assert await resumed(uploads, 0, b"012") == 3
    assert await resumed(uploads, first, b"xxx") == 3
    assert await resumed(uploads, 3, FILE[3:]) == 10
    assert uploads.gguf_of(MODEL).read_bytes() == FILE


async def test_another_state_of_the_file_begins_anew(uploads: Uploads) -> None:
    assert await resumed(uploads, 0, b"012") == 3
    assert await resumed(uploads, None, version=OTHER) == 0
    assert await resumed(uploads, 0, FILE, version=OTHER) == 10
    assert uploads.gguf_of(MODEL).read_bytes() == FILE
    assert await resumed(uploads, None) == 0, "the former state is not what is there"


async def test_the_newest_connection_goes_on_and_the_one_before_it_stops(uploads: Uploads) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield FILE[:4]
        assert await resumed(uploads, 4, FILE[4:6]) == 6
        yield b"zz"

    assert await resumed(uploads, None) == 0
    slow = uploads.resume(TICKET, VERSION, Piece(0, 10), slowly(), anything_goes)
    with pytest.raises(FailedPrecondition, match="another connection"):
        await slow
    assert await resumed(uploads, 6, FILE[6:]) == 10
    assert uploads.gguf_of(MODEL).read_bytes() == FILE


async def test_more_than_was_announced_is_refused_and_nothing_of_it_stays(uploads: Uploads) -> None:
    with pytest.raises(PayloadTooLarge):
        await resumed(uploads, 0, FILE, b"more")
    assert await resumed(uploads, None) == 0
    with pytest.raises(InvalidArgument, match="announced with 10"):
        await uploads.resume(TICKET, VERSION, Piece(0, 11), chunks(), anything_goes)


async def test_a_model_that_takes_no_files_any_more_gets_none(uploads: Uploads) -> None:
    def ready() -> None:
        raise FailedPrecondition("it is READY")

    with pytest.raises(FailedPrecondition, match="READY"):
        await uploads.resume(TICKET, VERSION, Piece(0, 10), chunks(FILE), ready)
    assert uploads.files_of(MODEL) == {}


async def test_a_file_that_is_sent_whole_takes_the_place_of_one_that_came_in_pieces(uploads: Uploads) -> None:
    assert await resumed(uploads, 0, FILE) == 10
    await uploads.receive(TICKET, chunks(b"abcdefghij"), anything_goes)
    assert await resumed(uploads, None) == 0, "it is not the version that came before"
    assert uploads.gguf_of(MODEL).read_bytes() == b"abcdefghij"


@given(st.lists(st.integers(0, 4), max_size=12))
def test_however_often_it_breaks_the_file_is_what_was_sent(tmp_path_factory: pytest.TempPathFactory, sizes) -> None:
    uploads = Uploads(tmp_path_factory.mktemp("uploads"), b"k" * 32)

    async def send() -> None:
        have = 0
        for size in sizes:
            have = await resumed(uploads, have, FILE[have : have + size]) if have < len(FILE) else have
        assert await resumed(uploads, have, FILE[have:]) == len(FILE)

    asyncio.run(send())
    assert uploads.gguf_of(MODEL).read_bytes() == FILE


def test_the_same_pieces_that_came_twice_are_put_into_place_once(tmp_path: Path) -> None:
    whole = part_of(tmp_path, "a.gguf", VERSION)
    whole.write_bytes(FILE)
    for _ in range(2):
        settle(whole, tmp_path, "a.gguf", VERSION)
    assert (tmp_path / "a.gguf").read_bytes() == FILE
    assert is_whole(tmp_path, "a.gguf", VERSION, len(FILE))
    with pytest.raises(FileNotFoundError):
        settle(part_of(tmp_path, "a.gguf", OTHER), tmp_path, "a.gguf", OTHER)


@pytest.mark.parametrize(
    ("text", "piece"),
    [("bytes 0-99/200", Piece(0, 200)), ("bytes 100-199/200", Piece(100, 200)), ("bytes */200", Piece(None, 200))],
)
def test_what_a_content_range_says(text: str, piece: Piece) -> None:
    assert piece_of(text) == piece


@pytest.mark.parametrize("text", ["", "bytes", "bytes 0-9/*", "bytes=0-9/10", "bytes ²-3/4", "lines 0-9/10"])
def test_what_is_no_content_range_of_bytes_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        piece_of(text)


@pytest.mark.parametrize("version", ["", "abc", "../../../../x", "0123456G", "0" * 65])
def test_a_version_is_a_digest_and_nothing_that_a_path_could_mean(version: str) -> None:
    with pytest.raises(InvalidArgument):
        check_version(version)
