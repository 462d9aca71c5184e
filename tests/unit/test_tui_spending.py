"""Use and costs by hours and days of UTC: every slot has a row, what is not known is not zero."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest

from client.usage_tokens_types import TokenRow
from client.usage_types import UsageRow
from tui.core import spending_page, units
from tui.core.spending_page import DAY, HOUR, SPENDING

NOW = datetime(2026, 11, 20, 12, 40, tzinfo=UTC)
NOON = NOW.replace(minute=0)


def cells(row):
    return {column.key: column.cell(row) for column in SPENDING.columns}


@pytest.mark.parametrize(("by", "count", "first"), [(HOUR, 24, NOON), (DAY, 14, NOON.replace(hour=0))])
def test_slots_are_those_of_utc_and_meet(by, count, first):
    starts = spending_page.starts(by, NOW.astimezone(timezone(timedelta(hours=5, minutes=30))))
    assert (len(starts), starts[0]) == (count, first)
    length = spending_page.COUNTS[by][1]
    assert all(newer - older == length for newer, older in pairwise(starts))


def test_a_slot_has_replicas_time_and_requests_tokens():
    times = [
        UsageRow(time=NOON, replica_seconds=1800.0, accelerator_seconds=3600.0, cost_usd=0.5),
        UsageRow(time=NOON - timedelta(hours=1), replica_seconds=3600.0),
    ]
    asked = [TokenRow(time=NOON, requests=7, prompt_tokens=1200, generated_tokens=50, cost_usd=0.25)]
    found = [cells(row) for row in spending_page.rows(HOUR, times, asked, NOW)]
    assert len(found) == 24
    newest, before, idle = found[:3]
    assert (newest["when"], newest["bar"]) == ("2026-11-20 12:00", "█████░░░░░")
    assert [newest[key] for key in ("replicas", "gpu", "cost")] == ["0.50", "1.00", "0.50"]
    assert [newest[key] for key in ("requests", "prompt", "generated", "tokens")] == ["7", "1.2k", "50", "0.25"]
    assert (before["cost"], before["requests"], before["tokens"]) == (units.UNKNOWN, "0", units.UNKNOWN)
    assert (idle["replicas"], idle["cost"]) == ("0.00", units.UNKNOWN)


def test_what_is_not_over_or_simulated_says_so():
    used = UsageRow(
        time=NOON, replica_seconds=3600.0, simulated_replica_seconds=1.0, unpriced_replica_seconds=3600.0
    )  # fmt: skip
    row = spending_page.rows(HOUR, [used], [], NOW)[0]
    told = SPENDING.detail(row, NOW)
    assert told[0] == "2026-11-20 12:00 to 2026-11-20 13:00 UTC, not over yet"
    assert told[1] == "1.00 replica-hours of it have no price"
    assert told[2].startswith("SIMULATED")
    assert "not over" not in SPENDING.detail(row, NOW + timedelta(hours=1))[0]


def test_days_are_told_by_their_names():
    assert cells(spending_page.rows(DAY, [], [], NOW)[0])["when"] == "Fri 2026-11-20"
