"""Files over HTTP: sent to a signed URL, or fetched from one, from where it was interrupted.

verbs  put   a file is sent whole
       get   a file is fetched; what an earlier try left in `FILE.part` is gone on with (RFC 9110, ranges)
near   `Client.models.upload` and `Client.models.download` know which URLs
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from client.errors import Internal, InvalidArgument
from client.http import Transport

CHUNK_BYTES = 1 << 20
PARTIAL_CONTENT = 206
Progress = Callable[[int, int | None], object]  # bytes done; in all, None where that is not known


def unwatched(done_bytes: int, total_bytes: int | None) -> None:
    """For who wants no progress told."""


async def put(transport: Transport, url: str, file: Path, progress: Progress = unwatched) -> None:
    """Send `file`, whose size the URL was signed for."""
    size = size_of(file)
    headers = {
        "content-type": "application/octet-stream", "content-length": str(size),
        "x-goog-content-length-range": f"{size},{size}",
    }  # fmt: skip
    async with transport.signed("PUT", url, headers=headers, content=_read(file, size, progress)) as answer:
        await answer.aread()


async def get(transport: Transport, url: str, file: Path, progress: Progress = unwatched) -> None:
    """Write what the URL has into `file`, which must not be there. A partial one stays where this is interrupted."""
    part = _part_of(file)
    done = max(0, size_of(part) - 1)  # a range must not be empty, and a part may be all of it
    headers = {"range": f"bytes={done}-"} if done else {}
    async with transport.signed("GET", url, headers=headers) as answer:
        if answer.status_code != PARTIAL_CONTENT:
            done = 0  # the whole file comes
        left = answer.headers.get("content-length", "")
        total = done + int(left) if left.isdecimal() else None
        with part.open("r+b" if done else "wb") as out:
            out.truncate(done)
            out.seek(done)
            async for chunk in answer.aiter_raw(CHUNK_BYTES):
                await asyncio.to_thread(out.write, chunk)
                done += len(chunk)
                progress(done, total)
    if total is not None and done != total:
        raise Internal(f"{file.name} ended after {done} of {total} bytes", hint="ask again: it goes on from there")
    part.rename(file)


def size_of(file: Path) -> int:
    """In bytes; 0 where there is none."""
    return file.stat().st_size if file.exists() else 0


def within(place: Path) -> list[Path]:
    """The files of a folder, or the one that `place` is itself."""
    return sorted(one for one in place.iterdir() if one.is_file()) if place.is_dir() else [place]


def _part_of(file: Path) -> Path:
    if file.exists():
        raise InvalidArgument(f"{file} is there already", hint="name another file, or remove it")
    return file.with_name(file.name + ".part")


async def _read(file: Path, size: int, progress: Progress) -> AsyncIterator[bytes]:
    done = 0
    with file.open("rb") as source:
        while chunk := await asyncio.to_thread(source.read, CHUNK_BYTES):
            yield chunk
            done += len(chunk)
            progress(done, size)
