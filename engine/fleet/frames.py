"""The fleet as those who watch it get it: one frame, written once, for all watchers of an account (once more for its
admins, who see the processes, the engine's folder and serverless deployments besides).

    data   Frame    one instant as bytes: each deployment by itself, and which of them are others than before
           Frames   the last frame of each account
    verbs  latest, and a frame's snapshot or its changes
    near   `engine.api.watch` sends them; `engine.fleet.views` makes what is written

A large fleet is written in slices, and everybody else has a turn between two of them: the tokens of streams go through
the same event loop. So deployments of one frame are seen some milliseconds apart; each by itself is seen at once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from client.fleet_types import FleetChanges
from engine.fleet import views
from engine.fleet.conditions import QuotasOf
from engine.fleet.fleet import Fleet

SLICE = 4  # deployments; one takes about 0.25 ms with ten replicas
SPARED = 3  # times as long as a frame took no other is made: a quarter of the loop, while one takes a second at most
RAREST_S = 4.0  # between two all the same: watchers take a stream for dead that is silent for six seconds


@dataclass(frozen=True)
class Frame:
    """`head`: all but the deployments, as the JSON of an object. `deployments`: the JSON of each, by name. `changed`:
    the names of those that are others than in the frame before, None where the fleet has other members since.
    `number` grows by one; `made_at`, when it was begun, is monotonic; it took `took_s` until it was whole."""

    number: int
    made_at: float
    took_s: float
    head: bytes
    deployments: dict[str, bytes]
    changed: tuple[str, ...] | None

    @property
    def good_for_s(self) -> float:
        """Seconds after it was begun in which none is made anew."""
        return min((1 + SPARED) * self.took_s, RAREST_S)

    def snapshot(self) -> bytes:
        """A FleetSnapshot as JSON."""
        return self._with("deployments", self.deployments.values())

    @cached_property
    def event(self) -> bytes:
        """The snapshot as a server-sent event, the same bytes for all who get it."""
        return _event(self.snapshot())

    @cached_property
    def changes(self) -> bytes | None:
        """An event of FleetChanges since the frame before; None where they cannot be told as such."""
        if self.changed is None:
            return None
        return _event(self._with("changed", [self.deployments[name] for name in self.changed]))

    def event_since(self, last: Frame | None) -> bytes:
        """What somebody needs who got `last`: the changes, or all where there is none or another one was missed."""
        told = self.changes if last is not None and last.number == self.number - 1 else None
        return self.event if told is None else told

    def _with(self, name: str, deployments: Iterable[bytes]) -> bytes:
        return b"".join([self.head[:-1], b',"', name.encode(), b'":[', b",".join(deployments), b"]}"])


class Frames:
    """By account and by whether it is `whole`; None is the key of all accounts together."""

    def __init__(self) -> None:
        self._frames: dict[tuple[str | None, bool], Frame] = {}
        self._making: defaultdict[tuple[str | None, bool], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def latest(
        self, fleet: Fleet, quotas_of: QuotasOf, started_at: datetime, account: str | None, max_age_s: float,
        *, whole: bool = True,
    ) -> Frame:  # fmt: skip
        """A frame begun no longer ago than `max_age_s`, or than such frames may come; who asks meanwhile waits for the
        same."""
        clock, kind = fleet.rooms.clock, (account, whole)
        asked_at = clock.monotonic()
        async with self._making[kind]:
            last = self._frames.get(kind)
            if last is not None and asked_at - last.made_at <= max(max_age_s, last.good_for_s):
                return last
            frame = self._frames[kind] = await seen(fleet, quotas_of, started_at, account, last, whole=whole)
        return frame


async def seen(
    fleet: Fleet,
    quotas_of: QuotasOf,
    started_at: datetime,
    account: str | None,
    last: Frame | None = None,
    *,
    whole: bool = True,
) -> Frame:
    """The fleet now, looked at slice by slice, beside the frame before."""
    made_at = fleet.rooms.clock.monotonic()
    head = _head(fleet, started_at, account, whole=whole)
    deployments: dict[str, bytes] = {}
    for number, keeper in enumerate(fleet.seen_by(account, whole=whole)):
        if number % SLICE == SLICE - 1:
            await asyncio.sleep(0)
        status = views.status(fleet, keeper, quotas_of, whole=whole)
        deployments[keeper.name] = status.model_dump_json(by_alias=True, exclude_none=True).encode()
    took_s = fleet.rooms.clock.monotonic() - made_at
    if last is None:
        return Frame(0, made_at, took_s, head, deployments, None)
    return Frame(last.number + 1, made_at, took_s, head, deployments, _changed(last.deployments, deployments))


def _changed(former: dict[str, bytes], now: dict[str, bytes]) -> tuple[str, ...] | None:
    """The names of those that differ; None where others are there than before."""
    if former.keys() != now.keys():
        return None
    return tuple(name for name, status in now.items() if former[name] != status)


def _event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


def _head(fleet: Fleet, started_at: datetime, account: str | None, *, whole: bool) -> bytes:
    """What a FleetSnapshot and FleetChanges have in common."""
    head = FleetChanges(
        time=fleet.rooms.clock.wall(),
        engine=views.engine_info(fleet, started_at, whole=whole),
        alerts=views.alerts(fleet, account, whole=whole),
    )
    return head.model_dump_json(by_alias=True, exclude_none=True, exclude={"changed"}).encode()
