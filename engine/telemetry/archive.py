"""The coarse points of each deployment's last day on disk: one file a deployment, of a fixed size at most.

    header (16 bytes)  magic, CRC-32 of what the file is of: series, step, deployment, when that was created
    8,640 places       a record of `history` (60 bytes) and its CRC-32: at most 552,976 bytes in all

A point's place follows from its time, so that the oldest is overwritten and nothing is ever moved or rewritten. What a
crash has torn fails its CRC and is a gap, as is a time in which no engine ran. Nothing is synced: a killed engine loses
what it had not handed over yet, a power cut may lose more, and neither loses what lies there. A file of something else
(another version's, another deployment's of the same name) is begun anew. Blocking: call it in a thread.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from zlib import crc32

from engine.telemetry.history import COARSE_POINTS, COARSE_STEP_S, RECORD, SERIES, at_of

FOLDER = "history"  # in the data folder
DAY_S = COARSE_POINTS * COARSE_STEP_S
_SUFFIX = ".day"
_MAGIC = b"fd-day1\n"
_HEADER = struct.Struct("<8sII")
_CRC = struct.Struct("<I")
_PLACE_BYTES = RECORD.size + _CRC.size
FILE_BYTES_MAX = _HEADER.size + COARSE_POINTS * _PLACE_BYTES


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose history a file holds; `born` tells it from an earlier one of the same name."""

    deployment: str
    born: str

    @property
    def file_name(self) -> str:
        return quote(self.deployment, safe="") + _SUFFIX

    @property
    def header(self) -> bytes:
        of = "\n".join((*SERIES, str(COARSE_STEP_S), self.deployment, self.born))
        return _HEADER.pack(_MAGIC, crc32(of.encode()), 0)


class Archive:
    """The files below one folder. OSError as the disk has it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, subject: Subject, now: float) -> list[bytes]:
        """The whole records of the day before `now` (epoch seconds), oldest first."""
        try:
            content = (self._folder / subject.file_name).read_bytes()
        except FileNotFoundError:
            return []
        if not content.startswith(subject.header):
            return []
        ends = range(_HEADER.size + _PLACE_BYTES, len(content) + 1, _PLACE_BYTES)
        records = (_whole(content[end - _PLACE_BYTES : end]) for end in ends)
        return sorted((r for r in records if r is not None and now - DAY_S < at_of(r) <= now), key=at_of)

    def save(self, subject: Subject, records: Iterable[bytes]) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(self._folder / subject.file_name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.pread(handle, _HEADER.size, 0) != subject.header:
                os.ftruncate(handle, 0)
                _write(handle, subject.header, 0)
            for record in records:
                place = int(at_of(record) // COARSE_STEP_S) % COARSE_POINTS
                _write(handle, record + _CRC.pack(crc32(record)), _HEADER.size + place * _PLACE_BYTES)
        finally:
            os.close(handle)

    def keep_only(self, subjects: Set[Subject]) -> None:
        """Remove the files of deployments that are gone."""
        kept = {subject.file_name for subject in subjects}
        for file in self._folder.glob(f"*{_SUFFIX}"):
            if file.name not in kept:
                with contextlib.suppress(FileNotFoundError):
                    file.unlink()


def _whole(place: bytes) -> bytes | None:
    record = place[: RECORD.size]
    return record if _CRC.pack(crc32(record)) == place[RECORD.size :] else None


def _write(handle: int, data: bytes, offset: int) -> None:
    if os.pwrite(handle, data, offset) != len(data):
        raise OSError("the disk took a part only")
