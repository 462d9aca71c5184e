"""`python -m engine.preparing.conversion`: a folder of Hugging Face's made a GGUF file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from engine.models.customized import Conversation
from engine.models.hugging_face import convert
from engine.preparing import child


def work(task: dict[str, Any]) -> dict[str, Any]:
    """`{"files": {name: path}, "target", "name", "talk"?}` -> `{"unused": [name]}`."""
    files = {name: Path(path) for name, path in task["files"].items()}
    talk = Conversation(**task["talk"]) if task.get("talk") else None
    convert.convert(files, Path(task["target"]), task["name"], talk)
    return {"unused": convert.unused(files)}


if __name__ == "__main__":
    sys.exit(child.serve(work))
