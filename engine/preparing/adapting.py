"""`python -m engine.preparing.adapting`: a LoRA adapter checked with its base, or made a GGUF file of PEFT's files."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.models import adapter, own_adapters, peft
from engine.preparing import child


def work(task: dict[str, Any]) -> dict[str, Any]:
    """`{"base", "file"}` -> `{"path", "facts"}`, an OwnAdapter; `{"base", "files": {name: path}, "target"}` -> nothing
    but the file."""
    base = Path(task["base"])
    if "file" in task:
        found = own_adapters.check(task["file"], base)
        return {"path": str(found.path), "facts": asdict(found.facts)}
    files = {name: Path(path) for name, path in task["files"].items()}
    peft.convert(files, adapter.read_base(base), Path(task["target"]))
    return {}


if __name__ == "__main__":
    sys.exit(child.serve(work))
