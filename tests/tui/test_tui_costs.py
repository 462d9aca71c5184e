"""What the fleet costs: by deployment first, then by anything that requests and replicas are known by."""

from __future__ import annotations

from tests.tui.conftest import open_deck


async def test_costs_by_deployment_with_sums_and_a_forecast():
    async with open_deck((80, 24)) as stage:
        await stage.press("dollar_sign")
        stage.matches("costs-80x24")


async def test_costs_are_grouped_by_accelerator_and_by_tag_and_no_price_is_not_zero():
    async with open_deck() as stage:
        await stage.press("dollar_sign", "b")
        assert "time of replicas by accelerator type" in stage.text
        assert "NVIDIA_L4_24GB" in stage.text
        await stage.press("b")
        assert "tokens of requests by tag" in stage.text
        rows = [line for line in stage.text.splitlines() if "team=" in line]
        assert ["team=ads" in row for row in rows] == [True, False]
        assert all("–" in row and "0.00" not in row for row in rows)
        assert "requests have no price" in stage.text


async def test_costs_are_told_by_hour_and_by_day():
    async with open_deck((120, 40)) as stage:
        await stage.press("dollar_sign", "b", "b", "b", "b", "b", "b", "b")
        assert "time of replicas and tokens of requests by hour" in stage.text
        rows = [line for line in stage.text.splitlines() if "2026-11-20 1" in line or "2026-11-19 2" in line]
        assert "██████████" in next(line for line in rows if "2026-11-20 11:00" in line)
        assert "not over yet" in stage.text
        await stage.press("b")
        assert "by day" in stage.text
        assert "Fri 2026-11-20" in stage.text
        await stage.press("b")
        assert "time of replicas by deployment" in stage.text
