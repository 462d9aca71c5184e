"""Lists, measured: what one page of 5,000 deployments takes, from the request to the last byte of its answer.

The control plane's routes run in this process, over a fleet whose deployments rest (nothing is reconciled meanwhile).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from client import collector
from client.names import Name
from client.types import Deployment
from engine import declare
from engine.control.windows import PRODUCT
from tests.house import home
from tests.processes import SMOLLM2

DEPLOYMENTS = 5_000
PAGES = 25
WANTED_MS = 50.0
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
QUERIES: dict[str, dict[str, Any]] = {
    "pages of 50": {},
    "pages of 200": {"pageSize": 200},
    "pages of 200, name and state alone": {"pageSize": 200, "readMask": "name,state"},
    "pages of 50, filtered": {"filter": 'display_name="d-*" AND (state=READY OR min_replica_count>3)'},
    "pages of 50, by state and newest": {"orderBy": "state, create_time desc"},
    "pages of 200, by five fields": {
        "pageSize": 200,
        "orderBy": "replica_stats.ready_replica_count, max_replica_count desc, state, display_name, name",
    },
    "pages of 50, twenty conditions": {"filter": " OR ".join(f'name:"{n}7"' for n in range(19)) + " AND state=READY"},
}


async def main() -> None:
    """Print one row a query: its median and its worst page, on the wall's clock and in processor time.

    The verdict is on the worst in processor time: on a machine that others use too, the wall's clock tells of them.
    """
    print(f"lists of {DEPLOYMENTS:,} deployments, {PAGES} pages each (wanted: at most {WANTED_MS:.0f} ms a page)\n")
    print(f"{'':<36} {'p50':>9} {'worst':>9} {'CPU p50':>9} {'worst':>9} {'KiB':>6} {'wanted':>7}")
    with tempfile.TemporaryDirectory() as folder:
        async with home(Path(folder) / "data") as there, there.http(there.admin_key) as http:
            for number in range(DEPLOYMENTS):
                there.engine.house.fleet.keep(_deployment(number))
            collector.spare()  # as an engine does once it has started
            for what, query in QUERIES.items():
                await _row(http, what, query)


def _deployment(number: int) -> Deployment:
    name = Name("local", "deployments", f"d-{number:05}")
    spec = Deployment(base_model=SMOLLM2, description="measured", max_replica_count=1 + number % 4)
    return declare.create(spec, name, 8192, PRODUCT).model_copy(
        update={
            "state": "READY" if number % 3 else "CREATING", "desired_replica_count": 1, "replica_count": 1,
            "create_time": BEGAN + timedelta(seconds=number * 7919 % 86_400),
        }
    )  # fmt: skip


async def _row(http: httpx.AsyncClient, what: str, query: dict[str, Any]) -> None:
    took, busy, size, token = [], [], 0, ""
    for _ in range(PAGES):
        began, began_busy = time.perf_counter(), time.process_time()
        answer = await http.get("/v1/accounts/local/deployments", params={**query, "pageToken": token})
        took.append((time.perf_counter() - began) * 1000)
        busy.append((time.process_time() - began_busy) * 1000)
        size = max(size, len(answer.content))
        token = answer.raise_for_status().json()["nextPageToken"]
    met = "met" if max(busy) <= WANTED_MS else "not met"
    p50, cpu = statistics.median(took), statistics.median(busy)
    figures = " ".join(f"{figure:>6.1f} ms" for figure in (p50, max(took), cpu, max(busy)))
    print(f"{what:<36} {figures} {size / 1024:>6.0f} {met:>7}")
