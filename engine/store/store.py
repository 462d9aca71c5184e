"""The engine's memory: one SQLite file, one writer thread, named SQL.

WAL with `synchronous=FULL`: what a method has returned from survives `kill -9` and a power cut. All statements run
on one thread, writers under `BEGIN IMMEDIATE`, so nothing ever meets "database is locked"
(https://sqlite.org/isolation.html; a deferred BEGIN that turns into a write ignores the busy time-out).
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from client.addon_types import DeployedModel
from client.errors import FailedPrecondition, Unavailable
from client.fleet_types import Event
from client.types import Deployment, Model
from engine.store.disk import Disk, remedy, remedy_at_start

EVENTS_KEPT = 10_000  # rows

T = TypeVar("T")
Params = Mapping[str, Any]
Statement = tuple[str, Params]  # the name of one, and what it is run with


@dataclass(frozen=True, slots=True)
class ReplicaRecord:
    """What must be known to find a replica process again, and what it has of its node. `pid` is None until the process
    has been started."""

    id: str
    deployment: str
    generation: str
    socket: str
    key: str
    pid: int | None
    created_at: float
    accelerators: int = 0
    threads: int = 1


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key without the key: `hash` is hex SHA-256 of it, `prefix` its first characters."""

    id: str
    hash: str
    prefix: str
    account: str
    user: str
    role: str
    display_name: str
    create_time: str
    expire_time: str | None = None
    revoke_time: str | None = None


@dataclass(frozen=True, slots=True)
class StoredDeployment:
    """When it was asked or changed last and since when it is idle (`engine.fleet.lived`), None where that is not known;
    `faults`: what went wrong with its replicas (`engine.fleet.faults`), None for nothing."""

    deployment: Deployment
    last_request_at: datetime | None
    used_lived_s: float | None = None
    idle_watched_s: float | None = None
    faults: str | None = None


def named_queries() -> dict[str, str]:
    """The statements of all `.sql` files here, by name."""
    files = sorted(file.name for file in resources.files("engine.store").iterdir() if file.name.endswith(".sql"))
    text = "\n".join(resources.files("engine.store").joinpath(name).read_text() for name in files)
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (sql.strip() for sql in parts[2::2]), strict=True))


