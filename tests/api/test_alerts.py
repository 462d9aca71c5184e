"""`GET /firedeck/v1/accounts/{account}/alerts` and `firedeck alerts`."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner

from client.cli.main import main
from client.types import DeploymentSpec
from engine.control.alerts import RULES, Alert
from engine.fleet.alarms import Alarms
from tests.house import home, served
from tests.processes import SMOLLM2

NAME = "accounts/local/deployments/chat"


@pytest.fixture(autouse=True)
def _as_they_are_put(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look of the engine takes away what a test puts there."""

    async def nothing(self: Alarms, read: object) -> None:
        return

    monkeypatch.setattr(Alarms, "judge", nothing)


async def test_alerts_and_the_rules_behind_them_are_served_to_their_account(tmp_path) -> None:
    async with home(tmp_path) as opened, opened.client() as client:
        await client.deployments.create(DeploymentSpec(base_model=SMOLLM2, max_replica_count=0), "chat")
        fleet = opened.engine.house.fleet
        now = fleet.rooms.clock.monotonic()
        fleet.alerts = {("x", NAME): Alert(RULES[0], NAME, 0.5, now - 400, now - 100)}
        page = await client.fleet.alerts()
        assert [(a.name, a.state, a.deployment, a.value) for a in page.alerts] == [
            (RULES[0].name, "FIRING", NAME, 0.5)
        ]  # fmt: skip
        assert [rule.expression for rule in page.rules] == [rule.expression for rule in RULES]
        async with opened.http(await opened.stranger()) as theirs:
            assert (await theirs.get("/firedeck/v1/accounts/local/alerts")).status_code == 403
            own = (await theirs.get("/firedeck/v1/accounts/elsewhere/alerts")).json()
            assert own["alerts"] == []


async def test_the_command_line_shows_them(tmp_path) -> None:
    async with served(tmp_path) as (url, opened):
        async with opened.client() as client:
            await client.deployments.create(DeploymentSpec(base_model=SMOLLM2, max_replica_count=0), "chat")
        fleet = opened.engine.house.fleet
        fleet.alerts = {("x", NAME): Alert(RULES[0], NAME, 0.5, fleet.rooms.clock.monotonic())}
        words = ["--base-url", url, "--api-key", opened.admin_key]
        shown = await asyncio.to_thread(CliRunner().invoke, main, ["alerts", *words])
        assert shown.exit_code == 0, shown.output
        assert all(word in shown.output for word in ("PENDING", "chat", RULES[0].name, "500 ms, above 200 ms"))
        as_json = await asyncio.to_thread(CliRunner().invoke, main, ["alerts", "-o", "json", *words])
        assert json.loads(as_json.output)[0]["name"] == RULES[0].name
