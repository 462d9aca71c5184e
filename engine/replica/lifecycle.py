"""The life of a replica process: bind, load, serve, drain or be orphaned, exit with a code that says why.

0  drained after SIGTERM or SIGINT or because its socket was taken away, or orphaned: nobody talked to it for a while
   and nothing ran
3  the model cannot be served; the last line on stderr is the reason
4  its scheduler died, which no request should be able to cause; the last line on stderr is the reason
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator

import uvicorn

from engine.replica import own_log
from engine.replica.log_limit import LogLimit
from engine.replica.mailbox import Outbox
from engine.replica.preload import Preload
from engine.replica.runtime import Runtime
from engine.replica.server import App
from engine.replica.settings import Settings

EXIT_OK, EXIT_BAD_MODEL, EXIT_DIED = 0, 3, 4
TICK_S = 0.2
FAILURE_LINGER_S = 2.0  # how long a failed replica waits for /health to be asked why
STOP_TIMEOUT_S = 5.0
DOOR_SHUT = "somebody removed or replaced this replica's socket"


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: draining is ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(path: str) -> socket.socket:
    """A listening unix socket that only this user can reach; a stale file of a dead replica is replaced."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen(1024)
    return listener


class Door:
    """The name of the socket in the file system. Whoever removes or replaces it shuts this replica off from new
    connections, though those that are open go on as if nothing had happened."""

    def __init__(self, listener: socket.socket) -> None:
        """`listener` is bound to it."""
        self.listener = listener
        self._path = str(listener.getsockname())
        self._bound = self._now()

    def shut(self) -> bool:
        return self._now() != self._bound

    def remove(self) -> None:
        """The end: unless somebody else has it now, the name goes. Where it cannot go it stays: an end is an end."""
        if not self.shut():
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def _now(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_dev, status.st_ino


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it exists: streams spend most of the loop's time in small writes."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def serve(
    settings: Settings,
    preload: Preload,
    door: Door,
    key: str,
    *,
    orphan_timeout_s: float,
    drain_timeout_s: float,
) -> int:
    """Run until the end of the replica's life; returns its exit code."""
    loop = asyncio.get_running_loop()
    outbox = Outbox(loop)
    runtime = Runtime(settings, preload, outbox.flush)
    app = App(runtime, outbox, key)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runtime.drain)
    server = _Server(_config(app))
    serving = asyncio.create_task(server.serve(sockets=[door.listener]))
    runtime.start()
    code = await _live(app, runtime, door, orphan_timeout_s=orphan_timeout_s, drain_timeout_s=drain_timeout_s)
    server.should_exit = True
    await serving
    if not runtime.stop(STOP_TIMEOUT_S):
        door.remove()
        sys.stderr.flush()
        os._exit(code)  # a wedged decode cannot be joined
    return code


async def _live(app: App, runtime: Runtime, door: Door, *, orphan_timeout_s: float, drain_timeout_s: float) -> int:
    """Wait for the reason to end: failure, a shut door, drain or orphanhood."""
    log_limit = LogLimit()
    while True:
        log_limit.check()
        if runtime.status == "failed":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(app.failure_told.wait(), FAILURE_LINGER_S)
            return EXIT_DIED if runtime.served else EXIT_BAD_MODEL
        if door.shut():
            runtime.drain(DOOR_SHUT)
            own_log.say(DOOR_SHUT)
        if runtime.status == "draining":
            await _drain(runtime, drain_timeout_s)
            return EXIT_OK
        if not runtime.busy and time.monotonic() - app.last_contact > orphan_timeout_s:
            runtime.drain()
            own_log.say(f"nobody talked to this replica for {orphan_timeout_s:g} s: exiting")
            return EXIT_OK
        await asyncio.sleep(TICK_S)


async def _drain(runtime: Runtime, timeout_s: float) -> None:
    """Let running requests end; when the grace is over, end them with an error that clients may retry."""
    deadline = time.monotonic() + timeout_s
    while runtime.busy and time.monotonic() < deadline:  # noqa: ASYNC110 - the other thread has no event to await
        await asyncio.sleep(TICK_S / 4)
    if runtime.busy:
        runtime.fail_all()


def _config(app: App) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=int(STOP_TIMEOUT_S),
    )
