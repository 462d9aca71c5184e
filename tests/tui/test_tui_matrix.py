"""Adapters by deployments on the screen: loaded, asked, and with each change planned, made and taken back."""

from __future__ import annotations

from tests.tui.conftest import open_deck
from tui.screens.adapters import LoadDialog, UnloadDialog


async def test_the_matrix_tells_where_adapters_are_and_where_they_could_be():
    async with open_deck((120, 40)) as stage:
        await stage.press("M")
        lines = stage.text.splitlines()
        (voice,) = [line for line in lines if "▌ brand-voice" in line]
        (tone,) = [line for line in lines if line.startswith("  support-tone")]
        assert "● 0.5" in voice, "150 requests in 5 minutes"
        assert tone.rstrip().endswith("+")
        assert "requests/s of the last 5 minutes" in stage.text


async def test_an_adapter_is_loaded_and_that_is_taken_back():
    async with open_deck((120, 40)) as stage:
        await stage.press("M", "end", "a")
        assert isinstance(stage.app.screen, LoadDialog)
        assert "firedeck load-lora support-tone --deployment chat" in stage.text
        stage.app.screen.query_one("#deployment").value = "summarise"
        await stage.settle()
        assert "takes no adapters" in stage.text
        assert stage.app.screen.confirm.disabled
        stage.app.screen.query_one("#deployment").value = "chat"
        await stage.settle()
        stage.app.screen.confirm.press()
        await stage.settle()
        assert "load_adapter" in stage.source.calls
        assert len(stage.source.loaded) == 2
        await stage.press("U")
        assert "firedeck unload-lora support-tone-chat" in stage.text, "from the page that says so"
        assert "how often it is asked for now is not known" in stage.text, "nobody has counted: not zero"
        stage.app.screen.confirm.press()
        await stage.settle()
        assert len(stage.source.loaded) == 1


async def test_an_adapter_is_taken_off_and_brought_back():
    async with open_deck((120, 40)) as stage:
        await stage.press("M", "X")
        assert isinstance(stage.app.screen, UnloadDialog)
        assert "0.5 req/s ask for it now" in stage.text
        assert stage.app.screen.confirm.label.plain == "Unload"
        assert "brand-voice on chat → unloaded" in stage.text, "what goes, and where, uncut"
        assert "no dry run: checked when it is sent" in stage.text
        stage.app.screen.confirm.press()
        await stage.settle()
        assert stage.source.loaded == []
        await stage.press("1", "U")
        stage.app.screen.confirm.press()
        await stage.settle()
        assert [one.id for one in stage.source.loaded] == ["brand-voice-chat"]


async def test_locked_nothing_is_loaded():
    async with open_deck((120, 40), readonly=True) as stage:
        await stage.press("M", "a")
        assert not stage.app.screen.is_modal
        assert "locked" in stage.text
