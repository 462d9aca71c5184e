"""A status says which declaration its state is of: right after a change it is still that of the one before."""

from __future__ import annotations

import asyncio

from client.resources import Client
from client.types import DeploymentSpec
from engine.fleet import views
from tests.house import Home
from tests.processes import PATIENCE_S, SMOLLM2


async def test_a_change_is_seen_once_the_engine_has_looked_at_it(own: Home, admin: Client) -> None:
    made = await admin.deployments.create(DeploymentSpec(base_model=SMOLLM2, max_replica_count=0), "chat")
    keeper = own.engine.house.fleet.get(made.name)
    async with asyncio.timeout(PATIENCE_S):
        while not (await admin.fleet.status("chat")).seen_as_declared:
            await asyncio.sleep(0.05)
    later = own.engine.house.fleet.rooms.clock.wall()
    await keeper.declare(lambda former: former.model_copy(update={"update_time": later}))
    before = views.status(own.engine.house.fleet, keeper, lambda _: [])  # no look can have come between
    assert not before.seen_as_declared
    assert before.observed_update_time is not None
    assert before.observed_update_time < later
    async with asyncio.timeout(PATIENCE_S):
        while not (await admin.fleet.status("chat")).seen_as_declared:
            await asyncio.sleep(0.05)
    assert keeper.observed_update_time == later
