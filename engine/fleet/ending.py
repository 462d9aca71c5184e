"""How replicas end with their engine: told to, waited for, killed where that takes too long, and gone in any case."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from engine.clock import Clock
from engine.placement.port import Driver, Placed

log = logging.getLogger(__name__)

GRACE_S = 10.0  # from SIGTERM to SIGKILL
KILLED_GRACE_S = 10.0  # from SIGKILL until the system has cleaned up: gigabytes take a while to give back
POLL_S = 0.05


async def end(driver: Driver, placed: Sequence[Placed], clock: Clock) -> None:
    """Forget them and return once none is there any more, after 20 s at most: the log names those that are."""
    left = list(placed)
    for force, grace_s in ((False, GRACE_S), (True, KILLED_GRACE_S)):
        for one in left:
            driver.stop(one, force=force)
        left = await _wait(driver, left, clock, grace_s)
    if left:
        told = ", ".join(f"{one.replica} (pid {one.pid})" for one in left)
        log.warning("still there %.0fs after SIGKILL, left to the next engine on this folder: %s", KILLED_GRACE_S, told)
    for one in placed:
        driver.forget(one)


async def _wait(driver: Driver, placed: Sequence[Placed], clock: Clock, seconds: float) -> list[Placed]:
    """Those that are there after so long, [] as soon as there are none."""
    deadline = clock.monotonic() + seconds
    while left := [one for one in placed if driver.alive(one)]:
        if clock.monotonic() >= deadline:
            break
        await clock.sleep(POLL_S)
    return left
