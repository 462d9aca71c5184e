"""How the pages look, as text, at the three sizes that must be readable."""

from __future__ import annotations

import re

import pytest

from tests.tui.conftest import SIZES, open_deck

sized = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")


@sized
async def test_fleet_page(size):
    async with open_deck(size) as stage:
        stage.matches(f"fleet-{size[0]}x{size[1]}")


@sized
async def test_deployment_page(size):
    async with open_deck(size) as stage:
        await stage.press("enter")
        stage.matches(f"deployment-{size[0]}x{size[1]}")


@sized
@pytest.mark.parametrize("key", ["s", "e", "D", "c", "question_mark"])
async def test_every_dialog_fits_the_screen_with_its_buttons(size, key):
    async with open_deck(size) as stage:
        await stage.press(key)
        dialog = stage.app.screen.query_one("#dialog").region
        assert stage.app.screen.size.region.contains_region(dialog)
        if key != "question_mark":
            for button in stage.app.screen.query("Button"):
                assert dialog.contains_region(button.region)
                assert button.region.area > 0


@sized
async def test_the_first_page_answers_a_newcomers_questions(size):
    async with open_deck(size) as stage:
        for wanted in ("chat", "READY", "REQ/S", "TTFT", "Tokens out", "events", "ReplicaReady", "wants 2"):
            assert wanted in stage.text


@sized
async def test_labels_are_never_dropped(size):
    async with open_deck(size) as stage:
        for label in ("SYNTHETIC TRAFFIC", "SIMULATED", "REHEARSAL"):
            assert label in stage.text.splitlines()[0]


@sized
async def test_no_line_is_wider_than_the_screen_and_no_number_is_cut(size):
    async with open_deck(size) as stage:
        table = stage.text.splitlines()[2:7]
        assert all(len(line) <= size[0] for line in table)
        assert re.search(r"\d…", "\n".join(line[: size[0] // 2] for line in table)) is None


async def test_ascii_mode_draws_with_ascii_only():
    async with open_deck((120, 40), symbols="ascii") as stage:
        assert stage.text.isascii(), sorted({c for c in stage.text if ord(c) > 127})


@pytest.mark.parametrize("keys", [("c",), ("s",), ("e",), ("D",), ("question_mark",), ("colon", "n"), ("6",), ("y",)])
async def test_ascii_mode_is_ascii_in_dialogs_the_palette_and_toasts_too(keys):
    async with open_deck((80, 24), symbols="ascii") as stage:
        await stage.press(*keys)
        stage.app.notify("1 → 2 … naïve 模型")
        await stage.settle()
        assert stage.text.isascii(), sorted({c for c in stage.text if ord(c) > 127})


async def test_meaning_survives_without_colour():
    async with open_deck() as stage:
        assert "✖ FAILED" in stage.text
        assert "● READY" in stage.text
        assert "◌ ZERO" in stage.text
        assert "▌" in stage.text, "the chosen row is marked by a sign"


async def test_under_six_rows_a_chart_becomes_a_sparkline():
    async with open_deck() as stage:
        chart = stage.app.screen.query_one("#chart-tps")
        chart.styles.height = 4
        chart.styles.border = ("none", "black")
        await stage.settle()
        assert not chart.with_axes
        assert set(chart.render_line(1).text.strip()) <= set("▁▂▃▄▅▆▇█ ")


async def test_unknown_shows_as_a_dash_not_as_zero():
    async with open_deck() as stage:
        line = next(line for line in stage.text.splitlines() if " base " in line)
        assert line.count("–") >= 4


async def test_a_chart_without_data_says_so():
    async with open_deck() as stage:
        await stage.press("up")
        assert stage.app.screen.table.cursor.endswith("/base")
        assert "no data yet" in stage.text


async def test_a_toast_is_on_the_screen_once_when_a_dialog_opens_over_it():
    async with open_deck() as stage:
        stage.app.notify("something has happened")
        await stage.press("h")
        assert stage.text.count("something has happened") == 1
        await stage.press("escape")
        assert stage.text.count("something has happened") == 1
