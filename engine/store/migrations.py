"""The schema as a list of numbered steps; each runs once, in its own transaction.

A step never changes after it has been released: mend it with a new one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

Migration = Callable[[sqlite3.Connection], None]
MIGRATIONS: list[Migration] = []


def migration(step: Migration) -> Migration:
    MIGRATIONS.append(step)
    return step


def migrate(connection: sqlite3.Connection) -> int:
    """Bring the schema up to date; the number of steps that ran. Safe to kill at any point."""
    done = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if done > len(MIGRATIONS):
        raise sqlite3.DatabaseError(f"schema version {done} is newer than this firedeck knows ({len(MIGRATIONS)})")
    for number, step in enumerate(MIGRATIONS[done:], start=done + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            step(connection)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk has rolled back by itself
                connection.execute("ROLLBACK")
            raise
    return len(MIGRATIONS) - done


@migration
def m001_deployments_and_models(db: sqlite3.Connection) -> None:
    db.execute(
        "CREATE TABLE deployments (name TEXT PRIMARY KEY, account TEXT NOT NULL, doc TEXT NOT NULL,"
        " create_time TEXT NOT NULL, delete_time TEXT, last_request_at TEXT) STRICT"
    )
    db.execute("CREATE TABLE models (name TEXT PRIMARY KEY, account TEXT NOT NULL, doc TEXT NOT NULL) STRICT")


@migration
def m002_replicas(db: sqlite3.Connection) -> None:
    db.execute(
        "CREATE TABLE replicas (id TEXT PRIMARY KEY, deployment TEXT NOT NULL, generation TEXT NOT NULL,"
        " socket TEXT NOT NULL, key TEXT NOT NULL, pid INTEGER, created_at REAL NOT NULL) STRICT"
    )


@migration
def m003_api_keys(db: sqlite3.Connection) -> None:
    db.execute(
        "CREATE TABLE api_keys (id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, prefix TEXT NOT NULL,"
        " account TEXT NOT NULL, user TEXT NOT NULL, role TEXT NOT NULL, display_name TEXT NOT NULL,"
        " create_time TEXT NOT NULL, expire_time TEXT) STRICT"
    )


@migration
def m004_events(db: sqlite3.Connection) -> None:
    db.execute(
        "CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, deployment TEXT NOT NULL,"
        " kind TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL, replica TEXT) STRICT"
    )
    db.execute("CREATE INDEX events_by_deployment ON events (deployment, seq)")


@migration
def m005_access(db: sqlite3.Connection) -> None:
    """Users, revoked keys, secrets (sealed), quotas, who owns what, and the audit log.

    An audit record is never changed, and only the oldest of its trail may go: the database itself refuses the rest.
    """
    db.execute("ALTER TABLE api_keys ADD COLUMN revoke_time TEXT")
    db.execute("CREATE TABLE users (name TEXT PRIMARY KEY, account TEXT NOT NULL, doc TEXT NOT NULL) STRICT")
    db.execute(
        "CREATE TABLE secrets (name TEXT PRIMARY KEY, account TEXT NOT NULL, key_name TEXT NOT NULL,"
        " sealed BLOB NOT NULL) STRICT"
    )
    db.execute("CREATE TABLE quotas (name TEXT PRIMARY KEY, value INTEGER NOT NULL, update_time TEXT NOT NULL) STRICT")
    db.execute("CREATE TABLE owners (name TEXT PRIMARY KEY, user TEXT NOT NULL) STRICT")
    db.execute(
        "CREATE TABLE audit_logs (seq INTEGER PRIMARY KEY AUTOINCREMENT, trail TEXT NOT NULL, account TEXT NOT NULL,"
        " time TEXT NOT NULL, principal TEXT NOT NULL, method TEXT NOT NULL, message TEXT NOT NULL,"
        " resource TEXT NOT NULL, code TEXT NOT NULL, detail TEXT NOT NULL, admin INTEGER NOT NULL,"
        " key_id TEXT NOT NULL, client_ip TEXT NOT NULL, user_agent TEXT NOT NULL, former TEXT NOT NULL,"
        " digest TEXT NOT NULL) STRICT"
    )
    db.execute("CREATE INDEX audit_logs_by_trail ON audit_logs (trail, seq)")
    db.execute("CREATE INDEX audit_logs_by_account ON audit_logs (account, seq)")
    db.execute(
        "CREATE TRIGGER audit_logs_never_change BEFORE UPDATE ON audit_logs"
        " BEGIN SELECT RAISE(ABORT, 'audit records are never changed'); END"
    )
    db.execute(
        "CREATE TRIGGER audit_logs_go_oldest_first BEFORE DELETE ON audit_logs"
        " WHEN EXISTS (SELECT 1 FROM audit_logs WHERE trail = OLD.trail AND seq < OLD.seq)"
        " BEGIN SELECT RAISE(ABORT, 'only the oldest audit record may be removed'); END"
    )


@migration
def m006_served_settings(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE served_settings (deployment TEXT PRIMARY KEY, doc TEXT NOT NULL) STRICT")


@migration
def m007_deployed_models(db: sqlite3.Connection) -> None:
    db.execute(
        "CREATE TABLE deployed_models (name TEXT PRIMARY KEY, deployment TEXT NOT NULL, doc TEXT NOT NULL) STRICT"
    )


@migration
def m008_signing_keys(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE signing_keys (purpose TEXT PRIMARY KEY, key BLOB NOT NULL) STRICT")


@migration
def m009_ledger(db: sqlite3.Connection) -> None:
    """Times of replicas in READY; a price is micro-US-dollars an hour. Of beats there is one, the last."""
    db.execute(
        "CREATE TABLE usage_intervals (number INTEGER PRIMARY KEY, account TEXT NOT NULL, deployment TEXT NOT NULL,"
        " replica TEXT NOT NULL, node TEXT NOT NULL, region TEXT NOT NULL, accelerator_type TEXT NOT NULL,"
        " accelerators INTEGER NOT NULL, price INTEGER, simulated INTEGER NOT NULL, began_ms INTEGER NOT NULL,"
        " ended_ms INTEGER, held_ms INTEGER) STRICT"
    )
    db.execute("CREATE INDEX usage_intervals_by_end ON usage_intervals (account, ended_ms)")
    db.execute("CREATE INDEX usage_intervals_open ON usage_intervals (number) WHERE ended_ms IS NULL")
    db.execute(
        "CREATE TABLE ledger_beat (id INTEGER PRIMARY KEY CHECK (id = 1), boot TEXT NOT NULL,"
        " monotonic_ms INTEGER NOT NULL, ledger_ms INTEGER NOT NULL) STRICT"
    )
    db.execute("ALTER TABLE replicas ADD COLUMN accelerators INTEGER NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE replicas ADD COLUMN threads INTEGER NOT NULL DEFAULT 1")


@migration
def m010_lived(db: sqlite3.Connection) -> None:
    """When a deployment was used last, in seconds that engines on this folder have lived; of their beats the last."""
    db.execute("ALTER TABLE deployments ADD COLUMN used_lived_s REAL")
    db.execute(
        "CREATE TABLE fleet_beat (id INTEGER PRIMARY KEY CHECK (id = 1), boot TEXT NOT NULL,"
        " monotonic_s REAL NOT NULL, wall_s REAL NOT NULL, lived_s REAL NOT NULL) STRICT"
    )


@migration
def m011_routers(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE routers (name TEXT PRIMARY KEY, account TEXT NOT NULL, doc TEXT NOT NULL) STRICT")


@migration
def m012_guards(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE guards (name TEXT PRIMARY KEY, account TEXT NOT NULL, doc TEXT NOT NULL) STRICT")


@migration
def m013_request_usage(db: sqlite3.Connection) -> None:
    """What requests used by minute and payer; a charge is units of 1e-10 US dollars. Of the last request there is one
    row: its number tells which lines of the journal are in the table already."""
    db.execute(
        "CREATE TABLE request_usage (account TEXT NOT NULL, at_ms INTEGER NOT NULL, user TEXT NOT NULL,"
        " key TEXT NOT NULL, deployment TEXT NOT NULL, model TEXT NOT NULL, adapter TEXT NOT NULL, tags TEXT NOT NULL,"
        " simulated INTEGER NOT NULL, requests INTEGER NOT NULL, failed INTEGER NOT NULL, prompt INTEGER NOT NULL,"
        " cached INTEGER NOT NULL, generated INTEGER NOT NULL, accepted INTEGER NOT NULL, rejected INTEGER NOT NULL,"
        " unpriced INTEGER NOT NULL, charge INTEGER NOT NULL,"
        " PRIMARY KEY (account, at_ms, user, key, deployment, model, adapter, tags, simulated)) STRICT, WITHOUT ROWID"
    )
    db.execute("CREATE INDEX request_usage_by_time ON request_usage (at_ms)")
    db.execute("CREATE TABLE last_request (id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL) STRICT")


@migration
def m014_faults(db: sqlite3.Connection) -> None:
    """Since when nobody asks a deployment, in seconds that an engine was there for; and what went wrong with its
    replicas."""
    db.execute("ALTER TABLE deployments ADD COLUMN idle_watched_s REAL")
    db.execute("ALTER TABLE fleet_beat ADD COLUMN watched_s REAL NOT NULL DEFAULT 0")
    db.execute("CREATE TABLE faults (deployment TEXT PRIMARY KEY, doc TEXT NOT NULL) STRICT")


@migration
def m015_usage_of_guards(db: sqlite3.Connection) -> None:
    """Requests that guards made for those of clients are told apart: the guard is part of who pays."""
    told = "account, at_ms, user, key, deployment, model, adapter, tags, simulated"
    sums = "requests, failed, prompt, cached, generated, accepted, rejected, unpriced, charge"
    db.execute("ALTER TABLE request_usage RENAME TO request_usage_before")
    db.execute("DROP INDEX request_usage_by_time")
    db.execute(
        "CREATE TABLE request_usage (account TEXT NOT NULL, at_ms INTEGER NOT NULL, user TEXT NOT NULL,"
        " key TEXT NOT NULL, deployment TEXT NOT NULL, model TEXT NOT NULL, adapter TEXT NOT NULL, tags TEXT NOT NULL,"
        " simulated INTEGER NOT NULL, guard TEXT NOT NULL, requests INTEGER NOT NULL, failed INTEGER NOT NULL,"
        " prompt INTEGER NOT NULL, cached INTEGER NOT NULL, generated INTEGER NOT NULL, accepted INTEGER NOT NULL,"
        " rejected INTEGER NOT NULL, unpriced INTEGER NOT NULL, charge INTEGER NOT NULL,"
        f" PRIMARY KEY ({told}, guard)) STRICT, WITHOUT ROWID"
    )
    db.execute(f"INSERT INTO request_usage ({told}, guard, {sums}) SELECT {told}, '', {sums} FROM request_usage_before")
    db.execute("DROP TABLE request_usage_before")
    db.execute("CREATE INDEX request_usage_by_time ON request_usage (at_ms)")


@migration
def m016_addon_uses(db: sqlite3.Connection) -> None:
    """When an adapter was asked last and what came of it (JSON)."""
    db.execute("ALTER TABLE deployed_models ADD COLUMN use TEXT")


@migration
def m017_published_shapes(db: sqlite3.Connection) -> None:
    """Versions of an operator's deployment shapes (JSON), each with the digest of what it holds deployments to."""
    db.execute("CREATE TABLE published_shapes (name TEXT PRIMARY KEY, digest TEXT NOT NULL, doc TEXT NOT NULL) STRICT")
