"""The engine's memory: migrations, verbs, events, and what happens when the disk says no."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.errors import FailedPrecondition, FiredeckError, Unavailable
from client.types import AutoscalingPolicy, Deployment, Model, ReplicaStats
from engine.store import migrations
from engine.store import store as store_room
from engine.store.migrations import MIGRATIONS, migrate
from engine.store.store import KeyRecord, ReplicaRecord, Store, named_queries

CHAT = "accounts/local/deployments/chat"
OTHER = "accounts/local/deployments/other"
ACCOUNT = "local"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
async def store(tmp_path):
    opened = await Store.open(tmp_path / "state.db")
    yield opened
    await opened.close()


def deployment(name: str = CHAT, **known) -> Deployment:
    return Deployment(**{"name": name, "create_time": NOON, "base_model": "accounts/fireworks/models/m", **known})


def tables(path) -> list[tuple]:
    with sqlite3.connect(path) as db:
        return db.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()


async def test_an_empty_file_gets_the_whole_schema_and_a_second_start_changes_nothing(tmp_path):
    path = tmp_path / "state.db"
    await (await Store.open(path)).close()
    first = tables(path)
    assert {"deployments", "models", "replicas", "api_keys", "events"} <= {name for _, name, _ in first}
    await (await Store.open(path)).close()
    assert tables(path) == first


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
def test_every_former_schema_becomes_the_present_one(tmp_path, version, monkeypatch):
    whole, half = sqlite3.connect(tmp_path / "a.db"), sqlite3.connect(tmp_path / "b.db")
    whole.isolation_level = half.isolation_level = None
    monkeypatch.setattr(migrations, "MIGRATIONS", MIGRATIONS[:version])
    assert migrate(half) == version
    monkeypatch.setattr(migrations, "MIGRATIONS", MIGRATIONS)
    assert migrate(half) == len(MIGRATIONS) - version
    assert migrate(whole) == len(MIGRATIONS)
    assert migrate(half) == 0
    whole.close()
    half.close()
    assert tables(tmp_path / "a.db") == tables(tmp_path / "b.db")


@pytest.mark.parametrize("broken", range(len(MIGRATIONS)))
def test_a_step_that_dies_midway_leaves_nothing_and_runs_again_at_the_next_start(tmp_path, broken, monkeypatch):
    def dies(db: sqlite3.Connection) -> None:
        MIGRATIONS[broken](db)
        raise KeyboardInterrupt

    db = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    monkeypatch.setattr(migrations, "MIGRATIONS", [*MIGRATIONS[:broken], dies, *MIGRATIONS[broken + 1 :]])
    with pytest.raises(KeyboardInterrupt):
        migrate(db)
    assert db.execute("PRAGMA user_version").fetchone() == (broken,)
    monkeypatch.setattr(migrations, "MIGRATIONS", MIGRATIONS)
    assert migrate(db) == len(MIGRATIONS) - broken
    db.close()


async def test_a_schema_from_the_future_is_refused_untouched_and_with_a_remedy(tmp_path):
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE tomorrow (x)")
        db.execute("PRAGMA user_version = 999")
    with pytest.raises(FailedPrecondition, match="newer") as refused:
        await Store.open(path)
    assert refused.value.hint
    assert [name for _, name, _ in tables(path)] == ["tomorrow"]


async def test_a_path_that_cannot_be_opened_is_a_clear_error_naming_it(tmp_path):
    with pytest.raises(FiredeckError, match="nowhere"):
        await Store.open(tmp_path / "nowhere" / "state.db")
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(FiredeckError, match=r"folder\.db"):
        await Store.open(tmp_path / "folder.db")


async def test_a_file_that_is_no_database_is_a_clear_error_and_is_left_as_it_is(tmp_path):
    path = tmp_path / "state.db"
    path.write_bytes(b"this is no database, it is a text of some length\n" * 40)
    with pytest.raises(FiredeckError, match=r"state\.db"):
        await Store.open(path)
    assert path.read_bytes().startswith(b"this is no database")


async def test_a_store_that_turns_read_only_says_so_reads_on_and_recovers(store):
    await store.put_deployment(deployment())
    await store._run(store._db.execute, "PRAGMA query_only = ON")
    with pytest.raises(Unavailable, match="state cannot be"):
        await store.drop_deployment(CHAT)
    assert len(await store.deployments()) == 1
    await store._run(store._db.execute, "PRAGMA query_only = OFF")
    await store.drop_deployment(CHAT)
    assert await store.deployments() == []


async def test_a_full_disk_refuses_the_write_whole_and_the_next_one_works_when_there_is_room(store):
    [(pages,)] = await store._run(lambda: store._db.execute("PRAGMA page_count").fetchall())
    await store._run(lambda: store._db.execute(f"PRAGMA max_page_count = {pages}").fetchall())
    with pytest.raises(Unavailable, match="full"):
        await store.put_deployment(deployment(description="x" * 900, annotations={"a": "y" * 100_000}))
    assert await store.deployments() == []
    await store._run(lambda: store._db.execute("PRAGMA max_page_count = 100000").fetchall())
    await store.put_deployment(deployment())
    assert len(await store.deployments()) == 1


async def test_a_store_that_cannot_be_opened_anew_says_so_and_connects_once_it_can(store, tmp_path):
    log = tmp_path / "state.db-wal"
    await store.put_deployment(deployment())
    log.unlink()
    log.mkdir()  # in the way of the log that a new connection needs
    with contextlib.suppress(Unavailable):
        await store.put_deployment(deployment(OTHER))
    for _ in range(3):
        with pytest.raises(Unavailable, match="unable to open"):
            await store.deployments()
        with pytest.raises(Unavailable, match="unable to open"):
            await store.drop_deployment(CHAT)
    log.rmdir()
    assert {one.deployment.name for one in await store.deployments()} == {CHAT, OTHER}
    await store.drop_deployment(CHAT)
    assert [one.deployment.name for one in await store.deployments()] == [OTHER]


# The disk fills at COMMIT: pages go to the log only then. A limit on file sizes is the nearest to ENOSPC without root.
FULL_AT_COMMIT = """
import asyncio, pathlib, resource, sys
from datetime import UTC, datetime
from client.errors import Unavailable
from client.types import Deployment
from engine.store.store import Store

