"""The page, its websocket, and who may have them: this machine's own browser, with the token, from the page itself."""

from __future__ import annotations

import asyncio
import importlib.util
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

from aiohttp import WSCloseCode, WSMsgType, web

from client.errors import FailedPrecondition
from tui.web.page import PAGE, SCRIPT, STYLE
from tui.web.seat import Seat

COOKIE = "firedeck"
HEARTBEAT_S = 60.0  # a tab that has not answered by then is gone: a machine asleep, a browser killed
CLOSE_S = 2.0
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self' ws:; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
}  # fmt: skip
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def assets() -> Path:
    """The browser's side of a terminal, out of the package textual-serve. Raises FailedPrecondition without it."""
    found = importlib.util.find_spec("textual_serve")
    if found is None or found.origin is None:
        raise FailedPrecondition("textual-serve is not installed", hint="pip install 'firedeck[web]'")
    return Path(found.origin).parent / "static"


class WebDeck:
    """Serves dashboards: one child a tab, at most `most` at once; `settings` is each child's environment."""

    def __init__(self, settings: Mapping[str, str], most: int, token: str | None = None) -> None:
        self.token = token or secrets.token_urlsafe(24)
        self.seats: set[Seat] = set()
        self._settings, self._most = settings, most
        self._sockets: set[web.WebSocketResponse] = set()

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.add_routes([web.get("/", self._page), web.get("/ws", self._socket)])
        app.add_routes([web.get("/page.css", _style), web.get("/page.js", _script)])
        app.router.add_static("/static", assets())
        app.on_shutdown.append(self._end_all)
        return app

    # Who may come in.

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The host must be loopback's (a foreign name that points here is a page's trick), the token must be right."""
        if request.headers.get("Host", "").rpartition(":")[0] not in LOOPBACK:
            raise web.HTTPForbidden(text="this server answers to its loopback address alone\n")
        given = request.query.get("token", "")
        if given and request.path == "/" and self._is_token(given):
            answer = web.HTTPFound("/")
            answer.set_cookie(self._cookie(request), given, httponly=True, samesite="Strict", path="/")
            raise answer
        if not self._is_token(request.cookies.get(self._cookie(request), "")):
            raise web.HTTPForbidden(text="open the address that `firedeck web` has printed: it has the token\n")
        response = await handler(request)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.token.encode())

    def _cookie(self, request: web.Request) -> str:
        """Cookies do not know ports: two servers on one machine must not take each other's."""
        return f"{COOKIE}-{request.url.port}"

    # The page and its terminal.

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text=PAGE.replace("WEBSOCKET", f"ws://{request.host}/ws"), content_type="text/html")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Origin") != f"http://{request.host}":
            raise web.HTTPForbidden(text="only this server's own page may open a terminal\n")
        if len(self.seats) >= self._most:
            raise web.HTTPServiceUnavailable(text=f"{self._most} dashboards are open already: close one\n")
        seat = Seat(self._settings, _number(request, "width", 80), _number(request, "height", 24))
        self.seats.add(seat)
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=1 << 16)
        self._sockets.add(socket)
        try:
            await socket.prepare(request)
            await seat.start()
            await self._talk(socket, seat)
        finally:
            await asyncio.shield(self._leave(socket, seat))
        return socket

    async def _talk(self, socket: web.WebSocketResponse, seat: Seat) -> None:
        """Until the tab is closed or the dashboard ends."""
        drawing = asyncio.create_task(self._draw(socket, seat))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await _obey(message.json(), socket, seat)
        except (ValueError, TypeError, LookupError):
            drawing.cancel()
            await _close(socket, WSCloseCode.UNSUPPORTED_DATA)
        finally:
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)

    async def _draw(self, socket: web.WebSocketResponse, seat: Seat) -> None:
        with suppress(ConnectionError):
            if problem := await seat.show(socket.send_bytes):
                await socket.send_bytes(problem.replace("\n", "\r\n").encode())
            await socket.close()

    async def _leave(self, socket: web.WebSocketResponse, seat: Seat) -> None:
        await seat.end()
        self.seats.discard(seat)
        self._sockets.discard(socket)

    async def _end_all(self, app: web.Application) -> None:
        """The server ends: so does every child, before it."""
        await asyncio.gather(*(_close(socket, WSCloseCode.GOING_AWAY) for socket in list(self._sockets)))
        await asyncio.gather(*(seat.end() for seat in list(self.seats)))


async def _close(socket: web.WebSocketResponse, code: WSCloseCode) -> None:
    """A browser that no longer reads what it is sent would never take the farewell either: it is not waited for."""
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await socket.close(code=code)


async def _obey(envelope: list[object], socket: web.WebSocketResponse, seat: Seat) -> None:
    match envelope:
        case ["stdin", str(text)]:
            await seat.keys(text)
        case ["resize", {"width": int(width), "height": int(height)}]:
            await seat.resize(width, height)
        case ["ping", data]:
            await socket.send_json(["pong", data])
        case [("focus" | "blur") as kind, *_]:
            await seat.tell({"type": kind})


async def _style(request: web.Request) -> web.StreamResponse:
    return web.Response(text=STYLE, content_type="text/css")


async def _script(request: web.Request) -> web.StreamResponse:
    return web.Response(text=SCRIPT, content_type="text/javascript")


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else default
