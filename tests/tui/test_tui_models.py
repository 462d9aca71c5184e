"""Models, adapters and the speculation advisor on the screen."""

from __future__ import annotations

from tests.tui.conftest import open_deck
from tui.screens.deployment import DeploymentScreen
from tui.sources.rehearsal_models import RehearsalModels

CHAT = "accounts/local/deployments/chat"


async def test_models_say_who_uses_them_and_adapters_where_they_are():
    async with open_deck((120, 40)) as stage:
        await stage.press("m")
        (row,) = [line for line in stage.text.splitlines() if "smollm2-135m-instruct  library" in line]
        assert row.endswith("chat"), "the deleted deployment uses nothing"
        assert "nobody" not in row
        await stage.press("l")
        (row,) = [line for line in stage.text.splitlines() if "brand-voice" in line and "DEPLOYED" in line]
        assert "chat" in row
        assert "150" in row, "what it was asked today"
        await stage.press("home", "enter")
        assert isinstance(stage.app.screen, DeploymentScreen)


async def test_the_advisor_tells_what_is_accepted_and_that_off_is_off():
    async with open_deck((120, 40)) as stage:
        chat = stage.source.fleet[CHAT]
        spec = {"draft_model": "accounts/fireworks/models/tiny", "draft_token_count": 4}
        chat.deployment = chat.deployment.model_copy(update=spec)
        await stage.later()
        await stage.press("P")
        rows = {line.split()[0].strip("▌"): line for line in stage.text.splitlines() if "%" in line or " off " in line}
        assert "70%" in next(line for line in rows.values() if "tiny, 4 a step" in line)
        assert "the draft's cost is not known" in stage.text
        assert "nothing is drafted" in stage.text


async def test_a_deployment_is_made_in_a_precision_that_is_there_and_how_others_are_made_is_told():
    async with open_deck((120, 40)) as stage:
        await stage.press("m")
        assert "FP8 ◐FP4" in stage.text
        assert "▲ 2027-01-31" in stage.text
        await stage.press("1", "c")
        form = stage.app.screen
        form.query_one("#base_model").value = "accounts/fireworks/models/smollm2-135m-instruct"
        await stage.settle()
        assert "others once prepared: firedeck" in stage.text
        assert "model prepare smollm2-135m-instruct --precision AUTO" in stage.text
        form.query_one("#precision").value = "FP8"
        await stage.settle()
        assert "--precision FP8" in stage.text
        form.query_one("#deployment_id").value = "fast"
        await stage.settle()
        form.check()
        await stage.settle()
        form.confirm.press()
        await stage.settle()
        assert stage.source.fleet["accounts/local/deployments/fast"].deployment.precision == "FP8"


async def test_what_is_under_way_is_on_a_page_of_its_own_and_leads_to_its_deployment():
    async with open_deck((120, 40)) as stage:
        chat = stage.source.fleet[CHAT]
        chat.load = lambda second: 20.0
        await stage.source.scale(CHAT, 3)
        await stage.later()
        await stage.press("B")
        (row,) = [line for line in stage.text.splitlines() if "◐ PREPARING" in line]
        assert "it waits its turn" in row
        loading = [row for row in stage.app.screen.table.rows if row.what.kind == "load"]
        assert not loading, "it waits for a place"
        await stage.later(3)
        loading = [row for row in stage.app.screen.table.rows if row.what.kind == "load"]
        assert {row.deployment for row in loading} == {CHAT}
        stage.app.screen.table.choose(loading[0].name, by_user=True)
        await stage.press("enter")
        assert isinstance(stage.app.screen, DeploymentScreen)


async def test_who_chooses_a_model_that_is_not_here_is_told_that_a_replica_fetches_it_first(monkeypatch):
    listed, absent = RehearsalModels.models, "accounts/fireworks/models/smollm2-135m-instruct"

    async def without_its_file(self):
        found = await listed(self)
        return [
            one.model_copy(update={"firedeck": one.firedeck.model_copy(update={"on_disk": False})})
            if one.name == absent else one for one in found
        ]  # fmt: skip

    monkeypatch.setattr(RehearsalModels, "models", without_its_file)
    async with open_deck((120, 40)) as stage:
        await stage.press("c")
        form = stage.app.screen
        form.query_one("#base_model").value = absent
        await stage.settle()
        assert "the file is not here yet" in stage.text
        assert "model pull" in stage.text
        form.query_one("#base_model").value = "accounts/fireworks/models/gemma-3-270m"
        await stage.settle()
        assert "not here yet" not in stage.text
