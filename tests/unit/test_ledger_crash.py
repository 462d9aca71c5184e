"""What the ledger has acknowledged survives `kill -9` at any moment, and balances after the restart."""

from __future__ import annotations

import itertools
import os
import random
import sqlite3
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.control.ledger import Presence, Terms
from engine.store.store import Store
from engine.telemetry.ledger import Ledger
from tests.processes import lines_until_killed

KILLS, SOAK_KILLS = 2, 100  # processes
LOOKS_MAX = 150
CHAT = "accounts/local/deployments/chat"
TERMS = Terms("n1", "US_IOWA_1", "NVIDIA_H100_80GB", 2, 1_000_000, simulated=True)

# `stays` is ready throughout; with each look one replica ends and another becomes ready. Told: what was written.
WRITER = """
import asyncio, pathlib, sys
from engine.clock import SystemClock
from engine.control.ledger import Presence
from engine.store.store import Store
from engine.telemetry.ledger import Ledger
from tests.unit.test_ledger_crash import CHAT, TERMS

async def main(path, first):
    clock = SystemClock()
    store = await Store.open(path)
    ledger = Ledger(store, clock)
    await ledger.open()
    stays = Presence(CHAT, clock.monotonic(), 0.0, TERMS)
    for number in range(first, first + 100_000):
        now = stays.seen_at = clock.monotonic()
        former, present = Presence(CHAT, now, now), Presence(CHAT, now, now, TERMS)
        await ledger.observe({"stays": stays, f"r{number - 1}": former, f"r{number}": present})
        beat = (await store.fetch("last_beat"))[0]["ledger_ms"]
        print(number, beat, flush=True)

asyncio.run(main(pathlib.Path(sys.argv[1]), int(sys.argv[2])))
"""


def look_until_killed(path: Path, first: int, looks: int) -> list[tuple[int, int]]:
    """(number of the replica, instant) of every look whose acknowledgement was read."""
    lines = [line.split() for line in lines_until_killed(WRITER, str(path), str(first), lines=looks)]
    return [(int(number), int(at)) for number, at in lines]


@pytest.mark.parametrize(
    "kills", [KILLS, pytest.param(SOAK_KILLS, marks=(pytest.mark.soak, pytest.mark.timeout(3600)))]
)
async def test_every_acknowledged_interval_survives_kill_9_and_the_books_balance(tmp_path, kills):
    seed = int(os.environ.get("FIREDECK_TEST_SEED", "0")) or random.randrange(1, 2**31)
    print(f"seed {seed}: FIREDECK_TEST_SEED={seed} plays it again")
    chance, path = random.Random(seed), tmp_path / "state.db"
    told: list[tuple[int, int]] = []
    for _ in range(kills):
        told += look_until_killed(path, told[-1][0] + 2 if told else 0, chance.randint(2, LOOKS_MAX))
    store, clock = await Store.open(path), SystemClock()
    ledger = Ledger(store, clock)
    await ledger.open()
    assert ledger.now_ms() >= told[-1][1]
    await ledger.observe({"stays": Presence(CHAT, clock.monotonic(), clock.monotonic(), TERMS)})
    alive_ms = ledger.now_ms()
    await store.close()
    with sqlite3.connect(path) as db:
        db.row_factory = sqlite3.Row
        rows = db.execute("SELECT * FROM usage_intervals").fetchall()
    by_replica = {row["replica"]: row for row in rows}
    assert len(by_replica) == len(rows), f"seed {seed}: a replica is charged twice"
    for (number, beat), (following, _) in itertools.pairwise(told):
        row, after = by_replica[f"r{number}"], by_replica[f"r{following}"]
        if following == number + 1:  # one engine saw it end: to the millisecond
            assert row["ended_ms"] == after["began_ms"], f"seed {seed}"
        else:  # its engine was killed: until a beat
            assert row["began_ms"] <= beat <= row["ended_ms"] < after["began_ms"], f"seed {seed}"
    [stays] = [row for row in rows if row["ended_ms"] is None]
    assert (stays["replica"], stays["held_ms"]) == ("stays", None)
    assert (stays["number"], stays["began_ms"] <= told[0][1]) == (1, True)  # one interval, through all engines
    assert all(row["ended_ms"] <= alive_ms for row in rows if row["ended_ms"] is not None)
    print(f"{kills} kills, {len(told)} acknowledged looks, 0 lost")
