"""The newest requests, and one of them explained."""

from __future__ import annotations

from client.errors import NotFound
from tests.tui.conftest import open_deck
from tui.screens.requests import ExplainScreen, RequestsScreen


async def test_the_newest_requests_are_listed_and_enter_explains_one():
    async with open_deck((80, 24)) as stage:
        await stage.press("r")
        assert isinstance(stage.app.screen, RequestsScreen)
        stage.matches("requests-80x24")
        await stage.press("home", "enter")
        assert isinstance(stage.app.screen, ExplainScreen)
        stage.matches("request-80x24")
        await stage.press("y")
        assert "firedeck explain" in stage.text
        await stage.press("escape")
        assert isinstance(stage.app.screen, RequestsScreen)


async def test_failures_and_slow_ones_are_found_by_the_filter():
    async with open_deck((160, 40), warm_s=150) as stage:
        await stage.press("r", "slash")
        stage.app.screen.filter_box.value = "status>=500"
        await stage.settle()
        rows = stage.app.screen.table.rows
        assert rows
        assert all(row.what.status == 503 for row in rows)
        assert "✖ 503" in stage.text
        assert "the queue is full" in stage.text


async def test_a_request_that_is_not_known_any_more_says_so():
    async with open_deck() as stage:
        await stage.press("r", "home")

        async def gone(request_id):
            raise NotFound(f"request {request_id} is not known any more")

        stage.source.explain = gone
        await stage.press("enter")
        assert "is not known any more" in stage.text
