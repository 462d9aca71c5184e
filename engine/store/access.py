"""Rows of users, secrets, quotas, owners and the audit log, over the one store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from engine.store.store import KeyRecord, Store


@dataclass(frozen=True, slots=True)
class SecretRecord:
    """`sealed` is the value as it lies on disk: encrypted and authenticated."""

    name: str
    key_name: str
    sealed: bytes


@dataclass(frozen=True, slots=True)
class QuotaRecord:
    name: str
    value: int
    update_time: str


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One row of the audit log. `former` is the digest of the row before it in its trail, "" for the very first."""

    seq: int
    trail: str
    account: str
    time: str
    principal: str
    method: str
    message: str
    resource: str
    code: str
    detail: str
    admin: int
    key_id: str
    client_ip: str
    user_agent: str
    former: str
    digest: str


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which rows: of an account, from `start` until before `end` (ISO 8601, UTC), with `conditions` on columns.

    A condition is (column, operator, values), the operator one of `=` (to one of them), `!=` (to any) and `:` (has the
    only one, ignoring case).
    """

    account: str
    start: str
    end: str
    conditions: Sequence[tuple[str, str, Sequence[str]]] = ()


_CONDITION = {"=": "{c} IN ({v})", "!=": "{c} NOT IN ({v})", ":": "instr(lower({c}), lower({v})) > 0"}
AUDIT_COLUMNS = frozenset({"principal", "method", "message", "resource", "code", "key_id", "client_ip"})
_ANY_SEQ = 2**62


class AccessRecords:
    """Async verbs; what a method has returned from is on disk."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def users(self) -> list[str]:
        """The users' documents, in order of their names."""
        return [row["doc"] for row in await self._store.fetch("all_users")]

    async def put_user(self, name: str, doc: str, keys: Sequence[KeyRecord] = ()) -> None:
        """A user, and in the same transaction the keys that change with it."""
        user = ("put_user", {"name": name, "account": name.split("/")[1], "doc": doc})
        await self._store.transact([user, *(("put_key", asdict(key)) for key in keys)])

    async def add_user(self, name: str, doc: str) -> None:
        """A new user, who owns nothing, whatever one of that name owned before."""
        put = ("put_user", {"name": name, "account": name.split("/")[1], "doc": doc})
        await self._store.transact([_disown(name), put])

    async def drop_user(self, name: str, keys: Sequence[KeyRecord]) -> None:
        """No user of that name any more, nor anything that is theirs."""
        drop = ("drop_user", {"name": name})
        await self._store.transact([drop, _disown(name), *(("put_key", asdict(key)) for key in keys)])

    async def secrets(self) -> list[SecretRecord]:
        return [SecretRecord(**row) for row in await self._store.fetch("all_secrets")]

    async def put_secret(self, record: SecretRecord) -> None:
        await self._store.transact([("put_secret", {**asdict(record), "account": record.name.split("/")[1]})])

    async def drop_secret(self, name: str) -> None:
        await self._store.transact([("drop_secret", {"name": name})])

    async def quotas(self) -> list[QuotaRecord]:
        return [QuotaRecord(**row) for row in await self._store.fetch("all_quotas")]

    async def put_quota(self, record: QuotaRecord) -> None:
        await self._store.transact([("put_quota", asdict(record))])

    async def drop_quota(self, name: str) -> None:
        await self._store.transact([("drop_quota", {"name": name})])

    async def guards(self) -> list[str]:
        """The guards' documents, in order of their names."""
        return [row["doc"] for row in await self._store.fetch("all_guards")]

    async def put_guard(self, name: str, doc: str) -> None:
        await self._store.transact([("put_guard", {"name": name, "account": name.split("/")[1], "doc": doc})])

    async def drop_guard(self, name: str) -> None:
        await self._store.transact([("drop_guard", {"name": name})])

    async def owner_of(self, name: str) -> str | None:
        """The user who made a resource, None when that is not known."""
        rows = await self._store.fetch("owner_of", {"name": name})
        return rows[0]["user"] if rows else None

    async def add_audit(self, records: Sequence[AuditRecord], owners: Sequence[tuple[str, str]]) -> None:
        """Records in order, and who owns what was made: (resource, user)."""
        rows: list[tuple[str, dict[str, Any]]] = [("add_audit", asdict(record)) for record in records]
        await self._store.transact([*rows, *(("put_owner", {"name": n, "user": u}) for n, u in owners)])

    async def audit_first_kept(self, trail: str, keep: int, since: str) -> int:
        """The first number that stays when `keep` rows, none older than `since`, do; 0 when nothing has to go."""
        rows = await self._store.fetch("audit_first_kept", {"trail": trail, "keep": keep, "since": since})
        return int(rows[0]["first"])

    async def prune_audit(self, trail: str, first: int) -> None:
        await self._store.transact([("prune_audit", {"trail": trail, "first": first})])

    async def audit_last_seq(self) -> int:
        """The highest number that was ever given."""
        return int((await self._store.fetch("audit_last_seq"))[0]["seq"])

    async def audit_ends(self, trail: str) -> tuple[int, int] | None:
        """The first and the last number of a trail."""
        row = (await self._store.fetch("audit_ends", {"trail": trail}))[0]
        return None if row["first"] is None else (row["first"], row["last"])

    async def audit_digest(self, seq: int) -> str:
        rows = await self._store.fetch("audit_digest", {"seq": seq})
        return rows[0]["digest"] if rows else ""

    async def audit_chain(self, trail: str, after: int, limit: int) -> list[AuditRecord]:
        page = {"trail": trail, "after": after, "limit": limit}
        return [AuditRecord(**row) for row in await self._store.fetch("audit_chain", page)]

    async def audit_page(
        self, query: AuditQuery, *, cursor: int | None, limit: int, newest_first: bool
    ) -> list[AuditRecord]:
        """At most `limit` rows beyond the number `cursor`."""
        where, params = _where(query)
        beyond = cursor if cursor is not None else (_ANY_SEQ if newest_first else 0)
        name = "audit_newest" if newest_first else "audit_oldest"
        rows = await self._store.fetch(name, {**params, "cursor": beyond, "limit": limit}, where)
        return [AuditRecord(**row) for row in rows]

    async def audit_count(self, query: AuditQuery) -> int:
        where, params = _where(query)
        return int((await self._store.fetch("audit_count", params, where))[0]["count"])


def _disown(user: str) -> tuple[str, dict[str, Any]]:
    """What a user owns has no owner any more. `user` is a full name."""
    _, account, _, user_id = user.split("/")
    return "disown", {"user": user_id, "prefix": f"accounts/{account}/"}


def _where(query: AuditQuery) -> tuple[str, dict[str, Any]]:
    """SQL of column names and parameters, and the parameters' values."""
    params: dict[str, Any] = {"account": query.account, "start": query.start, "end": query.end}
    parts = []
    for number, (column, operator, values) in enumerate(query.conditions):
        assert column in AUDIT_COLUMNS
        named = {f"v{number}_{place}": value for place, value in enumerate(values)}
        parts.append("AND " + _CONDITION[operator].format(c=column, v=", ".join(f":{name}" for name in named)))
        params |= named
    return " ".join(parts), params
