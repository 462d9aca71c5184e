"""What the engine did is written when the disk takes it, in order, and holds up nothing until then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from client.errors import Unavailable
from engine.clock import FakeClock
from engine.fleet import notes as notes_module
from engine.fleet.notes import RETRY_S, Notes
from engine.store.store import EVENTS_KEPT, ReplicaRecord, Statement, Store

NAME = "accounts/local/deployments/d"


class Full(Store):
    """A store whose disk is full, where it is told so."""

    full, tries = False, 0

    async def transact(self, statements: Sequence[Statement]) -> None:
        self.tries += 1
        if self.full:
            raise Unavailable("the disk is full")
        await super().transact(statements)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Full]:
    opened = await Full.open(tmp_path / "state.db")
    assert isinstance(opened, Full)
    yield opened
    await opened.close()


def record(replica: str, pid: int | None = None) -> ReplicaRecord:
    return ReplicaRecord(replica, NAME, "g", f"/run/{replica}.sock", "key", pid, 1.0)


async def told(store: Store) -> list[str]:
    return [event.message for event in await store.events_of(NAME, 0, 100)]


async def test_what_a_full_disk_does_not_take_is_written_in_order_once_there_is_room(store: Full) -> None:
    clock = FakeClock()
    notes = Notes(store, clock)
    store.full = True
    await notes.replica(record("first"))
    for message in ("one", "two", "three"):
        await notes.event(NAME, "Normal", "R", message)
    await notes.replica(record("first", 7))
    await notes.replica(record("second"))
    await notes.replica_gone("second")
    assert (notes.waiting, await told(store), await store.replicas()) == (5, [], [])
    store.full = False
    clock.advance(RETRY_S)
    await notes.write()
    assert await told(store) == ["one", "two", "three"]
    assert await store.replicas() == [record("first", 7)]
    assert notes.waiting == 0


async def test_a_disk_that_refused_is_not_asked_again_with_every_event_and_is_told_of_once(
    store: Full, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    notes = Notes(store, clock)
    store.full = True
    for _ in range(3):
        for _ in range(5):
            await notes.event(NAME, "Normal", "R", "m")
        clock.advance(RETRY_S)
    assert store.tries == 3
    await asyncio.gather(*(notes.event(NAME, "Normal", "R", "m") for _ in range(5)))
    assert store.tries == 4, "who waited for the one that was refused does not try at once again"
    assert len([one for one in caplog.records if one.levelname == "WARNING"]) == 1


async def test_no_more_waits_in_memory_than_the_table_would_keep(store: Full, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes_module, "ROWS_MAX", 3)
    notes = Notes(store, FakeClock())
    store.full = True
    for number in range(EVENTS_KEPT + 5):
        await notes.event(NAME, "Normal", "R", str(number))
        await notes.replica_gone(f"r{number}")
    assert notes.waiting == EVENTS_KEPT + 3
    store.full = False
    await notes.close()
    assert (await told(store))[-1] == str(EVENTS_KEPT + 4)


async def test_a_note_that_no_disk_would_take_keeps_no_other_from_being_written(store: Full) -> None:
    notes = Notes(store, FakeClock())
    await notes.replica(ReplicaRecord("r", NAME, "g", "/s", None, None, 1.0))  # type: ignore[arg-type]
    await notes.event(NAME, "Normal", "R", "after it")
    assert (await told(store), notes.waiting) == (["after it"], 0)
