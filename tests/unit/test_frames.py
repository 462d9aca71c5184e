"""What those who watch the fleet are sent: one frame for all, the newest for who comes late, nobody held for ever."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from client.fleet_types import FleetSnapshot
from client.types import Deployment
from engine.clock import FakeClock
from engine.fleet.fleet import Fleet
from engine.fleet.frames import Frames
from engine.fleet.replica_set import Rooms
from engine.fleet.settings import Settings
from engine.library import Library
from engine.placement.local import LocalDriver
from engine.store.store import Store

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def fleet(tmp_path: Path):
    store, driver = await Store.open(tmp_path / "state.db"), LocalDriver(tmp_path, orphan_timeout_s=60.0)
    made = Fleet(Rooms(driver, store, Library(store), FakeClock()), Settings(tmp_path))
    for account in ("ada", "eve"):
        made.keep(Deployment(name=f"accounts/{account}/deployments/d", base_model="m", state="READY"))
    yield made
    driver.close()
    await store.close()


def names(event: bytes) -> list[str]:
    assert (event[:6], event[-2:]) == (b"data: ", b"\n\n")
    snapshot = FleetSnapshot.model_validate(json.loads(event.removeprefix(b"data: ")))
    return [status.deployment.name for status in snapshot.deployments]


async def test_all_who_watch_an_account_get_the_same_bytes_until_they_are_too_old(fleet: Fleet):
    frames = Frames()
    first = frames.latest(fleet, BEGAN, "ada", 0.5)
    fleet.rooms.clock.advance(0.5)
    assert frames.latest(fleet, BEGAN, "ada", 0.5) is first
    assert frames.latest(fleet, BEGAN, "ada", 0.1) is not first
    fleet.rooms.clock.advance(0.6)
    assert frames.latest(fleet, BEGAN, "ada", 0.5) is not first


async def test_an_account_is_never_sent_what_was_made_for_another(fleet: Fleet):
    frames = Frames()
    seen = [names(frames.latest(fleet, BEGAN, account, 60.0)) for account in ("ada", "eve", None, "ada")]
    ada, eve = "accounts/ada/deployments/d", "accounts/eve/deployments/d"
    assert seen == [[ada], [eve], [ada, eve], [ada]]
