"""The fleet as those who watch it get it: one snapshot, written once, for all watchers of an account (once more for its
admins, who see the processes, the engine's folder and serverless deployments besides).

A large fleet is written in slices, and everybody else has a turn between two of them: the tokens of streams go through
the same event loop. So deployments of one snapshot are seen some milliseconds apart; each by itself is seen at once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from client.fleet_types import FleetSnapshot
from engine.fleet import views
from engine.fleet.conditions import QuotasOf
from engine.fleet.fleet import Fleet

SLICE = 4  # deployments; one takes about 0.25 ms with ten replicas


@dataclass(frozen=True, slots=True)
class Frame:
    """A server-sent event, and when it was made (monotonic)."""

    event: bytes
    made_at: float


class Frames:
    """The last frame of each account, by whether it is `whole`; None is the key of all accounts together."""

    def __init__(self) -> None:
        self._frames: dict[tuple[str | None, bool], Frame] = {}
        self._making: defaultdict[tuple[str | None, bool], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def latest(
        self, fleet: Fleet, quotas_of: QuotasOf, started_at: datetime, account: str | None, max_age_s: float,
        *, whole: bool = True,
    ) -> bytes:  # fmt: skip
        """A FleetSnapshot as an event, begun no longer ago than `max_age_s`; who asks meanwhile waits for the same."""
        clock, kind = fleet.rooms.clock, (account, whole)
        async with self._making[kind]:
            frame = self._frames.get(kind)
            if frame is None or clock.monotonic() - frame.made_at > max_age_s:
                made_at = clock.monotonic()
                around = (b"data: ", b"\n\n")
                event = await written(fleet, quotas_of, started_at, account, around=around, whole=whole)
                frame = self._frames[kind] = Frame(event, made_at)
        return frame.event


async def written(
    fleet: Fleet,
    quotas_of: QuotasOf,
    started_at: datetime,
    account: str | None,
    around: tuple[bytes, bytes] = (b"", b""),
    *,
    whole: bool = True,
) -> bytes:
    """A FleetSnapshot as JSON, written slice by slice, with something before and behind it."""
    before, behind = around
    frame = FleetSnapshot(
        time=fleet.rooms.clock.wall(),
        engine=views.engine_info(fleet, started_at, whole=whole),
        alerts=views.alerts(fleet, account, whole=whole),
    )
    head = frame.model_dump_json(by_alias=True, exclude_none=True, exclude={"deployments"})
    pieces = [before, head[:-1].encode(), b',"deployments":[']
    for number, keeper in enumerate(fleet.seen_by(account, whole=whole)):
        if number:
            pieces.append(b",")
        if number % SLICE == SLICE - 1:
            await asyncio.sleep(0)
        status = views.status(fleet, keeper, quotas_of, whole=whole)
        pieces.append(status.model_dump_json(by_alias=True, exclude_none=True).encode())
    return b"".join([*pieces, b"]}", behind])
