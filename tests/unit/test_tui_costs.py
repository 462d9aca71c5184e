"""Costs as rows and sums: periods in UTC, forecasts, and what has no price."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from client.usage_tokens_types import TokenRow, TokenSums, TokenUsage
from client.usage_types import Usage, UsageRow, UsageSum
from tui.core import cost_page, units

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CHAT, BASE = "accounts/local/deployments/chat", "accounts/local/deployments/base"


def book(*rows, total=None, **sums):
    return Usage(start_time=NOW, end_time=NOW, rows=list(rows), total=UsageSum(cost_usd=total, **sums))


def used(name=CHAT, cost=None, seconds=3600.0):
    return UsageRow(deployment=name, cost_usd=cost, replica_seconds=seconds)


def cells(row):
    return {column.key: column.cell(row) for column in cost_page.COSTS.columns}


def test_periods_are_days_and_months_of_utc_and_two_weeks_that_meet():
    spans = cost_page.spans(NOW)
    assert spans["today"][0] == NOW.replace(hour=0)
    assert spans["month"][0] == NOW.replace(day=1, hour=0)
    assert spans["before"][1] == spans["week"][0]
    assert spans["hour"] == (NOW - timedelta(hours=1), NOW)


def test_a_deployment_is_in_every_period_that_knows_it_and_the_dearest_is_first():
    books = {
        "hour": book(used(cost=2.0)), "today": book(used(cost=0.001)),
        "month": book(used(BASE, 90.0), used(cost=100.0)),
        "week": book(used(cost=30.0)), "before": book(used(cost=20.0)),
    }  # fmt: skip
    chat, base = cost_page.rows(books)
    assert (cells(chat)["name"], cells(chat)["today"], cells(chat)["month"]) == ("chat", "<0.01", "100.00")
    assert (cells(chat)["change"], cells(chat)["used"]) == ("+50%", "1.00 replica-h")
    assert cells(base)["change"] == cells(base)["hour"] == units.UNKNOWN
    assert cells(base)["used"] == "nothing today"
    tone = next(column.tone for column in cost_page.COSTS.columns if column.key == "change")
    assert (tone(chat), tone(base)) == ("attention", None)


def test_what_has_no_price_is_not_zero_and_says_what_to_do():
    books = {"month": book(used(), unpriced_replica_seconds=7200.0), "hour": book(used())}
    (row,) = cost_page.rows(books)
    assert cells(row)["month"] == units.UNKNOWN
    told = " ".join(cost_page.totals(books, NOW))
    assert "2.00 replica-hours have no price (firedeck serve --price-per-hour USD)" in told
    assert "forecast of the month: not known" in told


def test_simulated_hours_say_so():
    told = cost_page.totals({"month": book(used(), simulated_replica_seconds=1.0)}, NOW)
    assert any(line.startswith("SIMULATED") for line in told)


@pytest.mark.parametrize(
    ("now", "left_h"),
    [(NOW, 252), (datetime(2026, 12, 31, 23, tzinfo=UTC), 1), (datetime(2027, 2, 28, 0, tzinfo=UTC), 24)],
)  # fmt: skip
def test_the_forecast_goes_on_at_the_last_hours_pace_until_the_month_ends(now, left_h):
    assert cost_page.forecast(100.0, 2.0, now) == pytest.approx(100.0 + 2.0 * left_h)
    assert cost_page.forecast(None, 2.0, now) is None


def test_tokens_are_grouped_by_tags_and_by_what_else_requests_have():
    rows = [
        TokenRow(tags={"team": "ads", "app": "x"}, requests=3, prompt_tokens=1200, generated_tokens=50, cost_usd=1.0),
        TokenRow(tags={}, requests=1, cost_usd=None), TokenRow(user="ada", requests=2),
    ]  # fmt: skip
    usage = TokenUsage(start_time=NOW, end_time=NOW, rows=rows, total=TokenSums())
    found = {row.name: cells(row) for row in cost_page.rows({"today": usage, "month": usage})}
    assert set(found) == {"app=x team=ads", "(none)", "ada"}
    assert found["app=x team=ads"]["used"] == "3.0 requests, 1.2k tokens in, 50.0 out"
    assert found["(none)"]["month"] == units.UNKNOWN


def test_groupings_go_round():
    by, seen = cost_page.GROUPINGS[0], []
    for _ in cost_page.GROUPINGS:
        seen.append(by)
        by = cost_page.next_grouping(by)
    assert (sorted(seen), by) == (sorted(cost_page.GROUPINGS), cost_page.GROUPINGS[0])
