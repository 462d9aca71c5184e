"""What an earlier engine left: what it knew of deployments goes on, replicas of living ones are adopted, every other
one is ended."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.fleet.chronicle import TOUCH_INTERVAL_S
from engine.fleet.keeper import Keeper
from engine.fleet.lived import Lived
from engine.fleet.rooms import Rooms
from engine.placement.port import Placed
from engine.store.store import ReplicaRecord, StoredDeployment

log = logging.getLogger(__name__)


def restore(keeper: Keeper, stored: StoredDeployment, lived: Lived) -> None:
    """Go on from the count that was wanted, from when it was used last and since when it is idle, and from what went
    wrong; where nobody wrote that down, it begins now."""
    keeper.meter.last_request_at = stored.last_request_at
    keeper.begin(stored.deployment.desired_replica_count or 0)
    if stored.idle_watched_s is not None:  # a little later: the newest may not have been written
        keeper.autoscaler.begin_idleness(lived.watched.monotonic(stored.idle_watched_s) + TOUCH_INTERVAL_S)
    if stored.used_lived_s is not None:
        keeper.meter.used_at = lived.monotonic(stored.used_lived_s)
        keeper.chronicle.known(keeper.meter.used_at, keeper.autoscaler.idle_since)
    if stored.faults is not None:
        keeper.faults.restore(stored.faults)


async def take_over(rooms: Rooms, keepers: Mapping[str, Keeper], records: Sequence[ReplicaRecord]) -> None:
    """Replicas that live and belong to a living deployment are adopted; every other one is ended."""
    adopted: set[Path] = set()
    for record in records:
        placed = _placed(record)
        keeper = keepers.get(record.deployment)
        # A copied data folder names replicas that are still those of the engine it was copied from.
        ours = placed is not None and placed.socket == rooms.driver.socket_of(record.id)
        if placed and ours and keeper and not keeper.deleted and rooms.driver.alive(placed):
            keeper.replicas.adopt(record, placed)
            adopted.add(placed.socket)
            log.info("%s is process %d", record.id, placed.pid)
            await keeper.announce("Normal", "ReplicaAdopted", "it outlived the engine", record.id)
        else:
            if keeper and record.pid is None:
                keeper.replicas.go_on_waiting(record.created_at)
            await rooms.notes.replica_gone(record.id)
    for stray in rooms.driver.strays(frozenset(adopted)):
        log.warning("ending replica %s (pid %d): no record of it", stray.replica, stray.pid)
        rooms.driver.stop(stray, force=True)
        rooms.driver.forget(stray)


def _placed(record: ReplicaRecord) -> Placed | None:
    return None if record.pid is None else Placed(record.id, Path(record.socket), record.pid)
