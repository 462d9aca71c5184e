"""Where a file of the hub came from, kept beside it: by that it is shown, and fetched again as it was.

    data   Origin   the commit of the repository, and the file's SHA-256 and size as the hub told them
    verbs  of       what was kept of a file, which need not be here; None where nothing was
           keep     write it down

A repository's main branch moves. Once a file was fetched its record names the commit: whatever removes the file, the
next fetch brings the same bytes or says that it cannot. Who wants what is there now removes the record too.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from engine.files import write_whole

SUFFIX = ".origin.json"
REMEMBERED = 256  # records that are not read again while they stay as they are


@dataclass(frozen=True, slots=True)
class Origin:
    """`revision`: the hash of a commit; "" where the hub names none, as mirrors may."""

    revision: str
    sha256: str
    size_bytes: int


def of(file: Path) -> Origin | None:
    record = record_of(file)
    try:
        return _read(record, record.stat().st_mtime_ns)
    except OSError:
        return None


def keep(file: Path, origin: Origin) -> None:
    """OSError as the disk has it."""
    write_whole(record_of(file), json.dumps(asdict(origin), indent=2) + "\n")


def record_of(file: Path) -> Path:
    return file.with_name(file.name + SUFFIX)


@lru_cache(REMEMBERED)
def _read(record: Path, modified_ns: int) -> Origin | None:
    """None for what is no record of this firedeck. A model is looked up with every request: hence the memory, and an
    OSError, which may be gone at the next look, is none of what is remembered."""
    try:
        told = Origin(**json.loads(record.read_text("utf-8")))
    except (ValueError, TypeError):
        return None
    is_whole = isinstance(told.revision, str) and isinstance(told.sha256, str) and isinstance(told.size_bytes, int)
    return told if is_whole else None
