"""`make screenshots`: pictures of the dashboard on a running engine under real traffic, as SVG and PNG.

The PNGs are drawn from the SVGs by cairosvg with the fonts of this machine (Debian: fonts-dejavu-core).
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import io
import re
import tempfile
from pathlib import Path

import cairosvg
from PIL import Image
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.widgets import Button

from client.resources import Client
from client.router_types import RouterSpec, RouterTarget, WeightedRoutes
from client.traffic import Traffic
from client.types import DeploymentSpec
from tests import adapter_files
from tests.processes import SMOLLM2, EngineProcess
from tests.tui.screen_text import CELL_WIDTH, screen_text
from tui.app import Deck
from tui.core.journal import Journal
from tui.sources.engine import EngineSource

FOLDER = Path(__file__).parents[1] / "screenshots"
SIZES = ((80, 24), (120, 40), (200, 60))
DEPLOYMENT = "accounts/local/deployments/chat"
READY_S = 120.0
WARM_UP_S = 26.0  # of traffic before the first picture: into the rush, with two replicas
README_SIZE = (120, 40)
PAGES = {  # with what must be on the page before its picture is taken
    "jobs": "FP8", "alerts": "FirstToken", "requests": "200", "speculation": "chat", "nodes": "local",
    "quotas": "deployment", "events": "Scaled", "users": "", "keys": "", "audit": "", "routers": "canary",
    "costs": "chat", "models": "smollm2", "adapters": "brand-voice", "matrix": "brand-voice", "journal": "update",
}  # fmt: skip
VOICE, SUPPORT = "accounts/local/models/brand-voice", "accounts/local/deployments/support"
PNG_COLOURS = 128  # with fewer, lines of two colours become one
PNG_WIDTH = {80: 900, 120: 1200, 200: 1600}


async def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        engine = EngineProcess(Path(folder) / "data", ("--demo",)).start()
        try:
            await _under_traffic(engine)
        finally:
            engine.stop()


async def _under_traffic(engine: EngineProcess) -> None:
    async with Client(engine.context) as client:
        await _furnished(client, engine.data_dir)
        traffic = asyncio.create_task(Traffic(client).run())
        try:
            await asyncio.sleep(WARM_UP_S)
            for size in SIZES:
                await _pictures(engine, size)
        finally:
            traffic.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await traffic


async def _furnished(client: Client, folder: Path) -> None:
    """What a demo does not have: an adapter on a deployment that takes some, and a router between two."""
    base = await client.models.get(SMOLLM2)
    assert base.firedeck is not None
    file = adapter_files.make(folder / "voice.gguf", Path(base.firedeck.file or ""), seed=1, strength=0.05)
    await client.models.create_from_file("brand-voice", str(file), base_model=SMOLLM2)
    support = DeploymentSpec(base_model=SMOLLM2, min_replica_count=1, max_replica_count=1, enable_addons=True)
    await client.deployments.create(support, "support")
    async with asyncio.timeout(READY_S):
        while (await client.deployments.get("support")).state != "READY":
            await asyncio.sleep(0.5)
    await client.deployed_models.load(VOICE, SUPPORT)
    targets = [RouterTarget(deployment="support", weight=90), RouterTarget(deployment="chat", weight=10)]
    await client.routers.create(RouterSpec(weighted=WeightedRoutes(targets=targets)), "canary")


async def _pictures(engine: EngineProcess, size: tuple[int, int]) -> None:
    journal = Journal(engine.data_dir / "journal.jsonl")  # of what is changed for the pictures' sake
    app = Deck(EngineSource(engine.context), journal=journal)
    async with app.run_test(size=size) as pilot:
        await _shows(pilot, "chat", "events")
        app.screen.table.choose(DEPLOYMENT, by_user=True)
        await asyncio.sleep(3)
        _save(app, "fleet", size)
        await pilot.press("enter")
        await _shows(pilot, "why this many")
        await asyncio.sleep(3)
        _save(app, "deployment", size)
        await pilot.press("escape", "c")
        await _shows(pilot, "choose a")
        app.screen.query_one("#base_model").value = SMOLLM2
        app.screen.query_one("#deployment_id").value = "support-bot"
        app.screen.query_one("#max_replica_count").value = "2"
        await _shows(pilot, "support-bot")
        await asyncio.sleep(2)
        _save(app, "create", size)
        if size == README_SIZE:
            await pilot.press("escape")
            await _playground(app, pilot, size)
            await _other_pages(app, pilot, size)


async def _playground(app: Deck, pilot: Pilot[None], size: tuple[int, int]) -> None:
    """After a whole answer."""
    await pilot.press("A")
    await _shows(pilot, "nothing asked yet")
    app.screen.query_one("#prompt").value = "Tell me two facts about the sea."
    await pilot.press("enter")
    await _shows(pilot, "cached")
    _save(app, "playground", size)


async def _other_pages(app: Deck, pilot: Pilot[None], size: tuple[int, int]) -> None:
    """All of them with something on it, as far as a healthy engine has that, and the story of one deployment."""
    await pilot.press("escape", "escape")
    await _changed(app, pilot)
    for page, text in PAGES.items():
        app.visit(page)
        await _shows(pilot, *([text] if text else []))
        await asyncio.sleep(3)
        _save(app, page, size, svg=False)
    app.visit("fleet")
    app.show_timeline(DEPLOYMENT)
    await asyncio.sleep(3)
    _save(app, "timeline", size, svg=False)


async def _changed(app: Deck, pilot: Pilot[None]) -> None:
    """A change made from the dashboard, for its journal; and work that takes the engine a while."""
    app.screen.table.choose(SUPPORT, by_user=True)
    await pilot.press("e")
    await _shows(pilot, "max replicas")
    app.screen.query_one("#max_replica_count").value = "2"
    async with asyncio.timeout(READY_S):
        while app.screen.is_modal:
            await pilot.pause(0.2)
            for button in app.screen.query("#confirm").results(Button):
                if not button.disabled:
                    button.press()
                await pilot.pause(1)
    async with Client(app.context) as client:
        await client.models.prepare(SMOLLM2, "FP8")


async def _shows(pilot: Pilot[None], *texts: str) -> None:
    async with asyncio.timeout(30):
        while not all(text in screen_text(pilot.app) for text in texts):
            await pilot.pause(0.1)


def _save(app: Deck, name: str, size: tuple[int, int], *, svg: bool = True) -> None:
    """PNG of few colours at every size, and with `svg` an SVG at the README's; a font that is here for its web font."""
    drawn = re.sub(r"@font-face\s*{[^}]*}", "", app.export_screenshot(title="firedeck"))
    drawn = drawn.replace("Fira Code", "DejaVu Sans Mono")
    stem = FOLDER / f"{name}-{size[0]}x{size[1]}"
    if svg and size == README_SIZE:
        stem.with_suffix(".svg").write_text(drawn)
    png = cairosvg.svg2png(bytestring=_in_cells(drawn).encode(), output_width=PNG_WIDTH[size[0]])
    Image.open(io.BytesIO(png)).convert("RGB").quantize(PNG_COLOURS).save(stem.with_suffix(".png"), optimize=True)


_RUN = re.compile(r'(<text [^>]*?x=")([\d.]+)("[^>]*?) textLength="[\d.]+"([^>]*>)([^<]*)</text>')


def _in_cells(svg: str) -> str:
    """With every sign at its own place: cairosvg lays a line out by the font's advance, and the last signs of a long
    one would come to lie beyond the edge."""

    def placed(run: re.Match[str]) -> str:
        left, at = float(run[2]), 0
        places = []
        for sign in html.unescape(run[5]):
            places.append(f"{left + at * CELL_WIDTH:.1f}")
            at += cell_len(sign)
        return f"{run[1]}{' '.join(places)}{run[3]}{run[4]}{run[5]}</text>"

    return _RUN.sub(placed, svg)


if __name__ == "__main__":
    asyncio.run(main())
