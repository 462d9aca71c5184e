"""How replicas end with their engine: told to, waited for, killed where that takes too long, and gone in any case."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from engine.placement.port import Driver, Placed

GRACE_S = 10.0  # from SIGTERM to SIGKILL
KILLED_GRACE_S = 10.0  # from SIGKILL until the system has cleaned up: gigabytes take a while to give back
POLL_S = 0.05


async def end(driver: Driver, placed: Sequence[Placed]) -> None:
    """Return when none of them is there any more, and forget them."""
    for force, grace_s in ((False, GRACE_S), (True, KILLED_GRACE_S)):
        for one in placed:
            driver.stop(one, force=force)
        for _ in range(round(grace_s / POLL_S)):
            if not any(driver.alive(one) for one in placed):
                break
            await asyncio.sleep(POLL_S)
    for one in placed:
        driver.forget(one)
