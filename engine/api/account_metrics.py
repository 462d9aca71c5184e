"""`GET /v1/accounts/{account}/metrics`: the documented metrics of an account's deployments, six times a minute."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from client.errors import ResourceExhausted
from engine.api.common import Caller, HouseDep
from engine.telemetry.account_metrics import SCRAPES_A_MINUTE, exposition

router = APIRouter(tags=["accounts"])


@router.get("/v1/accounts/{account}/metrics", response_class=PlainTextResponse)
async def metrics(account: str, house: HouseDep, caller: Caller) -> Response:
    """Prometheus text: rates over the last minute as gauges, new every 30 s. `/metrics` has counters and histograms."""
    wait_s = house.scrapes.wait_s(account, house.fleet.rooms.clock.monotonic())
    if wait_s:
        raise ResourceExhausted(
            f"the metrics of account {account!r} were asked for {SCRAPES_A_MINUTE} times within a minute",
            hint="scrape once a minute, or scrape /metrics of the engine instead", retry_after_s=wait_s,
        )  # fmt: skip
    note = "# SIMULATED: no model answers here\n" if house.fleet.rooms.driver.simulated else ""
    return Response(
        note + exposition(house.monitor.seen(account)), media_type="text/plain; version=0.0.4; charset=utf-8"
    )
