"""What was changed from this dashboard: one JSON object a line, appended, readable by its owner alone."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import platformdirs

from client.config import Context


@dataclass(frozen=True, slots=True)
class Entry:
    """One change: when, by whom and where, what, and how it ended (`ok` or the error's text)."""

    time: datetime
    user: str
    context: str
    verb: str
    target: str
    before: dict[str, str]
    after: dict[str, str]
    outcome: str

    def at(self, target: str) -> Entry:
        """The same, of a target that is held by another name."""
        return replace(self, target=target)


def known_as(context: Context) -> str:
    """What the journal calls it."""
    return f"{context.name} {context.base_url}"


def default_path() -> Path:
    return Path(platformdirs.user_state_dir("firedeck")) / "journal.jsonl"


class Journal:
    """Appends to `path`, or keeps nothing when `path` is None. A full disk must not stop an operator: see `write`."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def write(self, entry: Entry) -> str:
        """Empty, or why the entry could not be kept (the change itself has happened by then)."""
        if self.path is None:
            return ""
        record = asdict(entry) | {"time": entry.time.astimezone(UTC).isoformat(timespec="milliseconds")}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        except OSError as error:
            return f"the change was made, but not written to the journal: {error}"
        return ""

    def read(self, limit: int) -> list[Entry]:
        """The newest entries, newest first. Lines that cannot be read (another version's, torn) are left out."""
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace") if self.path is not None else ""
        except OSError:
            return []
        return [entry for line in reversed(text.splitlines()[-limit:]) if (entry := _entry(line)) is not None]


def _entry(line: str) -> Entry | None:
    try:
        record = json.loads(line)
        return Entry(**{**record, "time": datetime.fromisoformat(record["time"])})
    except (ValueError, TypeError, KeyError):
        return None
