"""`python -m engine.preparing.merging`: an adapter merged into its base's weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from engine.models.merge import merge
from engine.preparing import child


def work(task: dict[str, Any]) -> dict[str, Any]:
    """`{"base", "adapter", "target"}` -> nothing but the file."""
    merge(Path(task["base"]), Path(task["adapter"]), Path(task["target"]))
    return {}


if __name__ == "__main__":
    sys.exit(child.serve(work))
