"""The last view of each context, kept from one run to the next: small, the user's alone, and never in the way."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs


@dataclass(frozen=True, slots=True)
class View:
    """`page`: that of the list that was open, `deployment`: whose page it was; `filter`: of the fleet's table."""

    page: str = ""
    deployment: str = ""
    filter: str = ""
    show_deleted: bool = False
    theme: str = ""


def default_path() -> Path:
    return Path(platformdirs.user_state_dir("firedeck")) / "views.json"


class Views:
    """A file of views by context. What cannot be read is forgotten, what cannot be written is not kept."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def of(self, context: str) -> View:
        found = self._all().get(context)
        known = {name: found[name] for name in View.__dataclass_fields__ if name in found} if found else {}
        plain = {name: value for name, value in known.items() if type(value) is type(getattr(View(), name))}
        return View(**plain)

    def keep(self, context: str, view: View) -> None:
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
