"""An adapter is loaded onto a real replica from the dashboard, answers, and is taken off again from there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input

from client.errors import FiredeckError
from client.resources import Client
from tests import adapter_files
from tests.conftest import deploy
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess
from tests.tui.screen_text import screen_text
from tui.app import Deck
from tui.core.journal import Journal
from tui.core.lists import Entry
from tui.core.matrix_page import Adapter
from tui.screens.adapters import LoadDialog, UnloadDialog
from tui.screens.dialog import PlanDialog
from tui.sources.engine import EngineSource
from tui.widgets.keyed_table import KeyedTable

pytestmark = pytest.mark.model
VOICE, HOST = "accounts/local/models/deck-voice", "accounts/local/deployments/deck-host"


@pytest.fixture
async def client(engine: EngineProcess, tmp_path: Path) -> AsyncIterator[Client]:
    """Of an engine with an adapter, and a READY deployment that takes some."""
    async with Client(engine.context) as client:
        base = await client.models.get(SMOLLM2)
        file = adapter_files.make(tmp_path / "voice.gguf", Path(base.firedeck.file), seed=1, strength=0.3)
        await client.models.create_from_file("deck-voice", str(file), base_model=SMOLLM2)
        await deploy(engine, "deck-host", min_replica_count=1, enable_addons=True)
        yield client
        await client.deployments.delete(HOST, ignore_checks=True, hard=True)
        await client.models.delete(VOICE)


async def until(pilot: Pilot[None], holds: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await pilot.pause(0.05)
    except TimeoutError:
        raise AssertionError(f"never: {what}\n{screen_text(pilot.app)}") from None


async def confirmed(pilot: Pilot[None], dialog: type[PlanDialog]) -> None:
    """The plan that the dialog shows, for deck-host, is sent."""
    await until(pilot, lambda: isinstance(pilot.app.screen, dialog), f"{dialog.__name__} opens")
    pilot.app.screen.query_one("#deployment", Input).value = "deck-host"
    button = pilot.app.screen.query_one("#confirm", Button)
    await until(pilot, lambda: not button.disabled, "it can be sent")
    button.press()
    await until(pilot, lambda: not isinstance(pilot.app.screen, dialog), "it was sent")


async def on_host(client: Client) -> list[str | None]:
    found = await client.deployed_models.list(filter=f'deployment="{HOST}"')
    return [one.state for one in found if one.model == VOICE]


async def becomes(client: Client, states: list[str]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await on_host(client) != states:
            await asyncio.sleep(0.1)


async def answer(client: Client) -> str:
    body = {"model": f"{VOICE}#{HOST}", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    chunks = [chunk async for chunk in client.inference.stream_chat(body)]
    return "".join(c["delta"].get("content") or "" for chunk in chunks for c in chunk.get("choices") or ())


def is_there(table: KeyedTable[Entry[Adapter]]) -> bool:
    return any(row.name == VOICE and row.what.cells[HOST].one is not None for row in table.rows)


async def test_an_adapter_is_loaded_from_the_dashboard_answers_and_is_taken_off(client: Client) -> None:
    app = Deck(EngineSource(client.context), journal=Journal(None))
    async with app.run_test(size=(160, 45)) as pilot:
        await until(pilot, lambda: app.picture.row(HOST) is not None, "the deployment is in the fleet")
        await pilot.press("M")
        table: KeyedTable[Entry[Adapter]] = app.screen.query_one(KeyedTable)
        await until(pilot, lambda: table.index_of(VOICE) is not None, "the adapter has a row")
        table.choose(VOICE, by_user=True)
        await pilot.press("a")
        await confirmed(pilot, LoadDialog)
        await becomes(client, ["DEPLOYED"])
        assert await answer(client)
        await until(pilot, lambda: is_there(table), "the row says that it is there")
        await pilot.press("X")
        await confirmed(pilot, UnloadDialog)
        await becomes(client, [])
        with pytest.raises(FiredeckError):
            await answer(client)
