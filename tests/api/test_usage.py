"""`/firedeck/v1/accounts/{account}/usage`, `firedeck usage`, and the two quotas that time uses up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from client.access_types import Quota
from client.cli.main import main
from client.cli.usage import text
from client.errors import FiredeckError, ResourceExhausted
from client.resources import Client
from client.types import Deployment, DeploymentSpec
from client.usage_types import Usage
from engine.access.quotas import Consumption, Quotas
from engine.control.ledger import Presence, Terms
from engine.control.price import Totals
from tests.house import Home, field_of, home
from tests.processes import SMOLLM2

HOUR_S = 3600.0
H100 = Terms("n1", "US_IOWA_1", "NVIDIA_H100_80GB", 2, 6_000_000, simulated=True)
CPU = Terms("local", "REGION_UNSPECIFIED", "ACCELERATOR_TYPE_UNSPECIFIED", 0, None, simulated=False)
ASK = {"model": "accounts/local/deployments/a", "prompt": "Hi"}


@pytest.fixture
async def own(tmp_path) -> AsyncIterator[Home]:
    async with home(tmp_path) as opened:
        yield opened


@pytest.fixture
async def admin(own: Home) -> AsyncIterator[Client]:
    async with own.client() as client:
        yield client


async def used(at: Home) -> None:
    """An hour of `big` on two accelerators and two of `small` on none, ended just now; and one of another account's."""
    ledger = at.engine.house.ledger
    now = ledger._clock.monotonic()
    there = {
        "r1": Presence("accounts/local/deployments/big", now - HOUR_S, now, H100),
        "r2": Presence("accounts/local/deployments/small", now - 2 * HOUR_S, now, CPU),
        "r3": Presence("accounts/elsewhere/deployments/big", now - HOUR_S, now, H100),
    }
    await ledger.observe(there)
    await ledger.observe({replica: Presence(one.deployment, now, now) for replica, one in there.items()})


def lately() -> datetime:
    return datetime.now(UTC) - timedelta(hours=3)


async def test_usage_is_summed_by_deployment_and_by_type_of_accelerator(own: Home, admin: Client) -> None:
    await used(own)
    found = await admin.usage.get(start=lately())
    assert [row.deployment for row in found.rows] == [
        "accounts/local/deployments/big",
        "accounts/local/deployments/small",
    ]
    big, small = found.rows
    assert (big.replica_seconds, big.accelerator_seconds, big.cost_usd) == (HOUR_S, 2 * HOUR_S, 6.0)
    assert (big.unpriced_replica_seconds, big.simulated_share) == (0, 1)
    assert (small.replica_seconds, small.accelerator_seconds, small.cost_usd) == (2 * HOUR_S, 0, None)
    assert (small.unpriced_replica_seconds, small.simulated_share) == (2 * HOUR_S, 0)
    assert (found.total.replica_seconds, found.total.cost_usd) == (3 * HOUR_S, 6.0)
    kinds = await admin.usage.get(start=lately(), group_by="acceleratorType")
    assert {row.accelerator_type: row.accelerator_seconds for row in kinds.rows} == {
        "NVIDIA_H100_80GB": 2 * HOUR_S, "ACCELERATOR_TYPE_UNSPECIFIED": 0,
    }  # fmt: skip
    earlier = await admin.usage.get(start=lately() - timedelta(days=1), end=lately())
    assert (earlier.rows, earlier.total.replica_seconds, earlier.total.cost_usd) == ([], 0, 0)


