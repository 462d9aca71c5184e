"""Files over HTTP: sent to a signed URL, or fetched from one, from where they were interrupted.

verbs  put   a file is sent; to an engine of ours it goes on behind what came before the connection broke
       get   a file is fetched; what an earlier try left in `FILE.part` is gone on with (RFC 9110, ranges)
near   `Client.models.upload` and `Client.models.download` know which URLs

A connection that breaks is made anew, as often as `client.retries` says without a byte in between, and as often as it
takes while there are some. Who asks again later goes on there too.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from client.errors import FiredeckError, Internal, InvalidArgument
from client.http import Transport
from client.retries import Attempts, Retry

CHUNK_BYTES = 1 << 20
PARTIAL_CONTENT, RESUME = 206, 308
OWN_PATH = "/firedeck/v1/files/"  # of an engine's own signed URLs: object stores know nothing of pieces
TRIES = Retry(5)  # without a byte in between
Progress = Callable[[int, int | None], object]  # bytes done; in all, None where that is not known
_RANGE = re.compile(r"bytes=0-(\d+)", re.ASCII)


def unwatched(done_bytes: int, total_bytes: int | None) -> None:
    """For who wants no progress told."""


async def put(transport: Transport, url: str, file: Path, progress: Progress = unwatched) -> None:
    """Send `file`, whose size the URL was signed for."""
    size = size_of(file)
    if size and url.startswith(transport.base_url + OWN_PATH):
        upload = _Upload(transport, url, file, progress)
        await _persistently(upload.go_on, lambda: upload.done)
        return
    headers = {
        "content-type": "application/octet-stream", "content-length": str(size),
        "x-goog-content-length-range": f"{size},{size}",
    }  # fmt: skip
    async with transport.signed("PUT", url, headers=headers, content=_read(file, 0, size, progress)) as answer:
        await answer.aread()


async def get(transport: Transport, url: str, file: Path, progress: Progress = unwatched) -> None:
    """Write what the URL has into `file`, which must not be there. A partial one stays where this is interrupted."""
    part = _part_of(file)
    await _persistently(lambda: _fetch(transport, url, part, progress), lambda: size_of(part))
    part.rename(file)
    _tag_of(part).unlink(missing_ok=True)


async def _persistently(work: Callable[[], Awaitable[None]], done: Callable[[], int]) -> None:
    """Until `work` ends well: what breaks is done again, counting anew whenever there are more bytes than before."""
    attempts, before = Attempts(TRIES), done()
    while True:
        try:
            await work()
        except FiredeckError as error:
            if done() > before:
                attempts, before = Attempts(TRIES), done()
            await attempts.pause(error)
        else:
            return


class _Upload:
    """One file on its way; `done` is how many bytes of it the engine has, as far as is known."""

    def __init__(self, transport: Transport, url: str, file: Path, progress: Progress) -> None:
        self._transport, self._url, self._file, self._progress = transport, url, file, progress
        self._size = size_of(file)
        changed = f"{file.name} {self._size} {file.stat().st_mtime_ns}"
        self._version = hashlib.sha256(changed.encode()).hexdigest()[:32]
        self.done = 0

    async def go_on(self) -> None:
        """Ask what is there, and send the rest."""
        self.done = await self._send(f"bytes */{self._size}", 0, None)
        if self.done < self._size:
            content = _read(self._file, self.done, self._size, self._sent)
            range_ = f"bytes {self.done}-{self._size - 1}/{self._size}"
            self.done = await self._send(range_, self._size - self.done, content)
        if self.done < self._size:
            raise Internal(f"{self._file.name} ended after {self.done} of {self._size} bytes", hint="ask again")
        self._progress(self._size, self._size)

    def _sent(self, done_bytes: int, total_bytes: int | None) -> None:
        self.done = done_bytes
        if done_bytes != total_bytes:  # all of it is there once the engine says so
            self._progress(done_bytes, total_bytes)

    async def _send(self, content_range: str, length: int, content: AsyncIterator[bytes] | None) -> int:
        headers = {
            "content-type": "application/octet-stream", "content-length": str(length), "content-range": content_range,
            "x-firedeck-version": self._version,
        }  # fmt: skip
        async with self._transport.signed("PUT", self._url, headers=headers, content=content) as answer:
            await answer.aread()
            if answer.status_code != RESUME:
                return self._size
            found = _RANGE.fullmatch(answer.headers.get("range", ""))
            return int(found[1]) + 1 if found else 0


async def _fetch(transport: Transport, url: str, part: Path, progress: Progress) -> None:
    """Append to `part` what it lacks; a file that is another one meanwhile comes anew."""
    done = max(0, size_of(part) - 1)  # a range must not be empty, and a part may be all of it
    tag = _tag_of(part)
    headers = {"range": f"bytes={done}-"} if done else {}
    if done and tag.exists():
        headers["if-range"] = tag.read_text()
    async with transport.signed("GET", url, headers=headers) as answer:
        if answer.status_code != PARTIAL_CONTENT:
            done = 0  # the whole file comes
        _keep(tag, answer.headers.get("etag"))
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
        raise Internal(f"{part.stem} ended after {done} of {total} bytes", hint="ask again: it goes on from there")


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


def _tag_of(part: Path) -> Path:
    """Where it is kept which state of the file the part is of: its ETag."""
    return part.with_name(part.name + ".etag")


def _keep(tag: Path, etag: str | None) -> None:
    """None of what came before is left where the answer has none."""
    if etag is None:
        tag.unlink(missing_ok=True)
    else:
        tag.write_text(etag)


async def _read(file: Path, first: int, size: int, progress: Progress) -> AsyncIterator[bytes]:
    done = first
    with file.open("rb") as source:
        source.seek(first)
        while chunk := await asyncio.to_thread(source.read, CHUNK_BYTES):
            yield chunk
            done += len(chunk)
            progress(done, size)
