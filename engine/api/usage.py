"""`/firedeck/v1/accounts/{account}/usage`: firedeck's own; the contract's ExportBillingMetrics has no REST binding."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from client.errors import InvalidArgument
from client.usage_types import ACCELERATOR_TYPE, DEPLOYMENT, TIMES, Usage, UsageRow, UsageSum
from engine.api.common import Caller, HouseDep, shown
from engine.api.span import EndTime, StartTime, check_times, moment, span_ms, span_of
from engine.control.price import Totals
from engine.telemetry.ledger import Used

router = APIRouter(tags=["firedeck"])

_NAMES = (DEPLOYMENT, ACCELERATOR_TYPE, *TIMES)
_FIELDS = {DEPLOYMENT: "deployment", ACCELERATOR_TYPE: "accelerator_type"} | dict.fromkeys(TIMES, "time")
_GROUPS = f"joined by commas: {DEPLOYMENT}, {ACCELERATOR_TYPE}, and one of {', '.join(TIMES)}"

Key = tuple[str | int, ...]


@router.get("/firedeck/v1/accounts/{account}/usage", response_model=Usage)
async def usage(
    account: str,
    house: HouseDep,
    caller: Caller,
    start: StartTime = None,
    end: EndTime = None,
    group_by: Annotated[str, Query(alias="groupBy", description=_GROUPS)] = DEPLOYMENT,
) -> Response:
    """Replica-seconds, accelerator-seconds and cost from `startTime` until before `endTime`, exact to the second.

    Deployments that are gone are there too; two that had the same name one after the other are one row.
    """
    by = _names(group_by)
    now_ms = house.ledger.now_ms()
    span = span_of(start, end, now_ms, end_default_ms=now_ms)
    found = await house.ledger.usage(account, *span, span_ms(by))
    groups: dict[Key, list[Totals]] = {}
    for used in found:
        groups.setdefault(tuple(_value(used, name) for name in by), []).append(used.totals)
    rows = [_row(by, key, _sum(totals)) for key, totals in sorted(groups.items())]
    total = UsageSum(**_wire(_sum([used.totals for used in found])))
    return shown(Usage(start_time=span.start, end_time=span.end, group_by=",".join(by), rows=rows, total=total))


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in _NAMES:
            known = ", ".join(_NAMES)
            raise InvalidArgument(f"hours are not grouped by {name[:40]!r}", field="groupBy", hint=f"there are {known}")
    check_times(names)
    return names


def _value(used: Used, name: str) -> str | int:
    if name in TIMES:
        return used.from_ms
    return used.accelerator_type if name == ACCELERATOR_TYPE else used.deployment


def _row(by: Iterable[str], key: Key, totals: Totals) -> UsageRow:
    named: dict[str, Any] = {_FIELDS[name]: value for name, value in zip(by, key, strict=True)}
    if "time" in named:
        named["time"] = moment(named["time"])
    return UsageRow(**named, **_wire(totals))


def _sum(parts: list[Totals]) -> Totals:
    total = Totals()
    for part in parts:
        total.join(part)
    return total


def _wire(totals: Totals) -> dict[str, float | None]:
    usd = totals.usd
    return {
        "replica_seconds": totals.replica_ms / 1000,
        "accelerator_seconds": totals.accelerator_ms / 1000,
        "cost_usd": None if usd is None else round(usd, 6),
        "unpriced_replica_seconds": totals.unpriced_ms / 1000,
        "simulated_replica_seconds": totals.simulated_ms / 1000,
    }