async def test_hours_are_told_by_hour_and_by_day_in_utc_and_come_to_the_same(own: Home, admin: Client) -> None:
    await used(own)
    whole = await admin.usage.get(start=lately())
    by_hour = await admin.usage.get(start=lately(), group_by="hour,deployment")
    assert by_hour.group_by == "hour,deployment"
    assert all(row.time is not None and row.time.minute == row.time.second == 0 for row in by_hour.rows)
    assert [row.time for row in by_hour.rows] == sorted(row.time for row in by_hour.rows)
    assert all(row.replica_seconds <= HOUR_S for row in by_hour.rows)
    big = [row for row in by_hour.rows if row.deployment == "accounts/local/deployments/big"]
    assert sum(row.accelerator_seconds for row in big) == pytest.approx(2 * HOUR_S)
    assert sum(row.cost_usd or 0 for row in big) == pytest.approx(6.0)
    by_day = await admin.usage.get(start=lately(), group_by="day")
    assert {row.deployment for row in by_day.rows} == {None}
    assert sum(row.replica_seconds for row in by_day.rows) == pytest.approx(3 * HOUR_S)
    assert by_hour.total == by_day.total == whole.total
    assert text(by_hour).splitlines()[1].split()[:2] == ["HOUR", "DEPLOYMENT"]
    for wrong in ("week", "hour,day", ""):
        with pytest.raises(FiredeckError) as refused:
            await admin.usage.get(group_by=wrong)
        assert refused.value.status == 400


async def test_another_account_sees_its_own_alone(own: Home, admin: Client) -> None:
    await used(own)
    async with own.http(await own.stranger()) as http:
        assert (await http.get("/firedeck/v1/accounts/local/usage")).status_code == 403
        query = {"startTime": lately().isoformat()}
        mine = Usage.model_validate((await http.get("/firedeck/v1/accounts/elsewhere/usage", params=query)).json())
    assert [row.deployment for row in mine.rows] == ["accounts/elsewhere/deployments/big"]


async def test_without_a_period_it_is_this_month(own: Home, admin: Client) -> None:
    found = await admin.usage.get()
    assert (found.start_time.day, found.start_time.hour, found.start_time.minute) == (1, 0, 0)
    assert found.end_time > found.start_time


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"startTime": "yesterday"}, "startTime"), ({"startTime": ""}, "startTime"), ({"endTime": ""}, "endTime"),
        ({"startTime": "2026-02-01T00:00:00Z", "endTime": "2026-01-01T00:00:00Z"}, "startTime"),
        ({"endTime": "0001-01-01T00:00:00+14:00"}, "endTime"),
        ({"groupBy": "colour"}, "groupBy"),
    ],
)  # fmt: skip
async def test_what_cannot_be_read_is_400_naming_the_field(own: Home, query, field) -> None:
    async with own.http(own.admin_key) as http:
        answer = await http.get("/firedeck/v1/accounts/local/usage", params=query)
    assert (answer.status_code, field_of(answer)) == (400, field), answer.text


async def test_the_table_states_hours_and_what_is_simulated_or_has_no_price(own: Home, admin: Client) -> None:
    await used(own)
    shown = text(await admin.usage.get(start=lately())).splitlines()
    assert [line.split() for line in shown[1:5]] == [
        ["DEPLOYMENT", "REPLICA-HOURS", "GPU-HOURS", "COST", "USD", "SIMULATED"],
        ["big", "1.0000", "2.0000", "6.0000", "100%"],
        ["small", "2.0000", "0.0000", "-", "-"],
        ["TOTAL", "3.0000", "2.0000", "6.0000", "33%"],
    ]
    assert "without a price: 2.0000 replica-hours (give the machine one" in shown[5]
    assert shown[6].startswith("SIMULATED")
    by_type = text(await admin.usage.get(start=lately(), group_by="acceleratorType"))
    assert "none (CPU)" in by_type


def test_the_command_has_its_options() -> None:
    shown = CliRunner().invoke(main, ["usage", "--help"]).output
    assert all(word in shown for word in ("--start-time", "--end-time", "--group-by", "--json"))


