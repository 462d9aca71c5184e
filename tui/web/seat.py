"""One browser tab: a dashboard process of its own, and the packets between the two.

The child writes `__GANGLION__` and then packets: a letter (D: what a terminal would get, M: JSON, P: not used here),
four bytes of length, the payload. It reads packets of the same kind (Textual's web driver).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

READY = b"__GANGLION__\n"
LINES_BEFORE_READY = 10
QUIT_S, TERM_S = 5.0, 2.0  # from asking it to quit to SIGTERM, and from there to SIGKILL
PARENT = "FIREDECK_WEB_PARENT"
_MOST_COLUMNS, _MOST_ROWS = 1000, 500


class Seat:
    """A child, from `start` to `end`; `end` returns when there is none any more."""

    def __init__(self, settings: Mapping[str, str], columns: int, rows: int) -> None:
        self._settings = settings
        self._columns, self._rows = bounded(columns, rows)
        self._process: asyncio.subprocess.Process | None = None
        self._errors: asyncio.Task[bytes] | None = None
        self._showing: asyncio.Task[object] | None = None
        self._ending: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        environment = os.environ | dict(self._settings) | {
            PARENT: str(os.getpid()), "COLUMNS": str(self._columns), "ROWS": str(self._rows),
            "TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver", "TEXTUAL_COLOR_SYSTEM": "truecolor",
            "TEXTUAL_FPS": "20", "TERM_PROGRAM": "textual",
        }  # fmt: skip
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tui.web.child", stdin=pipe, stdout=pipe, stderr=pipe, env=environment,
            start_new_session=True,
        )  # fmt: skip
        assert self._process.stderr is not None
        self._errors = asyncio.create_task(self._process.stderr.read())

    async def show(self, to_terminal: Callable[[bytes], Awaitable[object]]) -> str:
        """Hand on what the child draws until it ends; what it said of an end before it drew anything."""
        assert self._process is not None
        assert self._process.stdout is not None
        out = self._process.stdout
        self._showing = asyncio.current_task()
        ready = False
        for _ in range(LINES_BEFORE_READY):
            line = await out.readline()
            if ready := line == READY:
                break
        if not ready:
            assert self._errors is not None
            return (await self._errors).decode(errors="replace").strip() or "the dashboard did not start"
        with suppress(asyncio.IncompleteReadError):
            while True:
                head = await out.readexactly(5)
                payload = await out.readexactly(int.from_bytes(head[1:], "big"))
                if head[:1] == b"D":
                    await to_terminal(payload)
                elif head[:1] == b"M" and json.loads(payload).get("type") == "exit":
                    break
        return ""

    async def keys(self, text: str) -> None:
        await self._send(b"D", text.encode())

    async def resize(self, columns: int, rows: int) -> None:
        width, height = bounded(columns, rows)
        await self.tell({"type": "resize", "width": width, "height": height})

    async def tell(self, meta: Mapping[str, object]) -> None:
        await self._send(b"M", json.dumps(meta).encode())

    async def _send(self, kind: bytes, payload: bytes) -> None:
        """To one that has ended nothing is sent."""
        if self._process is None or self._process.stdin is None:
            return
        with suppress(ConnectionError, RuntimeError):
            self._process.stdin.write(kind + len(payload).to_bytes(4, "big") + payload)
            await self._process.stdin.drain()

    async def end(self) -> None:
        """Ask it to quit, then SIGTERM, then SIGKILL to it and all that it started: none is left behind."""
        if self._process is None:
            return
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(self._process))
        await asyncio.shield(self._ending)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        if self._showing is not None:
            self._showing.cancel()
            await asyncio.wait([self._showing])
        # What it still draws is read and dropped: a child at a full pipe cannot quit, nor is its end told while the
        # reading is paused.
        dropping = asyncio.create_task(_drop(process.stdout))
        await self.tell({"type": "quit"})
        for patience, after in ((QUIT_S, signal.SIGTERM), (TERM_S, signal.SIGKILL)):
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await process.wait()
            if process.returncode is not None:
                break
            with suppress(ProcessLookupError):
                os.killpg(process.pid, after)
        await process.wait()
        await dropping


async def _drop(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 16):
        pass


def bounded(columns: int, rows: int) -> tuple[int, int]:
    """A size that a screen may have: what a browser says is anything."""
    return max(20, min(_MOST_COLUMNS, columns)), max(5, min(_MOST_ROWS, rows))
