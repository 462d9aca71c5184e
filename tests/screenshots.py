"""`make screenshots`: pictures of the dashboard on a running engine under real traffic, as SVG and PNG.

The PNGs are drawn from the SVGs by cairosvg with the fonts of this machine (Debian: fonts-dejavu-core).
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import tempfile
from pathlib import Path

import cairosvg
from PIL import Image
from textual.pilot import Pilot

from client.resources import Client
from client.traffic import Traffic
from tests.processes import SMOLLM2, EngineProcess
from tests.tui.screen_text import screen_text
from tui.app import Deck
from tui.core.journal import Journal
from tui.sources.engine import EngineSource

FOLDER = Path(__file__).parents[1] / "screenshots"
SIZES = ((80, 24), (120, 40), (200, 60))
DEPLOYMENT = "accounts/local/deployments/chat"
WARM_UP_S = 26.0  # of traffic before the first picture: into the rush, with two replicas
README_SIZE = (120, 40)
PAGES = ("requests", "speculation", "nodes", "quotas", "events")
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
        traffic = asyncio.create_task(Traffic(client).run())
        try:
            await asyncio.sleep(WARM_UP_S)
            for size in SIZES:
                await _pictures(engine, size)
        finally:
            traffic.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await traffic


async def _pictures(engine: EngineProcess, size: tuple[int, int]) -> None:
    app = Deck(EngineSource(Client(engine.context)), journal=Journal(None))
    async with app.run_test(size=size) as pilot:
        await _shows(pilot, "chat", "events")
        await pilot.press("end")
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
    """Those on which a demo leaves something, and the story of one deployment."""
    await pilot.press("escape", "escape")
    for page in PAGES:
        app.visit(page)
        await asyncio.sleep(3)
        _save(app, page, size, svg=False)
    app.visit("fleet")
    app.show_timeline(DEPLOYMENT)
    await asyncio.sleep(3)
    _save(app, "timeline", size, svg=False)


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
    png = cairosvg.svg2png(bytestring=drawn.encode(), output_width=PNG_WIDTH[size[0]])
    Image.open(io.BytesIO(png)).convert("RGB").quantize(PNG_COLOURS).save(stem.with_suffix(".png"), optimize=True)


if __name__ == "__main__":
    asyncio.run(main())
