"""`/firedeck/v1/accounts/{account}/usage`: firedeck's own; the contract's ExportBillingMetrics has no REST binding."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from client.usage_types import ACCELERATOR_TYPE, Usage, UsageRow, UsageSum
from engine.api.common import Caller, HouseDep, shown
from engine.api.span import EndTime, StartTime, span_of
from engine.control.price import Totals
from engine.telemetry.ledger import Used

router = APIRouter(tags=["firedeck"])

GroupBy = Annotated[Literal["deployment", "acceleratorType"], Query(alias="groupBy")]


@router.get("/firedeck/v1/accounts/{account}/usage", response_model=Usage)
async def usage(
    account: str,
    house: HouseDep,
    caller: Caller,
    start: StartTime = None,
    end: EndTime = None,
    group_by: GroupBy = "deployment",
) -> Response:
    """Replica-seconds, accelerator-seconds and cost from `startTime` until before `endTime`, exact to the second.

    Deployments that are gone are there too; two that had the same name one after the other are one row.
    """
    now_ms = house.ledger.now_ms()
    span = span_of(start, end, now_ms, end_default_ms=now_ms)
    found = await house.ledger.usage(account, *span)
    groups: dict[str, list[Totals]] = {}
    for used in found:
        groups.setdefault(_key(used, group_by), []).append(used.totals)
    rows = [_row(key, group_by, _sum(totals)) for key, totals in sorted(groups.items())]
    total = UsageSum(**_wire(_sum([used.totals for used in found])))
    return shown(Usage(start_time=span.start, end_time=span.end, group_by=group_by, rows=rows, total=total))


def _key(used: Used, group_by: str) -> str:
    return used.accelerator_type if group_by == ACCELERATOR_TYPE else used.deployment


def _row(key: str, group_by: str, totals: Totals) -> UsageRow:
    named = {"accelerator_type": key} if group_by == ACCELERATOR_TYPE else {"deployment": key}
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
