"""`/v1/accounts/{account}/auditLogs`: what was done, newest first; and firedeck's own check that nobody mended it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Response

from client import instants
from client.access_types import AuditLogEntry, AuditLogPage, AuditVerification
from client.errors import InvalidArgument
from client.types import Status
from engine.api.common import INSTANT, Caller, HouseDep, Listing, ListQuery, shown
from engine.api.listing import page_size
from engine.api.terms import parse
from engine.house import House
from engine.store.access import AuditQuery, AuditRecord
from engine.telemetry.audit import KEPT_FOR
from engine.wire_paths import snake

router = APIRouter(tags=["audit logs"])
_COLUMNS = {
    "principal": "principal", "email": "principal", "method": "method", "message": "message", "resource": "resource",
    "status.code": "code", "apiKeyId": "key_id", "clientIp": "client_ip",
}  # fmt: skip
_BY_FIELD = {snake(field): column for field, column in _COLUMNS.items()}  # either spelling is taken
_NEWEST = {"", "timestamp desc"}
_ORDERS = {*_NEWEST, "timestamp", "timestamp asc"}


@router.get("/v1/accounts/{account}/auditLogs", response_model=AuditLogPage)
async def list_audit_logs(
    account: str,
    house: HouseDep,
    caller: Caller,
    query: Listing,
    start: Annotated[str | None, Query(alias="startTime", json_schema_extra=INSTANT)] = None,
    end: Annotated[str | None, Query(alias="endTime", json_schema_extra=INSTANT)] = None,
) -> Response:
    """Records of the last 30 days, newest first (`orderBy=timestamp` for oldest first).

    The same read, by the same key, of the same resource, with the same outcome, is there at once when it comes first;
    the others are one record with their number (`37 more in 300 s`): when none has come for a minute, and once an hour.
    `filter` takes principal (or email), method, message, resource, status.code, apiKeyId and clientIp, with `=`, `!=`
    and `:` (contains): `resource:"deployments/chat" AND message="UpdateDeployment"`; principals by id or e-mail.
    Whoever was turned away before anybody was known is there too, by the reason as `message` (`message:Refuse` for all
    of them: RefuseNoKey, RefuseWrongKey, RefuseRevokedKey, RefuseExpiredKey, RefuseHost, RefuseOrigin,
    RefuseContentType): of one reason, key and client address the first at once, the others as one record a minute with
    their number.
    """
    await house.access.audit.commit()
    wanted, newest_first = _asked(house, account, query, start, end)
    size = page_size(query.size)
    records = house.access.records
    rows = await records.audit_page(wanted, cursor=_cursor(query.token), limit=size + 1, newest_first=newest_first)
    more = str(rows[size - 1].seq) if len(rows) > size else ""
    entries, total = [_entry(row) for row in rows[:size]], await records.audit_count(wanted)
    listed = AuditLogPage(audit_logs=entries, next_page_token=more, total_size=total)
    return shown(listed, query.read_mask, "audit_logs")


@router.get("/firedeck/v1/auditLogs:verify", response_model=AuditVerification)
async def verify(house: HouseDep, caller: Caller) -> Response:
    """Whether every record of this engine is as it was written, and none is missing."""
    await house.access.audit.commit()
    return shown(await house.access.audit.verify())


def _asked(house: House, account: str, query: ListQuery, start: str | None, end: str | None) -> tuple[AuditQuery, bool]:
    order = " ".join(query.order_by.split())
    if order not in _ORDERS:
        raise InvalidArgument(
            f"orderBy {order[:60]!r} is not possible here", field="orderBy", hint="'timestamp' or 'timestamp desc'"
        )
    now = datetime.now(UTC)
    since = now - KEPT_FOR if start is None else instants.parse(start, "startTime")
    until = now + timedelta(days=1) if end is None else instants.parse(end, "endTime")
    conditions = _conditions(query.filter_text, partial(house.access.users.principal, account))
    return AuditQuery(account, _text(since), _text(until), conditions), order in _NEWEST


def _conditions(filter_text: str, principal_of: Callable[[str], str]) -> list[tuple[str, str, Sequence[str]]]:
    """`principal_of` a user's id: users are called so in events and as who made something, and by e-mail here."""
    found: list[tuple[str, str, Sequence[str]]] = []
    for term in parse(filter_text):
        column = _BY_FIELD.get(snake(term.field))
        if column is None:
            raise InvalidArgument(
                f"filter names an unknown field {term.field[:60]!r}",
                field="filter",
                hint="known: " + ", ".join(_COLUMNS),
            )
        both = column == "principal" and term.operator in ("=", "!=")
        found.append((column, term.operator, (term.value, principal_of(term.value)) if both else (term.value,)))
    return found


def _text(at: datetime) -> str:
    """As records have it: UTC, to the millisecond."""
    return at.isoformat(timespec="milliseconds")


def _cursor(token: str) -> int | None:
    if token and (not (token.isascii() and token.isdigit()) or len(token) > 18):
        raise InvalidArgument("pageToken was not made by this server", field="pageToken")
    return int(token) if token else None


def _entry(row: AuditRecord) -> AuditLogEntry:
    return AuditLogEntry(
        id=str(row.seq), timestamp=datetime.fromisoformat(row.time), principal=row.principal, method=row.method,
        message=row.message, resource=row.resource, status=Status(code=row.code, message=row.detail),
        is_admin_action=bool(row.admin), api_key_id=row.key_id, client_ip=row.client_ip, user_agent=row.user_agent,
    )  # fmt: skip