class Store:
    """Async verbs over one SQLite file. Open with `await Store.open(path)`, end with `close()`."""

    def __init__(self, disk: Disk, connection: sqlite3.Connection, thread: ThreadPoolExecutor) -> None:
        self._disk = disk
        self._db = connection
        self._is_connected = True
        self._thread = thread
        self._sql = named_queries()

    @classmethod
    async def open(cls, path: Path) -> Store:
        thread, disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store"), Disk(path)
        try:
            connection = await asyncio.get_running_loop().run_in_executor(thread, disk.connect)
        except sqlite3.DatabaseError as error:
            thread.shutdown()
            raise FailedPrecondition(f"{path} cannot be opened: {error}", hint=remedy_at_start(error)) from error
        return cls(disk, connection, thread)

    async def close(self) -> None:
        await self._run(self._db.close)
        self._thread.shutdown(wait=True)

    async def put_deployment(self, deployment: Deployment) -> None:
        await self._write("put_deployment", _row_of(deployment))

    async def deployments(self) -> list[StoredDeployment]:
        return [
            StoredDeployment(
                deployment=Deployment.model_validate_json(row.pop("doc")),
                last_request_at=_instant(row.pop("last_request_at")),
                **row,
            )
            for row in await self._read("all_deployments")
        ]

    async def drop_deployment(self, name: str) -> None:
        """The deployment and what was deployed on it: one made later under the same name must not inherit them. Its
        events stay for as long as all do, for whoever asks what became of it."""
        of, named = {"deployment": name}, {"name": name}
        await self._run(
            self._transact,
            [
                ("drop_deployment", named), ("drop_served_settings", named), ("drop_deployed_models_of", of),
                ("drop_faults", named),
            ],
        )  # fmt: skip

    async def touch_deployment(self, name: str, at: datetime | None, lived_s: float, idle_watched_s: float) -> None:
        """The instants of its last request, of its last use (a request or a change), and since when it is idle."""
        row = {"name": name, "at": at and at.isoformat(), "lived_s": lived_s, "idle_watched_s": idle_watched_s}
        await self._write("touch_deployment", row)

    async def put_faults(self, deployment: str, doc: str) -> None:
        """What went wrong with its replicas (JSON)."""
        await self._write("put_faults", {"deployment": deployment, "doc": doc})

    async def put_model(self, model: Model) -> None:
        doc = model.model_dump_json(by_alias=True, exclude_none=True)
        await self._write("put_model", {"name": model.name, "account": model.name.split("/")[1], "doc": doc})

    async def models(self) -> list[Model]:
        return [Model.model_validate_json(row["doc"]) for row in await self._read("all_models")]

    async def drop_model(self, name: str) -> None:
        await self._write("drop_model", {"name": name})

    async def put_deployed_models(
        self, *records: DeployedModel, of: Deployment | None = None, gone: DeployedModel | None = None
    ) -> None:
        """All of them or none, and with them the new deployment that they are `of`; `gone` goes with that."""
        rows: list[tuple[str, Params]] = [] if of is None else [("put_deployment", _row_of(of))]
        rows += [("drop_deployed_model", {"name": gone.name})] if gone is not None else []
        for r in records:
            doc = r.model_dump_json(by_alias=True, exclude_none=True)
            rows.append(("put_deployed_model", {"name": r.name, "deployment": r.deployment, "doc": doc}))
        await self._run(self._transact, rows)

    async def deployed_models(self) -> list[DeployedModel]:
        """In the order in which they were made."""
        return [DeployedModel.model_validate_json(row["doc"]) for row in await self._read("all_deployed_models")]

    async def drop_deployed_model(self, name: str) -> None:
        await self._write("drop_deployed_model", {"name": name})

    async def signing_key(self, purpose: str) -> bytes:
        """32 random bytes for this purpose, the same ever after. Those that are there ask nothing of a full disk."""
        rows = await self._read("signing_key", {"purpose": purpose})
        if not rows:
            await self._write("add_signing_key", {"purpose": purpose, "key": secrets.token_bytes(32)})
            rows = await self._read("signing_key", {"purpose": purpose})
        return bytes(rows[0]["key"])

    async def put_replica(self, record: ReplicaRecord) -> None:
        await self._write("put_replica", asdict(record))

    async def replicas(self) -> list[ReplicaRecord]:
        return [ReplicaRecord(**row) for row in await self._read("all_replicas")]

    async def drop_replica(self, replica_id: str) -> None:
        await self._write("drop_replica", {"id": replica_id})

    async def put_served_settings(self, deployment: str, doc: str) -> None:
        """What replicas were started with that have served steadily (JSON), to return to."""
        await self._write("put_served_settings", {"deployment": deployment, "doc": doc})

    async def served_settings(self) -> dict[str, str]:
        return {row["deployment"]: row["doc"] for row in await self._read("all_served_settings")}

    async def put_key(self, record: KeyRecord) -> None:
        await self._write("put_key", asdict(record))

    async def drop_key(self, key_id: str) -> None:
        await self._write("drop_key", {"id": key_id})

    async def keys(self) -> list[KeyRecord]:
        return [KeyRecord(**row) for row in await self._read("all_keys")]

    async def add_event(
        self, deployment: str, kind: str, reason: str, message: str, replica: str | None = None
    ) -> None:
        row = event_row(deployment, kind, reason, message, replica)
        await self._run(self._transact, [("add_event", row), prune_events()])

    async def events_of(self, deployment: str, after: int, limit: int) -> list[Event]:
        """The newest `limit` events of a deployment after `after`, oldest first: of the last one of this name, be it
        gone. Those of former ones stand among its account's."""
        page = {"deployment": deployment, "after": after, "limit": limit}
        return [Event.model_validate(row) for row in await self._read("events_of", page)]

    async def events(self, account: str, after: int, limit: int) -> list[Event]:
        """The same for all deployments of an account."""
        page = {"prefix": f"accounts/{account}/", "after": after, "limit": limit}
        return [Event.model_validate(row) for row in await self._read("all_events", page)]

    async def fetch(self, name: str, params: Params | None = None, where: str = "") -> list[dict[str, Any]]:
        """The rows of a named statement. `where` takes the place of its /*where*/: column names and parameters only."""
        return await self._run(self._fetch, name, params or {}, where)

    async def transact(self, statements: Sequence[Statement]) -> None:
        """Named statements in one transaction."""
        await self._run(self._transact, statements)

    async def _read(self, name: str, params: Params | None = None) -> list[dict[str, Any]]:
        return await self._run(self._fetch, name, params or {})

    async def _write(self, name: str, params: Params) -> None:
        await self._run(self._transact, [(name, params)])

    async def _run(self, call: Callable[..., T], *args: Any) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.InterfaceError):
                raise  # a mistake of ours, not of the disk
            raise Unavailable(f"the engine's state cannot be read or written: {error}", hint=remedy(error)) from error

    def _connected(self) -> sqlite3.Connection:
        """The connection, made anew where it had to be closed: what keeps it from being made now may pass."""
        if not self._is_connected:
            self._db, self._is_connected = self._disk.reconnect(), True
        return self._db

    def _fetch(self, name: str, params: Params, where: str = "") -> list[dict[str, Any]]:
        return [dict(row) for row in self._connected().execute(self._sql[name].replace("/*where*/", where), params)]

    def _transact(self, statements: Iterable[Statement]) -> None:
        self._disk.check()
        db = self._connected()
        db.execute("BEGIN IMMEDIATE")
        try:
            for name, params in statements:
                db.execute(self._sql[name], params)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:  # a full disk has rolled back by itself (sqlite.org/lang_transaction.html)
                db.execute("ROLLBACK")
            raise
        if not self._disk.has_log():
            self._disk.save(db)
            db.close()
            self._is_connected = False


def _row_of(deployment: Deployment) -> Params:
    wire = deployment.to_wire()
    return {
        "name": deployment.name, "account": deployment.name.split("/")[1], "doc": json.dumps(wire),
        "create_time": wire["createTime"], "delete_time": wire.get("deleteTime"),
    }  # fmt: skip


def event_row(deployment: str, kind: str, reason: str, message: str, replica: str | None = None) -> Params:
    """What happened now, as `add_event` takes it."""
    return {
        "time": datetime.now(UTC).isoformat(), "deployment": deployment, "kind": kind, "reason": reason,
        "message": message, "replica": replica,
    }  # fmt: skip


def prune_events() -> Statement:
    """After every one that is added."""
    return "prune_events", {"keep": EVENTS_KEPT}


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
