"""What was acknowledged and snoozed, kept between two runs: one small JSON file, by context."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tui.core.inbox import Inbox
from tui.core.placed import context_of, join, plain


class InboxFile:
    """`path` None keeps nothing. What cannot be read is as if it were not there: an inbox must not stop a start."""

    def __init__(self, path: Path | None, known_as: Mapping[str, str]) -> None:
        """`known_as`: what the file calls each context, by its name; one alone has an empty one."""
        self._path, self._known_as = path, dict(known_as)

    def read(self) -> Inbox:
        found, kept = Inbox(), self._all()
        for context, known_as in self._known_as.items():
            one = _read(context, kept.get(known_as, {}))
            found = Inbox(seen={**found.seen, **one.seen}, snoozed={**found.snoozed, **one.snoozed})
        return found

    def write(self, inbox: Inbox) -> str:
        """Empty, or why it could not be kept."""
        if self._path is None:
            return ""
        kept = {known_as: _written(context, inbox) for context, known_as in self._known_as.items()}
        half = self._path.with_suffix(f".{os.getpid()}.part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            half.write_text(json.dumps(self._all() | kept))
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


def _read(context: str, kept: Any) -> Inbox:
    try:
        seen = {(name, join(context, of)): _instant(since) for name, of, since in kept.get("seen", [])}
        snoozed = {
            (name, join(context, of)): datetime.fromisoformat(until) for name, of, until in kept.get("snoozed", [])
        }
    except (ValueError, TypeError, AttributeError):
        return Inbox()
    return Inbox(seen=seen, snoozed=snoozed)


def _written(context: str, inbox: Inbox) -> dict[str, Any]:
    """The context's own part, by the names that its server has."""
    seen, snoozed = inbox.seen.items(), inbox.snoozed.items()
    return {
        "seen": [[name, plain(of), _text(at)] for (name, of), at in seen if context_of(of) == context],
        "snoozed": [[name, plain(of), _text(until)] for (name, of), until in snoozed if context_of(of) == context],
    }


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
