"""What the dashboard sends to begin a router's shift, to end it and to begin it again, to a whole engine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from client.errors import FailedPrecondition, FiredeckError
from client.router_types import ABORTED, SHIFTING
from tests.api.test_routers import NAME, NINE_TO_ONE, acting
from tui.core import shift_plan
from tui.core.journal import Journal
from tui.executor import Executor
from tui.sources.engine import EngineSource


async def test_a_shift_is_begun_rolled_back_and_begun_again_as_its_plans_say(tmp_path: Path) -> None:
    async with acting(tmp_path, "blue", "green") as stage:
        source = EngineSource.of(stage.client)
        executor = Executor(lambda _: source, Journal(None), lambda: datetime.now(UTC), lambda _: False)
        await stage.client.routers.create(NINE_TO_ONE, "r")
        router = await source.router(NAME)
        form = {**shift_plan.offered(router), "over": "1h", "step_percent": "30"}
        planned = shift_plan.shift(router, form)
        assert planned.shift is not None
        await source.shift(NAME, planned.shift, validate_only=True)
        assert (await source.router(NAME)).shift is None, "that was a dry run"
        begun = await executor.run(planned)
        shift = (await source.router(NAME)).shift
        assert shift is not None
        assert (shift.state, shift.to.rpartition("/")[2], shift.step_percent) == (SHIFTING, form["to"], 30)
        with pytest.raises(FailedPrecondition, match="by somebody else"):
            await executor.run(planned)
        assert begun.undo is not None
        ended = await executor.run(begun.undo)
        rolled = (await source.router(NAME)).shift
        assert rolled is not None
        assert rolled.state == ABORTED
        assert ended.undo is not None
        again = await executor.run(ended.undo)
        shift = (await source.router(NAME)).shift
        assert shift is not None
        assert (shift.state, shift.over, shift.step_percent) == (SHIFTING, planned.shift.over, 30)
        assert again.undo is not None
        assert again.undo.verb == "roll_back"


async def test_the_engine_refuses_a_shift_to_what_is_not_there_in_the_dry_run(tmp_path: Path) -> None:
    async with acting(tmp_path, "blue", "green") as stage:
        router = await stage.client.routers.create(NINE_TO_ONE, "r")
        planned = shift_plan.shift(router, {"to": "nobody"})
        assert planned.shift is not None
        with pytest.raises(FiredeckError, match="nobody"):
            await EngineSource.of(stage.client).shift(NAME, planned.shift, validate_only=True)
