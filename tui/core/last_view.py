"""What was looked at last in each context, kept from one run to the next: small, the user's alone, never in the way."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from tui.core.query import View


@dataclass(frozen=True, slots=True)
class LastView:
    """`page`: that of the list that was open, `deployment`: whose page it was; `tables`: how each page was looked at,
    by its name."""

    page: str = ""
    deployment: str = ""
    show_deleted: bool = False
    theme: str = ""
    tables: Mapping[str, View] = field(default_factory=dict)


def default_path() -> Path:
    return Path(platformdirs.user_state_dir("firedeck")) / "views.json"


class LastViews:
    """A file of views by context. What cannot be read is forgotten, what cannot be written is not kept."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def of(self, context: str) -> LastView:
        found = self._all().get(context, {})
        tables = found.get("tables")
        read = {name: _table(one) for name, one in tables.items()} if isinstance(tables, dict) else {}
        return LastView(**_plain(found, LastView()), tables=read)

    def keep(self, context: str, view: LastView) -> None:
        """Replaces the file at once: two dashboards that end together leave one of theirs, never a mixture."""
        kept = self._all() | {context: asdict(view)}
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(kept, indent=1), encoding="utf-8")
            beside.chmod(0o600)
            beside.replace(self.path)

    def _all(self) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {k: v for k, v in found.items() if isinstance(v, dict)} if isinstance(found, dict) else {}


def _table(found: object) -> View:
    if not isinstance(found, dict):
        return View()
    columns = found.get("columns")
    named = tuple(one for one in columns if isinstance(one, str)) if isinstance(columns, list) else ()
    return View(**_plain(found, View()), columns=named)


def _plain(found: Mapping[str, Any], usual: LastView | View) -> dict[str, Any]:
    """The texts and switches of a record that are of the kind that they should be."""
    return {
        name: found[name]
        for name in usual.__dataclass_fields__
        if name in found and type(found[name]) is type(getattr(usual, name)) and isinstance(found[name], str | bool)
    }