def one(i, note=""):
    return Deployment(name=f"accounts/local/deployments/d{i}", create_time=datetime.now(UTC), annotations={"a": note})

async def main(path):
    store = await Store.open(path)
    await store.put_deployment(one(1))
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    size = path.with_name(path.name + "-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5000, hard))
    try:
        await store.put_deployment(one(2, "x" * 100_000))
    except Unavailable as refused:
        print("refused:", refused.message)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await store.put_deployment(one(3))
    print("there:", *(s.deployment.id for s in await store.deployments()))
    await store.close()

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


def test_a_disk_that_fills_at_commit_loses_that_write_alone(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_AT_COMMIT, str(tmp_path / "state.db")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "refused:" in done.stdout
    assert "there: d1 d3" in done.stdout


async def test_a_deployment_comes_back_as_it_was_put_and_in_order_of_creation(store):
    older = deployment("accounts/local/deployments/z", create_time=NOON.replace(hour=1))
    newer = deployment(
        min_replica_count=0, autoscaling_policy=AutoscalingPolicy(scale_up_window="1.5s"),
        replica_stats=ReplicaStats(ready_replica_count=2), state="READY", description="Grüße 日本 \u2028 \x00",
    )  # fmt: skip
    await store.put_deployment(newer)
    await store.put_deployment(older)
    assert [s.deployment for s in await store.deployments()] == [older, newer]


async def test_putting_again_replaces_and_keeps_the_last_request(store):
    await store.put_deployment(deployment())
    await store.touch_deployment(CHAT, NOON, 12.5, 7.25)
    await store.put_deployment(deployment(state="READY"))
    [stored] = await store.deployments()
    assert (stored.deployment.state, stored.last_request_at, stored.used_lived_s) == ("READY", NOON, 12.5)
    assert (stored.idle_watched_s, stored.faults) == (7.25, None)


async def test_what_went_wrong_goes_with_its_deployment(store):
    await store.put_deployment(deployment())
    for doc in ("{}", '{"restarts": 1}'):
        await store.put_faults(CHAT, doc)
        assert [stored.faults for stored in await store.deployments()] == [doc]
    await store.drop_deployment(CHAT)
    await store.put_deployment(deployment())
    assert [stored.faults for stored in await store.deployments()] == [None]


async def test_models_replicas_and_keys_come_back_and_go(store):
    model = Model(name="accounts/local/models/mine", context_length=64)
    record = ReplicaRecord("r1", CHAT, "g", "/tmp/s", "key", None, 1.0)
    placed = ReplicaRecord("r1", CHAT, "g", "/tmp/s", "key", 42, 1.0)
    key = KeyRecord("k", "hash", "fd_", "local", "me", "user", "", NOON.isoformat())
    await store.put_model(model)
    await store.put_replica(record)
    await store.put_replica(placed)
    await store.put_key(key)
    assert (await store.models(), await store.replicas(), await store.keys()) == ([model], [placed], [key])
    await store.drop_model(model.name)
    await store.drop_replica("r1")
    assert (await store.models(), await store.replicas()) == ([], [])


async def test_dropping_what_is_not_there_is_fine(store):
    await store.drop_deployment(CHAT)
    await store.drop_model("x")
    await store.drop_replica("x")


async def test_the_settings_that_served_are_kept_and_gone_with_their_deployment(store):
    await store.put_deployment(deployment())
    for doc in ('{"slots": 4}', '{"slots": 8}'):
        await store.put_served_settings(CHAT, doc)
    await store.put_served_settings(OTHER, "{}")
    assert await store.served_settings() == {CHAT: '{"slots": 8}', OTHER: "{}"}
    await store.drop_deployment(CHAT)
    assert await store.served_settings() == {OTHER: "{}"}


async def test_events_are_numbered_on_and_the_newest_come_oldest_first(store):
    for number in range(6):
        await store.add_event(CHAT if number % 2 else OTHER, "Normal", "R", str(number))
    everything = await store.events(ACCOUNT, 0, 100)
    assert [e.message for e in everything] == ["0", "1", "2", "3", "4", "5"]
    assert [e.seq for e in everything] == [1, 2, 3, 4, 5, 6]
    assert [e.message for e in await store.events(ACCOUNT, 0, 2)] == ["4", "5"]
    assert [e.message for e in await store.events_of(CHAT, everything[1].seq, 100)] == ["3", "5"]
    assert await store.events_of(CHAT, 6, 100) == []
    assert await store.events("loc", 0, 100) == []  # another account, though its name begins alike


async def test_only_so_many_events_are_kept_and_numbers_are_never_used_twice(store, monkeypatch):
    monkeypatch.setattr(store_room, "EVENTS_KEPT", 3)
    for number in range(8):
        await store.add_event(CHAT, "Normal", "R", str(number))
    assert [e.seq for e in await store.events(ACCOUNT, 0, 100)] == [6, 7, 8]


HOSTILE = ["'; DROP TABLE deployments; --", '" OR 1=1', "%", "\x00", ":name", "日本"]


@pytest.mark.parametrize("text", HOSTILE)
async def test_values_are_never_sql(store, text):
    await store.add_event(text, text, text, text, text)
    [event] = await store.events_of(text, 0, 10)
    assert (event.deployment, event.message, event.replica) == (text, text, text)
    await store.put_deployment(deployment())
    await store.drop_deployment(text)
    assert len(await store.deployments()) == 1


async def test_many_writers_at_once_all_succeed(store):
    async def write(i: int) -> None:
        await store.put_deployment(deployment(f"accounts/local/deployments/d{i}"))
        await store.add_event(f"accounts/local/deployments/d{i}", "Normal", "R", "")

    await asyncio.gather(*(write(i) for i in range(60)))
    assert (len(await store.deployments()), len(await store.events(ACCOUNT, 0, 100))) == (60, 60)


def test_every_statement_has_a_name_of_its_own_and_is_one_statement():
    queries = named_queries()
    assert len(queries) >= 15
    assert all(sqlite3.complete_statement(sql) and sql.count(";") == 1 for sql in queries.values())


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["put", "drop"]), st.integers(0, 4), st.text(max_size=5)), max_size=20))
def test_what_is_stored_is_what_a_dictionary_would_hold_even_after_a_restart(tmp_path_factory, script):
    path = tmp_path_factory.mktemp("model") / "state.db"

    async def play() -> None:
        expected: dict[str, str] = {}
        for at, (verb, number, text) in enumerate(script):
            store = await Store.open(path)
            name = f"accounts/local/deployments/d{number}"
            if verb == "put":
                expected[name] = text
                await store.put_deployment(deployment(name, description=text))
            else:
                expected.pop(name, None)
                await store.drop_deployment(name)
            if at % 5 == 4 or at == len(script) - 1:
                found = {s.deployment.name: s.deployment.description for s in await store.deployments()}
                assert found == expected
            await store.close()

    asyncio.run(play())
