"""A copy of an engine's data folder, taken while the engine runs and writes, or while it does not.

The copy is a data folder itself: start an engine on it, or put it in the place of one that was lost. It holds what was
acknowledged before the copy began: the database by SQLite's online backup (sqlite.org/backup.html), checked as a whole
before the folder gets its name, and the keys that belong to it. Model files are not copied.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.config import ADMIN_KEY_FILE
from client.errors import FailedPrecondition
from engine.access.sealing import SEAL_KEY_FILE
from engine.files import SIMULATED, write_whole
from engine.store import disk
from engine.telemetry.audit import HEAD_FILE
from engine.telemetry.usage_journal import FILES as JOURNALS
from engine.uploads import FOLDER as UPLOADS

COPIED = (
    ADMIN_KEY_FILE,
    SEAL_KEY_FILE,
    SIMULATED,
)  # those that are there; nothing of them changes while an engine runs


@dataclass(frozen=True, slots=True)
class Backup:
    """`left_out`: uploaded model files, which lie in the data folder and are not in the copy."""

    folder: Path
    size_bytes: int
    left_out: tuple[Path, ...]


def back_up(data_dir: Path, folder: Path) -> Backup:
    """Copy what belongs to the engine of `data_dir` into `folder`, which must be new or empty.

    FailedPrecondition says what stands in the way; `folder` is then as it was.
    """
    if not (data_dir / disk.DATABASE).exists():
        raise FailedPrecondition(f"{data_dir} holds no engine's state", hint="say where it lies with --data-dir")
    unfinished = folder.with_name(f".{folder.name}.part-{os.getpid()}")
    try:
        if folder.exists() and any(folder.iterdir()):
            raise FailedPrecondition(f"{folder} is not empty", hint="name a folder that is not there yet")
        unfinished.mkdir(mode=0o700, parents=True)
        _copy(data_dir, unfinished)
        unfinished.replace(folder)
    except sqlite3.DatabaseError as error:
        raise FailedPrecondition(f"the state was not copied: {error}", hint=disk.remedy(error)) from error
    except OSError as error:
        raise _refusal(error, data_dir, folder) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    size_bytes = sum(file.stat().st_size for file in folder.iterdir())
    return Backup(folder, size_bytes, tuple(sorted(p for p in (data_dir / UPLOADS).rglob("*") if p.is_file())))


def _refusal(error: OSError, data_dir: Path, folder: Path) -> FailedPrecondition:
    why, file = error.strerror or error, error.filename
    if isinstance(file, str | os.PathLike) and Path(file).is_relative_to(data_dir):
        return FailedPrecondition(f"{file} cannot be read: {why}", hint="who owns it?")
    return FailedPrecondition(f"{folder} cannot be written: {why}", hint="choose another")


def _copy(data_dir: Path, to: Path) -> None:
    """The head of the audit log is taken on both sides of the database: what it says is the last record must be in the
    copy, and what it says is the first one may be no older than the copy's."""
    for name in JOURNALS:  # first: what leaves them meanwhile is in the database then
        with contextlib.suppress(FileNotFoundError):
            write_whole(to / name, (data_dir / name).read_text())
    before = _head(data_dir)
    disk.copy(data_dir / disk.DATABASE, to / disk.DATABASE)
    after = _head(data_dir)
    merged = {trail: {**ends, "first": after.get(trail, ends)["first"]} for trail, ends in before.items()}
    write_whole(to / HEAD_FILE, json.dumps(merged) + "\n")
    for name in COPIED:
        if (data_dir / name).exists():
            write_whole(to / name, (data_dir / name).read_text())


def _head(data_dir: Path) -> dict[str, Any]:
    try:
        found = json.loads((data_dir / HEAD_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
