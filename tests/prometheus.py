"""Debian's Prometheus, for tests that ask the real one: its linter, its rule engine and its server."""

from __future__ import annotations

import shutil
import subprocess

import pytest

INSTALL = "apt-get install --no-install-recommends prometheus"


def program(name: str) -> str:
    """The path of `promtool` or `prometheus`; without it the test is skipped, and says what would install it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: {INSTALL}")
    return found


def promtool(*words: str, stdin: bytes = b"") -> tuple[int, str]:
    """(exit status, all that it said)."""
    done = subprocess.run(
        [program("promtool"), *words], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode, done.stdout.decode()
