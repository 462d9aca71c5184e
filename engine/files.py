"""Small files of a data folder: the name that several rooms know, and how one is written. A leaf."""

from __future__ import annotations

import os
from pathlib import Path

SIMULATED = "SIMULATED"  # the file in data folders whose deployments stand on virtual nodes


def write_whole(file: Path, text: str, *, durable: bool = True) -> None:
    """The file with this text or as it was before, whatever the process meets; `durable`: on disk when this returns.

    Mode 0600 from the start: there is no moment in which another user could read it. OSError as the disk has it.
    """
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)  # what a crash left
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        if durable:
            os.fsync(out.fileno())
    new.replace(file)
