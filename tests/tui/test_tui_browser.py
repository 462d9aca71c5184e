"""`firedeck web` in a real browser without a window: what it draws, takes and leaves behind.

Debian: apt-get install chromium-headless-shell. Without it these tests are skipped.
"""

from __future__ import annotations

import asyncio
import io
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psutil
import pytest

pytest.importorskip("textual_serve")
pytest.importorskip("playwright")
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image
from playwright.async_api import Browser, BrowserContext, Page, WebSocket, async_playwright

from tests.processes import PATIENCE_S, environment

NAMES = ("chromium-headless-shell", "chromium", "google-chrome")
PROGRAM = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="apt-get install chromium-headless-shell")
ESCAPED = re.compile(r"\x1b\[[0-9;?<>=]*[A-Za-z]")
BLUE, RED = (88, 166, 255), (255, 95, 107)  # of what is well and of what has failed, in the theme that it starts with


@dataclass
class Tab:
    """A page, and what its terminal was sent."""

    page: Page
    got: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: self.got.extend(frame.encode() if isinstance(frame, str) else frame))

    @property
    def text(self) -> str:
        """Without the cells' colours; a frame may cut a sequence of either in two."""
        return ESCAPED.sub("", self.got.decode(errors="replace"))

    async def shows(self, *words: str) -> None:
        await until(lambda: all(word in self.text for word in words))

    async def has_colours(self, *wanted: tuple[int, int, int]) -> None:
        """The browser itself has drawn cells of these colours."""
        async with asyncio.timeout(PATIENCE_S):
            while not set(wanted) <= await self._colours():
                await asyncio.sleep(0.1)

    async def _colours(self) -> set[tuple[int, ...]]:
        picture = Image.open(io.BytesIO(await self.page.screenshot())).convert("RGB")
        return {colour for _, colour in picture.getcolors(picture.width * picture.height) or ()}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def served(*words: str) -> AsyncIterator[tuple[str, psutil.Process]]:
    """The address that `firedeck web` tells, and its process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "client.cli", "web", "--rehearse", *words, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, env=environment({"PYTHONUNBUFFERED": "1"}),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            told = await process.stdout.readline()
        yield told.decode().split()[-1], psutil.Process(process.pid)
    finally:
        process.terminate()
        await process.wait()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as started:
        found = await started.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])  # CI's user may be root
        yield found
        await found.close()


async def opened(where: Browser | BrowserContext, address: str) -> Tab:
    tab = Tab(await where.new_page())
    await tab.page.goto(address)
    return tab


async def test_a_browser_draws_the_fleet_takes_keys_and_follows_its_windows_size(browser: Browser) -> None:
    async with served() as (address, server):
        tab = await opened(browser, address)
        await tab.shows("summarise", "READ-ONLY")
        await tab.has_colours(BLUE, RED)
        assert "token" not in tab.page.url
        await tab.page.keyboard.press("?")
        await tab.shows("earch the keys")
        await tab.page.keyboard.press("Escape")
        tab.got.clear()
        await tab.page.set_viewport_size({"width": 700, "height": 420})
        await tab.shows("summarise")
        seats = server.children(recursive=True)
        assert seats
        await tab.page.close()
        await until(lambda: not any(seat.is_running() for seat in seats))


async def test_nothing_is_changed_from_a_browser_unless_that_was_asked_for(browser: Browser) -> None:
    async with served() as (address, _):
        tab = await opened(browser, address)
        await tab.shows("summarise")
        await tab.page.keyboard.press("L")
        await tab.shows("started read-only")
        await tab.page.keyboard.press("s")
        await tab.shows("changes are locked")
        assert "Cancel" not in tab.text
    async with served("--writable") as (address, _):
        tab = await opened(browser, address)
        await tab.shows("summarise")
        await tab.page.keyboard.press("s")
        await tab.shows("Cancel")


@pytest.mark.parametrize(
    "reach", [lambda url: url.rpartition("=")[0] + "=guessed", lambda url: url.partition("?")[0]], ids=["guess", "none"]
)
async def test_who_has_no_token_sees_nothing(browser: Browser, reach: Callable[[str], str]) -> None:
    async with served() as (address, server):
        page = await browser.new_page()
        answer = await page.goto(reach(address))
        assert answer is not None
        assert answer.status == 403
        assert "summarise" not in await page.content()
        assert not server.children()


@asynccontextmanager
async def another_site() -> AsyncIterator[str]:
    """A page on this machine, of another port: near enough for the browser to send the cookie with what it asks."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="<p>mine</p>", content_type="text/html")

    application = web.Application()
    application.add_routes([web.get("/", page)])
    async with TestServer(application, host="127.0.0.1") as running:
        yield f"http://127.0.0.1:{running.port}/"


async def socket_from(page: Page, url: str) -> str:
    """What comes of a websocket that a script of this page opens."""
    outcome: str = await page.evaluate(
        """url => new Promise(done => {
            const socket = new WebSocket(url);
            socket.onopen = () => { socket.close(); done("opened"); };
            socket.onerror = () => done("refused");
        })""",
        url,
    )
    return outcome


async def test_a_page_of_another_site_cannot_look_over_the_shoulder(browser: Browser) -> None:
    async with served() as (address, server), another_site() as elsewhere:
        context = await browser.new_context()
        tab = await opened(context, address)
        await tab.shows("summarise")
        socket = address.partition("/?")[0].replace("http:", "ws:") + "/ws?width=80&height=24"
        assert await socket_from(tab.page, socket) == "opened"
        await until(lambda: len(server.children()) == 1)
        other = await context.new_page()
        await other.goto(elsewhere)
        assert await socket_from(other, socket) == "refused"
        assert len(server.children()) == 1
