"""What was acknowledged and snoozed, kept between two runs: one small JSON file, by context."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from tui.core.inbox import Inbox


class InboxFile:
    """`path` None keeps nothing. What cannot be read is as if it were not there: an inbox must not stop a start."""

    def __init__(self, path: Path | None, context: str) -> None:
        self._path, self._context = path, context

    def read(self) -> Inbox:
        kept = self._all().get(self._context, {})
        try:
            seen = {(name, of): _instant(since) for name, of, since in kept.get("seen", [])}
            snoozed = {(name, of): datetime.fromisoformat(until) for name, of, until in kept.get("snoozed", [])}
        except (ValueError, TypeError, AttributeError):
            return Inbox()
        return Inbox(seen=seen, snoozed=snoozed)

    def write(self, inbox: Inbox) -> str:
        """Empty, or why it could not be kept."""
        if self._path is None:
            return ""
        kept = {
            "seen": [[*key, since.isoformat() if since else None] for key, since in inbox.seen.items()],
            "snoozed": [[*key, until.isoformat()] for key, until in inbox.snoozed.items()],
        }
        half = self._path.with_suffix(f".{os.getpid()}.part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            half.write_text(json.dumps(self._all() | {self._context: kept}))
            half.replace(self._path)
        except OSError as error:
            return f"not kept for the next start: {error}"
        return ""

    def _all(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_text()) if self._path is not None else {}
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
