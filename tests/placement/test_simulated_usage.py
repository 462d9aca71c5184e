"""The usage ledger of a whole engine: what it charges is the integral of the ready replicas that anybody can count."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

from click.testing import CliRunner

from client.resources import Client
from client.types import DeploymentSpec
from engine.cli import serve
from tests.placement.test_simulated_engine import FLEET, H100, SMALL, cli, ready, until
from tests.processes import PATIENCE_S, EngineProcess

SAMPLE_S = 0.05
TICK_S = 1.0  # of keepers and of accounting together, and the look of a test
PRICE = 24.5 / 8  # of one accelerator, an hour


class Counter:
    """Counts ready replicas again and again; `integral_s` lies between the two ways to read a step."""

    def __init__(self, fleet: Client) -> None:
        self._fleet = fleet
        self.low_s = self.high_s = 0.0
        self.steps = 0
        self._last: tuple[float, int] | None = None

    async def look(self) -> int:
        asked = time.monotonic()
        count = ready(await self._fleet.deployments.get("d"))
        if self._last is not None:
            passed, former = asked - self._last[0], self._last[1]
            self.low_s += passed * min(former, count)
            self.high_s += passed * max(former, count)
            self.steps += abs(count - former)
        self._last = (asked, count)
        return count

    async def until(self, wanted: int, then_s: float) -> None:
        """Until there are so many, and for a while after."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.look() != wanted:
                await asyncio.sleep(SAMPLE_S)
        for _ in range(round(then_s / SAMPLE_S)):
            await asyncio.sleep(SAMPLE_S)
            await self.look()


def engine_in(folder: Path) -> EngineProcess:
    quick = folder / "fleet.toml"
    quick.write_text(FLEET.read_text().replace('start_delay = "6s"', 'start_delay = "200ms"'))
    return EngineProcess(folder / "data", ("--simulate", str(quick), "--rehearsal")).start()


async def charged(fleet: Client) -> float:
    return (await fleet.usage.get()).total.replica_seconds


async def test_what_is_charged_is_the_integral_of_the_ready_replicas_through_scaling_and_a_kill(tmp_path: Path):
    engine = engine_in(tmp_path)
    try:
        spec = DeploymentSpec(base_model=SMALL, min_replica_count=0, max_replica_count=3, accelerator_type=H100)
        async with Client(engine.context) as fleet:
            assert await charged(fleet) == 0
            await fleet.deployments.create(spec, "d")
            counter = Counter(fleet)
            for wanted in (1, 3, 2):
                if wanted != 1:
                    await fleet.deployments.scale("d", wanted)
                await counter.until(wanted, then_s=1.0)
            before_s = await charged(fleet)
            slack_s = TICK_S * counter.steps
            assert counter.low_s - slack_s <= before_s <= counter.high_s + slack_s
            print(f"charged {before_s:.3f} s; counted {counter.low_s:.3f} to {counter.high_s:.3f} s")
        killed_at = time.monotonic()
        engine.kill()
        engine.start()
        async with Client(engine.context) as fleet:
            await until(fleet, lambda d: ready(d) == 2)
            async with asyncio.timeout(PATIENCE_S):  # they outlived it: the time between is charged once that is known
                while (kept_s := await charged(fleet)) <= before_s + 2 * TICK_S:
                    await asyncio.sleep(0.05)
            assert kept_s - before_s <= 2 * (time.monotonic() - killed_at + TICK_S)
            again = Counter(fleet)
            kept_s = await charged(fleet)
            await again.until(2, then_s=1.0)
            more_s = await charged(fleet) - kept_s
            assert again.low_s - 2 * TICK_S <= more_s <= again.high_s + 2 * TICK_S
            await fleet.deployments.scale("d", 0)
            await again.until(0, then_s=1.2)
            at_zero_s = await charged(fleet)
            await again.until(0, then_s=1.0)
            assert await charged(fleet) == at_zero_s  # at zero nothing is charged
            await fleet.deployments.delete("d", hard=True, ignore_checks=True)
            found = await fleet.usage.get(group_by="acceleratorType")
            [row] = found.rows
            assert (row.accelerator_type, row.accelerator_seconds, row.simulated_share) == (H100, at_zero_s, 1)
            assert row.cost_usd is not None
            assert abs(row.cost_usd - at_zero_s / 3600 * PRICE) < 1e-5
        shown = await asyncio.to_thread(cli, engine, "usage")
        assert "GPU-HOURS" in shown
        assert "SIMULATED" in shown.splitlines()[-1]
        as_json = json.loads(await asyncio.to_thread(cli, engine, "usage", "--group-by", "accelerator-type", "--json"))
        assert as_json["rows"][0]["acceleratorType"] == H100
        assert engine.stop() == 0
    finally:
        if engine.process is not None and engine.process.poll() is None:
            engine.stop()


def test_a_price_that_is_none_is_refused():
    refused = CliRunner().invoke(serve, ["--price-per-hour", "-1"])
    assert refused.exit_code == 2
    assert "--price-per-hour" in refused.output
