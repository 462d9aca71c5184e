"""Whose the mouse is: the dashboard's, or the terminal's, whose own selection works only then."""

from __future__ import annotations

from typing import Any

from textual.app import App

MODES = (1000, 1003, 1015, 1006)  # clicks, moves, and two ways to write down where (xterm's control sequences)


def report(app: App[Any], *, on: bool) -> bool:
    """Ask the terminal to send what the mouse does, or not to; False where it cannot be asked.

    Textual decides this once, at its start, and has no public way to its driver, which alone may write to the terminal:
    this function is the only one that looks for it, and does without where it is not what it was.
    """
    driver = getattr(app, "_driver", None)
    write, flush = getattr(driver, "write", None), getattr(driver, "flush", None)
    if not callable(write) or not callable(flush):
        return False
    write("".join(f"\x1b[?{mode}{'h' if on else 'l'}" for mode in MODES))
    flush()
    return True
