"""What the store has acknowledged survives `kill -9` at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from client.types import AutoscalingPolicy, Deployment
from engine.store import migrations
from engine.store.migrations import MIGRATIONS
from engine.store.store import Store
from tests.processes import lines_until_killed

KILLS, SOAK_KILLS = 4, 200  # processes
ROUNDS_MAX = 60

WRITER = """
import asyncio, pathlib, sys
from datetime import UTC, datetime, timedelta
from client.types import AutoscalingPolicy, Deployment
from engine.store.store import Store

async def main(path, first):
    store = await Store.open(path)
    for i in range(first, first + 100_000):
        name = f"accounts/local/deployments/d{i}"
        made = Deployment(name=name, create_time=datetime.now(UTC), annotations={"a": "x" * (i % 3000)})
        await store.put_deployment(made)
        await store.add_event(name, "Normal", "Made", str(i))
        print(i, flush=True)

asyncio.run(main(pathlib.Path(sys.argv[1]), int(sys.argv[2])))
"""


def write_until_killed(path, first: int, rounds: int, looks: int) -> list[int]:
    """Rows whose acknowledgement was read from a writer that is killed after `rounds` of them and a bit."""
    return [int(line) for line in lines_until_killed(WRITER, str(path), str(first), lines=rounds, looks=looks)]


@pytest.mark.parametrize(
    "kills", [KILLS, pytest.param(SOAK_KILLS, marks=(pytest.mark.soak, pytest.mark.timeout(3600)))]
)
async def test_every_acknowledged_row_survives_kill_9_at_a_random_moment(tmp_path, kills):
    seed = int(os.environ.get("FIREDECK_TEST_SEED", "0")) or random.randrange(1, 2**31)
    print(f"seed {seed}: FIREDECK_TEST_SEED={seed} plays it again")
    chance = random.Random(seed)
    path = tmp_path / "state.db"
    acknowledged: list[int] = []
    for _ in range(kills):
        first = acknowledged[-1] + 2 if acknowledged else 0
        acknowledged += write_until_killed(path, first, chance.randint(1, ROUNDS_MAX), chance.randint(0, 3000))
        with sqlite3.connect(path) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        store = await Store.open(path)
        there = {s.deployment.id for s in await store.deployments()}
        told = {event.message for event in await store.events("local", 0, 1_000_000)}
        await store.close()
        lost = [i for i in acknowledged if f"d{i}" not in there or str(i) not in told]
        assert lost == [], f"seed {seed}"
        # nothing was invented either: at most the one write that was under way
        assert len(there) <= len(acknowledged) + kills
    print(f"{kills} kills, {len(acknowledged)} acknowledged rows, 0 lost")


# Of the files that it is told, each is opened by a process that dies in the midst of that file's step.
OPENER = """
import asyncio, os, pathlib, signal, sys
from engine.store import migrations
from engine.store.store import Store

def deadly(step):
    def run(db):
        step(db)
        os.kill(os.getpid(), signal.SIGKILL)
    return run

for number, path in enumerate(sys.argv[1:]):
    if not os.fork():
        migrations.MIGRATIONS[number] = deadly(migrations.MIGRATIONS[number])
        asyncio.run(Store.open(pathlib.Path(path)))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == -signal.SIGKILL, number
"""


DEPLOYMENT = "accounts/local/deployments/old"
ROWS = (  # (released with schema version, statement): what an engine of that version may have left
    (1, f"INSERT INTO deployments (name, account, doc, create_time) VALUES ('{DEPLOYMENT}', 'local', :doc, :now)"),
    (1, "INSERT INTO models VALUES ('accounts/local/models/m', 'local', '{\"name\": \"accounts/local/models/m\"}')"),
    (2, "INSERT INTO replicas (id, deployment, generation, socket, key, pid, created_at)"
        f" VALUES ('r', '{DEPLOYMENT}', 'g', '/s', 'k', 7, 1.0)"),
    (3, "INSERT INTO api_keys (id, hash, prefix, account, user, role, display_name, create_time)"
        " VALUES ('k', 'h', 'fd_', 'local', 'me', 'user', '', :now)"),
    (4, "INSERT INTO events (time, deployment, kind, reason, message)"
        f" VALUES (:now, '{DEPLOYMENT}', 'Normal', 'R', '')"),
)  # fmt: skip


def leave_rows(path, version: int, monkeypatch) -> None:
    """A database as an engine of this schema version left it."""
    minute = timedelta(minutes=1)
    made = Deployment(
        name=DEPLOYMENT, create_time=datetime.now(UTC), description="kept", base_model="accounts/fireworks/models/m",
        state="READY", min_replica_count=0, max_replica_count=0, max_batch_size=4, max_context_length=512,
        autoscaling_policy=AutoscalingPolicy(
            scale_up_window=minute, scale_down_window=minute, scale_to_zero_window=5 * minute,
            load_targets={"default": 0.8},
        ),
    )  # fmt: skip
    values = {"doc": made.model_dump_json(by_alias=True, exclude_none=True), "now": datetime.now(UTC).isoformat()}
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        monkeypatch.setattr(migrations, "MIGRATIONS", MIGRATIONS[:version])
        migrations.migrate(db)
        monkeypatch.undo()
        for since, statement in ROWS:
            if since <= version:
                db.execute(statement, values)


def test_a_migration_killed_midway_is_finished_by_the_next_start_and_loses_no_row(tmp_path, monkeypatch):
    paths = [tmp_path / f"{step}.db" for step in range(len(MIGRATIONS))]
    for step, path in enumerate(paths):
        leave_rows(path, step, monkeypatch)
    subprocess.run([sys.executable, "-c", OPENER, *map(str, paths)], check=True)
    found = {}
    for step, path in enumerate(paths):
        with sqlite3.connect(path) as db:
            version = db.execute("PRAGMA user_version").fetchone()
        found[step] = version, asyncio.run(counted(path))
    assert found == {step: ((step,), [int(since <= step) for since, _ in ROWS]) for step in found}


async def counted(path) -> list[int]:
    """How many rows there are of each kind, as the present store reads them."""
    store = await Store.open(path)
    deployments = await store.deployments()
    assert all(stored.deployment.description == "kept" for stored in deployments)
    kinds = (deployments, await store.models(), await store.replicas(), await store.keys())
    found = [len(rows) for rows in (*kinds, await store.events("local", 0, 10))]
    await store.close()
    return found
