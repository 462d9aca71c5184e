"""Reports as files: a folder of their own, complete or not there."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Make `folder` with these texts in it. Raises OSError; then nothing is left of it."""
    half = folder.with_name(f".{folder.name}.part")
    try:
        half.mkdir(parents=True)
        for name, text in files.items():
            (half / name).write_text(text, encoding="utf-8")
        half.rename(folder)
    except OSError:
        shutil.rmtree(half, ignore_errors=True)
        raise
