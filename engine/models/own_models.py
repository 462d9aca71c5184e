"""Check a GGUF file of the user's own before it becomes a model: `firedeck model create MY-ID --file PATH`.

The file stays where it is. Its links are resolved once, here, and the path that comes back has none left, so that what
was checked is what a replica will open; the digest tells later whether it still is.
"""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from client.errors import FailedPrecondition, InvalidArgument
from engine.models import gguf
from engine.models.cursor import open_regular, unreadable
from engine.models.gguf import GgufInfo
from engine.models.progress import CHECKING, Progress, silent, stop_if

ADAPTER = "adapter"  # `general.type` of a file that holds no model but an adapter
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class OwnModel:
    """A checked file: `path` is absolute and free of links, `sha256` is of all its bytes."""

    path: Path
    info: GgufInfo
    sha256: str


def check(path: str | Path, progress: Progress = silent, cancel: threading.Event | None = None) -> OwnModel:
    """The file's facts and digest.

    Raises InvalidArgument when it is missing, unreadable or not a model that can be served, FailedPrecondition when it
    changes while it is read, Cancelled. Takes about a second per gigabyte: call it from a thread.
    """
    real = resolve(path)
    with open_regular(real) as fd:
        before = _identity(os.fstat(fd))
        info = gguf.read_open(fd, real.name)
        _check_servable(info, real.name)
        digest = _digest(fd, info.size_bytes, progress, cancel)
        if _identity(os.fstat(fd)) != before or _identity_at(real) != before:
            raise FailedPrecondition(
                f"{real} changed while it was being checked",
                field="file",
                hint="wait until whatever writes it is done, then try again",
            )
    return OwnModel(real, info, digest)


def is_adapter(path: Path) -> bool:
    """Whether a GGUF file says that it holds an adapter. InvalidArgument when it is no GGUF file."""
    return gguf.read(path).kind == ADAPTER


def resolve(path: str | Path) -> Path:
    """The file behind the path, with no link left in it. Links are welcome: Hugging Face's cache is made of them."""
    try:
        return Path(path).expanduser().resolve(strict=True)
    except (OSError, ValueError) as error:
        raise unreadable(Path(path), error) from None
    except RuntimeError as error:  # a loop of links, or ~nobody
        raise InvalidArgument(f"{path} cannot be followed: {error}", field="file") from None


def _check_servable(info: GgufInfo, name: str) -> None:
    problem, hint = _why_not(info)
    if problem:
        raise InvalidArgument(f"{name} {problem}", field="file", hint=hint)


def _why_not(info: GgufInfo) -> tuple[str, str]:
    if info.kind != "model":
        return f"holds no model but a part of one (general.type is {info.kind!r:.40})", "give the base model's own file"
    if info.split_count > 1:
        return f"is one of {info.split_count} pieces", "join them: llama-gguf-split --merge FIRST-PIECE WHOLE.gguf"
    if not info.parameter_count:
        return "holds no weights, only a vocabulary", "give the model's own file"
    if not info.vocabulary_size:
        return "holds no vocabulary, so text cannot be put into it", "convert the model again with its tokenizer"
    return "", ""


def _digest(fd: int, size_bytes: int, progress: Progress, cancel: threading.Event | None) -> str:
    """SHA-256 of the first `size_bytes`: a file that somebody keeps writing to must not keep us here."""
    digest, done = hashlib.sha256(), 0
    while done < size_bytes and (block := os.pread(fd, min(BLOCK_BYTES, size_bytes - done), done)):
        stop_if(cancel)
        digest.update(block)
        done += len(block)
        progress(done, size_bytes, CHECKING)
    return digest.hexdigest()


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _identity_at(path: Path) -> tuple[int, int, int, int] | None:
    """None when the file has disappeared."""
    try:
        return _identity(os.lstat(path))
    except OSError:
        return None
