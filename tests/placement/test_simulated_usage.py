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
from tests.placement.test_simulated_engine import H100, SMALL, cli, quick_fleet, ready, until
from tests.processes import PATIENCE_S, EngineProcess

SAMPLE_S = 0.05
TICK_S = 1.0  # how much later than it happened a step may be seen
PRICE = 24.5 / 8  # of one accelerator, an hour


class Counter:
    """Counts ready replicas again and again, from none on: their integral is between `low_s` and `high_s`.

    They are the two ways to read a step, wider by what could be missed of it: until it shows, and while the answers
    before and after it were under way.
    """

    def __init__(self) -> None:
        self.low_s = self.high_s = self.slack_s = 0.0
        self._asked, self._took_s, self._count = time.monotonic(), 0.0, 0

    async def look(self, fleet: Client) -> int:
        asked = time.monotonic()
        count = ready(await fleet.deployments.get("d"))
        passed, took_s = asked - self._asked, time.monotonic() - asked
        self.low_s += passed * min(self._count, count)
        self.high_s += passed * max(self._count, count)
        self.slack_s += abs(count - self._count) * (TICK_S + self._took_s + took_s)
        self._asked, self._took_s, self._count = asked, took_s, count
        return count

    async def until(self, fleet: Client, wanted: int, then_s: float) -> None:
        """Until there are so many, and for a while after."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.look(fleet) != wanted:
                await asyncio.sleep(SAMPLE_S)
        for _ in range(round(then_s / SAMPLE_S)):
            await asyncio.sleep(SAMPLE_S)
            await self.look(fleet)


async def charged(fleet: Client) -> float:
    return (await fleet.usage.get()).total.replica_seconds


async def charged_at_rest(fleet: Client) -> float:
    """Once the end of every replica has been noticed: until then they are charged as if they went on."""
    former_s, now_s = -1.0, await charged(fleet)
    while now_s != former_s:
        await asyncio.sleep(2 * SAMPLE_S)
        former_s, now_s = now_s, await charged(fleet)
    return now_s


async def test_what_is_charged_is_the_integral_of_the_ready_replicas_through_scaling_and_a_kill(tmp_path: Path):
    arguments = ("--simulate", str(quick_fleet(tmp_path)), "--rehearsal")
    engine = EngineProcess(tmp_path / "data", arguments).start()
    try:
        spec = DeploymentSpec(base_model=SMALL, min_replica_count=0, max_replica_count=3, accelerator_type=H100)
        counter = Counter()
        async with Client(engine.context) as fleet:
            assert await charged(fleet) == 0
            await fleet.deployments.create(spec, "d")
            for wanted in (1, 3, 2):
                if wanted != 1:
                    await fleet.deployments.scale("d", wanted)
                await counter.until(fleet, wanted, then_s=1.0)
            asked = time.monotonic()
            before_s = await charged(fleet)
        engine.kill()
        engine.start()
        async with Client(engine.context) as fleet:
            await until(fleet, lambda d: ready(d) == 2)
            async with asyncio.timeout(PATIENCE_S):  # they outlived it: the time between is charged once that is known
                while (kept_s := await charged(fleet)) <= before_s + 2 * TICK_S:
                    await asyncio.sleep(0.05)
            assert kept_s - before_s <= 2 * (time.monotonic() - asked + TICK_S)
            await counter.until(fleet, 2, then_s=1.0)
            await fleet.deployments.scale("d", 0)
            await counter.until(fleet, 0, then_s=0.0)
            at_zero_s = await charged_at_rest(fleet)
            print(f"charged {at_zero_s:.3f} s; counted {counter.low_s:.3f} to {counter.high_s:.3f} s")
            assert counter.low_s - counter.slack_s <= at_zero_s <= counter.high_s + counter.slack_s
            await asyncio.sleep(TICK_S)
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
