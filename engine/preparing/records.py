"""What was prepared of which model, on disk: a folder a model, in it a file and a record for each precision.

    <folder>/<account>/<model>/FP8.gguf     the model in that precision; whole whenever it is there
    <folder>/<account>/<model>/FP8.json     what was asked for and what came of it

A file counts only with its record, which is written after it: what a crash leaves half done is removed at the start.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import ValidationError

from client.types import PreparedPrecision, Status, Wire
from engine.files import write_whole
from engine.precision import FAILED, PREPARING, READY

FOLDER = "prepared"  # in the data folder


class Record(Wire):
    """What is shown of it, the digest of the file that it was made of, its own size, and how often it was begun."""

    shown: PreparedPrecision
    source_digest: str
    size_bytes: int = 0
    attempts: int = 0


class Records:
    """All of them in memory, by model and precision, and on disk once they are written. One event loop, but for `load`,
    `write` and `forget`, which take the disk's time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, dict[str, Record]] = {}

    def load(self) -> None:
        """Read all records, and remove what no record that is READY stands for."""
        for folder in self._folder.glob("*/*/"):
            model = f"accounts/{folder.parent.name}/models/{folder.name}"
            found = dict(filter(None, map(_read, folder.glob("*.json"))))
            self._known[model] = found
            kept = {folder / f"{name}.gguf" for name, record in found.items() if record.shown.state == READY}
            kept |= {folder / f"{name}.json" for name in found}
            for file in folder.iterdir():
                if file not in kept:
                    file.unlink(missing_ok=True)

    def of(self, model: str, digest: str | None) -> list[PreparedPrecision]:
        """Those of the file with this digest (None: of a library's whose digest is not known), by precision; one whose
        own file is gone has FAILED."""
        known = self._known.get(model, {})
        return [
            record.shown if self._is_whole(model, name, record) else _gone(record.shown)
            for name, record in sorted(known.items())
            if record.source_digest == (digest or "")
        ]

    def get(self, model: str, precision: str) -> Record | None:
        return self._known.get(model, {}).get(precision)

    def pending(self) -> list[tuple[str, Record]]:
        """Those that are PREPARING, with the names of their models."""
        every = ((model, record) for model, known in self._known.items() for record in known.values())
        return [(model, record) for model, record in every if record.shown.state == PREPARING]

    def path(self, model: str, precision: str) -> Path:
        """Where the model lies in this precision, or would lie."""
        _, account, _, model_id = model.split("/")
        return self._folder / account / model_id / f"{precision}.gguf"

    def keep(self, model: str, record: Record) -> None:
        """In memory, in the place of an earlier one."""
        self._known.setdefault(model, {})[record.shown.precision] = record

    def write(self, model: str, record: Record) -> None:
        """On disk. OSError when that is full."""
        file = self.path(model, record.shown.precision).with_suffix(".json")
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(file, record.model_dump_json(by_alias=True, exclude_none=True))

    def drop(self, model: str) -> None:
        """Out of memory."""
        self._known.pop(model, None)

    def forget(self, model: str) -> None:
        """Remove from disk all that was prepared of a model."""
        shutil.rmtree(self.path(model, "").parent, ignore_errors=True)

    def _is_whole(self, model: str, precision: str, record: Record) -> bool:
        if record.shown.state != READY:
            return True
        try:
            return self.path(model, precision).stat().st_size == record.size_bytes
        except OSError:
            return False


def _read(file: Path) -> tuple[str, Record] | None:
    """By the precision in its name; None for what is no record of this firedeck."""
    try:
        return file.stem, Record.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def _gone(shown: PreparedPrecision) -> PreparedPrecision:
    why = Status(code="DATA_LOSS", message="its file is gone, or is not what it was: prepare it again")
    return shown.model_copy(update={"state": FAILED, "status": why})
