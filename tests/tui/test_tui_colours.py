"""`NO_COLOR` on a terminal: neither the text of `--once` nor the screen has a colour."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import time

import pytest

from tests.processes import PATIENCE_S, environment, firedeck

COLOUR = re.compile(rb"\x1b\[[0-9;:]*m")


def on_a_terminal(environ: dict[str, str], *options: str) -> bytes:
    """What a command writes to a terminal of its own until it ends."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        firedeck("dashboard", *options), stdin=its, stdout=its, stderr=its, env=environment(environ),
        start_new_session=True,
    )  # fmt: skip
    os.close(its)
    written, until = b"", time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < until and (block := _read(ours)):
            written += block
        assert process.wait(PATIENCE_S) == 0, written
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return written


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # what Linux says once the last writer is gone
        return b""


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {}])
def test_the_fleet_as_text_has_no_colour_code_on_a_terminal(environ: dict[str, str]) -> None:
    written = on_a_terminal({"TERM": "xterm-256color", **environ}, "--rehearse", "--once")
    assert b"summarise" in written
    assert b"SIMULATED" in written
    assert not COLOUR.search(written)
    assert b"\x1b" not in written, "nor any other control sequence"
