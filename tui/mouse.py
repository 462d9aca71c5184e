"""Whose the mouse is: the dashboard's, or the terminal's, whose own selection works only then."""

from __future__ import annotations

from textual.driver import Driver

MODES = (1000, 1003, 1015, 1006)  # clicks, moves, and two ways to write down where (xterm's control sequences)


def report(driver: Driver, *, on: bool) -> None:
    """Ask the terminal to send what the mouse does, or not to."""
    driver._mouse = on  # after ctrl+z, and at the end, the driver does what this says
    driver.write("".join(f"\x1b[?{mode}{'h' if on else 'l'}" for mode in MODES))
    driver.flush()