async def test_at_the_monthly_budget_requests_pause_and_nothing_is_added(own: Home, admin: Client) -> None:
    off = DeploymentSpec(base_model=SMOLLM2, max_replica_count=0)
    await admin.deployments.create(off, "a")
    await used(own)
    quota = await admin.quotas.get("monthly-spend-usd")
    assert quota.usage == pytest.approx(6.0) or datetime.now(UTC) - timedelta(hours=2) < quota_month()
    await admin.quotas.update("monthly-spend-usd", 7)
    async with own.http(own.admin_key) as http:
        assert (await http.post("/v1/completions", json=ASK)).status_code == 503  # it is switched off
        assert (await http.get("/v1/accounts/local")).json()["suspendState"] == "UNSUSPENDED"
        await admin.quotas.update("monthly-spend-usd", 0)
        answer = await http.post("/v1/completions", json=ASK)
        assert (answer.status_code, answer.json()["error"]["code"]) == (402, "MONTHLY_SPEND_LIMIT_EXCEEDED")
        assert "firedeck quota update monthly-spend-usd --value N" in answer.json()["error"]["message"]
        assert (await http.get("/v1/accounts/local")).json()["suspendState"] == "MONTHLY_SPEND_LIMIT_EXCEEDED"
        assert (await http.get("/v1/accounts/fireworks")).json()["suspendState"] == "UNSUSPENDED"
        assert (await http.get("/v1/models")).status_code == 200  # looking costs nothing
        [condition] = (await admin.fleet.status("a")).conditions
        assert (condition.type, condition.reason) == ("QuotaExceeded", "MONTHLY_SPEND_LIMIT_EXCEEDED")
        assert "its requests are refused" in condition.message
        assert "firedeck quota update monthly-spend-usd --value N" in condition.message
        [watched] = (await admin.fleet.snapshot()).deployments
        assert watched.conditions == [condition]
        await admin.quotas.update("monthly-spend-usd", 7)
        assert (await admin.fleet.status("a")).conditions == []
        await admin.quotas.update("monthly-spend-usd", 0)
    with pytest.raises(ResourceExhausted, match="of its 0 US dollars of this month"):
        await admin.deployments.create(DeploymentSpec(base_model=SMOLLM2), "b", validate_only=True)
    with pytest.raises(ResourceExhausted, match="monthly-spend-usd"):
        await admin.deployments.scale("a", 1)
    await admin.deployments.scale("a", 0)
    await admin.deployments.update("a", DeploymentSpec(description="no more replicas than before"))


def quota_month() -> datetime:
    return datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


async def test_at_the_accelerator_hours_of_the_month_only_deployments_with_accelerators_pause(
    own: Home, admin: Client, monkeypatch
) -> None:
    await admin.deployments.create(DeploymentSpec(base_model=SMOLLM2, max_replica_count=0), "a")
    await admin.quotas.update("gpu-hours-per-month", 0)
    async with own.http(own.admin_key) as http:
        assert (await http.post("/v1/completions", json=ASK)).status_code == 503
        assert (await admin.fleet.status("a")).conditions == []
        monkeypatch.setattr(own.engine.house.fleet.plans._sizing, "accelerators", lambda template: 1)
        answer = await http.post("/v1/completions", json=ASK)
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "RESOURCE_EXHAUSTED")
        assert "0 accelerator-hours of this month (gpu-hours-per-month)" in answer.json()["error"]["message"]
        [condition] = (await admin.fleet.status("a")).conditions
        assert (condition.type, condition.reason) == ("QuotaExceeded", "GPU_HOURS_LIMIT_EXCEEDED")
        assert "firedeck quota update gpu-hours-per-month --value N" in condition.message
        await admin.deployments.delete("a", ignore_checks=True)
        assert (await admin.fleet.status("a")).conditions == []
        await admin.deployments.undelete("a")
    with pytest.raises(ResourceExhausted, match="gpu-hours-per-month"):
        await admin.deployments.update("a", DeploymentSpec(max_replica_count=1), validate_only=True)


@pytest.mark.parametrize(("minimum", "maximum", "refused"), [(1, 3, False), (2, 3, True), (1, 4, True), (0, 2, False)])
async def test_at_the_monthly_budget_neither_count_of_a_deployment_grows(
    own: Home, minimum: int, maximum: int, refused: bool
) -> None:
    former = Deployment(name="accounts/local/deployments/a", min_replica_count=1, max_replica_count=3)
    spent = Totals()
    spent.add(3_600_000, accelerators=1, price=9_000_000, simulated=False)
    records = own.engine.house.access.records
    rates = own.engine.house.access.quotas.rates
    quotas = Quotas(records, lambda account: [former], rates, Consumption(lambda account: spent))
    await quotas.update("local", "monthly-spend-usd", Quota(value="9"))
    planned = former.model_copy(update={"min_replica_count": minimum, "max_replica_count": maximum})
    with pytest.raises(ResourceExhausted, match="of its 9 US dollars") if refused else nullcontext():
        quotas.admit_deployment(planned)
