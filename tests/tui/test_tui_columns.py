"""The fleet in groups, and the columns that one chooses."""

from __future__ import annotations

from tests.tui.conftest import open_deck
from tui.screens.columns import ColumnsDialog
from tui.screens.fleet import FleetScreen


async def test_the_fleet_in_groups_has_a_line_that_sums_each_up_and_is_no_deployment():
    async with open_deck((120, 40)) as stage:
        await stage.press("b")
        table = stage.app.screen.table
        names = [row.id for row in table.rows]
        assert names.index("qwen2p5-0p5b-instruct (2)") + 1 == names.index("judge")
        assert " by model " in stage.text
        await stage.press("home", "enter", "s")
        assert isinstance(stage.app.screen, FleetScreen)
        assert "choose a deployment first" in stage.text
        await stage.press("b", "b", "b", "b", "b")
        assert "GROUP" not in {row.state for row in table.rows}


async def test_columns_are_chosen_and_come_back_to_the_usual_ones():
    async with open_deck((120, 40)) as stage:
        usual = [column.key for column in stage.app.screen.table.columns]
        assert "ttft99" not in usual
        await stage.press("h")
        assert isinstance(stage.app.screen, ColumnsDialog)
        options = stage.app.screen.query_one("OptionList")
        for key in ("rps", "acceptance", "cost"):
            options.highlighted = options.get_option_index(key)
            await stage.press("space")
        assert "✔ ACCEPTED" in stage.text
        await stage.press("enter")
        assert "ACCEPTED" in stage.text
        assert "n/e" in stage.text, "not exposed is neither unknown nor zero"
        await stage.later()
        assert "$0.40" in stage.text, "chat has two replicas on nodes of 0.20 an accelerator"
        assert "REQ/S" not in stage.text.splitlines()[2]
        await stage.press("h", "r")
        assert [column.key for column in stage.app.screen.table.columns] == usual
        await stage.press("h", "enter")
        assert not stage.app.screen.order.columns, "the usual ones are no choice: new ones come among them"


async def test_a_side_page_keeps_its_columns_for_the_next_visit():
    async with open_deck((120, 40)) as stage:
        await stage.press("2", "h")
        options = stage.app.screen.query_one("OptionList")
        options.highlighted = options.get_option_index("region")
        await stage.press("space", "enter", "1", "2")
        assert "REGION" not in stage.text
        assert "ACCELERATOR" in stage.text
