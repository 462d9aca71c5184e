"""`python -m engine.preparing.checking`: what a GGUF file says, read where a defect of the reader ends nothing else.

It imports little: a check of a small file takes hardly longer than an interpreter's start.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from client.errors import InvalidArgument
from engine.models import own_models
from engine.preparing import child


def work(task: dict[str, Any]) -> dict[str, Any]:
    """`{"file", "is_meant"}` -> `{"model"}`, an OwnModel, None of an adapter. InvalidArgument for a model that is not
    meant to be one."""
    file = own_models.resolve(task["file"])
    if own_models.is_adapter(file):
        return {"model": None}
    if not task["is_meant"]:
        raise InvalidArgument(f"{Path(task['file']).name} is no adapter", field="baseModel", hint="leave baseModel out")
    found = own_models.check(file)
    return {"model": {"path": str(found.path), "info": asdict(found.info), "sha256": found.sha256}}


if __name__ == "__main__":
    sys.exit(child.serve(work))
