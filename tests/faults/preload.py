"""Faults below Python: a few lines of C between a process and its system, built when a test needs them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def built(name: str, folder: Path) -> str:
    """The path of `name`.c beside this file as a library to preload; the test is skipped where there is no compiler."""
    if sys.platform != "linux":
        pytest.skip("preloading is done on Linux alone")
    library, compiler = folder / f"{name}.so", shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run([compiler, "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return str(library)
