"""Uploads that go on after a broken connection: what has come stays, and the next PUT begins behind it.

    data   Piece      where in the file a PUT begins, or that it only asks how much is there
           Resumed    the unfinished files of a folder
    verbs  piece_of   from the header Content-Range
           Resumed.append   a piece at its place; how much is there afterwards
    near   `engine.uploads` gives the folder and settles what is whole; `engine.api.transfers` answers 308 or 200

As Google Cloud Storage has it: `Content-Range: bytes 100-199/200` sends a piece, `bytes */200` asks, and 308 with
`Range: bytes=0-99` says how much is there. Source:
https://cloud.google.com/storage/docs/performing-resumable-uploads#status-check
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from client.errors import FailedPrecondition, InvalidArgument, PayloadTooLarge

UNFINISHED, WHOLE = "resumed", "whole"  # endings of what lies beside files; both kinds begin with a dot
_RANGE = re.compile(r"bytes (?:(\d{1,15})-(\d{1,15})|\*)/(\d{1,15})", re.ASCII)
_VERSION = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True, slots=True)
class Piece:
    """`first` is the place of its first byte, None where it is only asked how much there is; `total` of the file."""

    first: int | None
    total: int


def piece_of(content_range: str) -> Piece:
    """InvalidArgument for what is no Content-Range of bytes."""
    found = _RANGE.fullmatch(content_range)
    if found is None:
        raise InvalidArgument(
            f"Content-Range {content_range[:80]!r} is not known", hint="write bytes 0-99/200, or bytes */200 to ask"
        )
    return Piece(int(found[1]) if found[1] is not None else None, int(found[3]))


def check_version(version: str) -> str:
    """What tells one state of the sender's file from another, so that their pieces never mix."""
    if not _VERSION.fullmatch(version):
        raise InvalidArgument(
            "x-firedeck-version is 8 to 64 hexadecimal digits", hint="give a digest of the file's size and time"
        )
    return version


class Resumed:
    """Of one connection at a time, the newest: another that still writes to the same file is told to stop."""

    def __init__(self) -> None:
        self._writers: dict[Path, object] = {}

    async def append(self, part: Path, piece: Piece, chunks: AsyncIterator[bytes]) -> int:
        """How many bytes are there now. A piece that does not begin where they end is not read. PayloadTooLarge where
        more comes than was announced; what breaks while it comes in is raised as it is, and what came stays."""
        have = size_of(part)
        if piece.first != have:
            return have
        writer = self._writers[part] = object()
        try:
            with part.open("ab") as out:
                async for chunk in chunks:
                    if self._writers.get(part) is not writer:
                        raise FailedPrecondition("another connection goes on with this upload", hint="let it end")
                    have += len(chunk)
                    if have > piece.total:
                        _remove(part)
                        raise PayloadTooLarge(f"{part.name} was announced with {piece.total} bytes")
                    out.write(chunk)
                    out.flush()  # whoever asks next must not be told less than has come
        finally:
            if self._writers.get(part) is writer:
                del self._writers[part]
        return have


def size_of(part: Path) -> int:
    """In bytes; 0 where there is none."""
    return part.stat().st_size if part.exists() else 0


def part_of(folder: Path, file: str, version: str) -> Path:
    """The unfinished file of this version; those of others are removed."""
    mine = folder / f".{file}.{version}.{UNFINISHED}"
    for other in _beside(folder, file, UNFINISHED):
        if other != mine:
            _remove(other)
    return mine


def is_whole(folder: Path, file: str, version: str, size_bytes: int) -> bool:
    """Whether just this version has come whole before."""
    there = folder / file
    return _mark(folder, file, version).exists() and there.is_file() and there.stat().st_size == size_bytes


def settle(whole: Path, folder: Path, file: str, version: str | None) -> None:
    """Put what has come whole into its place. `version` None: it did not come in pieces."""
    if version is not None and not whole.exists() and _mark(folder, file, version).exists():
        return  # the same pieces came twice, and the other was faster
    for old in _beside(folder, file, WHOLE):  # first: a mark that outlives a kill would vouch for other bytes
        _remove(old)
    whole.replace(folder / file)
    if version is not None:
        _mark(folder, file, version).touch()


def _mark(folder: Path, file: str, version: str) -> Path:
    """Is there where just this version has come whole."""
    return folder / f".{file}.{version}.{WHOLE}"


def _remove(file: Path) -> None:
    file.unlink(missing_ok=True)


def _beside(folder: Path, file: str, ending: str) -> list[Path]:
    """File names have no character that means something to `glob`."""
    return list(folder.glob(f".{file}.*.{ending}"))
