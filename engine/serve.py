"""Runs an engine in the foreground: lock, socket, uvicorn, and a clean end.

Whatever can be wrong before the first request - folder not writable, second engine, port taken - is a FiredeckError
with its remedy.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from pathlib import Path

import uvicorn
from filelock import FileLock, Timeout

from client import collector
from client.config import URL_FILE
from client.errors import FailedPrecondition, FiredeckError
from engine import descriptors, prices, shape_files
from engine.app import Engine
from engine.fleet.serverless import offer
from engine.fleet.settings import Settings
from engine.http1 import Protocol
from engine.keys import given_key
from engine.placement import rlimits
from engine.placement.simulated import world
from engine.simulation import check_folder
from engine.store.disk import ROOM

log = logging.getLogger(__name__)

Started = Callable[[Engine, str], Awaitable[None]]

LOCK_FILE = "engine.lock"
BACKLOG = 2048
UNSENT_BYTES = 64 << 10  # for each client, before its stream has to wait
STUCK_S = 60  # a client that takes nothing of what it is sent for so long is cut off
BREAK_OFF_S = 1  # before the end of the drain, streams are ended with an error event
DRAIN_S = 10  # how long requests under way may take once the engine was told to end


def check_data_dir(data_dir: Path) -> None:
    """The folder exists, is private, and can be written to; FailedPrecondition otherwise."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = data_dir / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except (FileExistsError, NotADirectoryError):
        raise FailedPrecondition(
            f"{data_dir} cannot be a data folder: there is a file", hint="choose another with --data-dir"
        ) from None
    except OSError as error:
        raise FailedPrecondition(
            f"data folder {data_dir} is not writable: {error.strerror or error}", hint="choose another with --data-dir"
        ) from None


def take_lock(data_dir: Path) -> FileLock:
    """Hold the folder for this process; the system lets go when the process ends, however it ends."""
    lock = FileLock(data_dir / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FailedPrecondition(
            f"another engine is running on {data_dir}", hint="stop it, or choose another folder with --data-dir"
        ) from None
    return lock


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # accepted sockets inherit it; Linux alone has it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STUCK_S * 1000)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # inherited too: else the system takes megabytes for one who reads nothing
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        why = getattr(error, "strerror", None) or str(error)
        raise FailedPrecondition(f"cannot listen on {host}:{port}: {why}", hint=_elsewhere(error)) from None
    return listener


def _elsewhere(error: OSError | OverflowError) -> str:
    """What to choose instead: an address that this machine does not have is the host's fault."""
    if isinstance(error, socket.gaierror) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL:
        return "choose another --host: an address of this machine, or 0.0.0.0 for all of them"
    return "choose another --port"


def check(settings: Settings) -> None:
    """What can be wrong with the settings is told before a folder or a file is made for them."""
    given_key()
    if settings.prices is not None:
        prices.read(settings.prices)
    shape_files.read(settings.shapes)
    if settings.simulate is not None:
        world.read(settings.simulate)
    check_folder(settings.data_dir, simulate=settings.simulate is not None)


def _bind(settings: Settings) -> socket.socket:
    try:
        return bind(settings.host, settings.port)
    except FiredeckError:
        if (settings.data_dir / LOCK_FILE).exists():  # the port may be that of an engine on this very folder
            take_lock(settings.data_dir).release()
        raise


@contextlib.contextmanager
def _told_if_full() -> Generator[None, None, None]:
    """A file that the start needs, and that a full disk does not take, is a FailedPrecondition."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise FailedPrecondition(f"the data folder takes no file: {error.strerror}", hint=ROOM) from None


def _tell_clients(file: Path, url: str) -> None:
    """Where to find this engine. It serves on a full disk too: whoever asks it then has to be told."""
    try:
        file.write_text(url + "\n")
    except OSError as error:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)  # better none than that of an earlier engine
        log.warning("%s cannot be written (%s): clients need --base-url %s", file, error.strerror, url)


async def run(settings: Settings, started: Started) -> None:
    """Serve until SIGTERM or SIGINT. `started(engine, base_url)` is called once requests are taken."""
    os.umask(0o077)  # the state holds keys: nobody else's to read
    rlimits.dump_no_core()
    descriptors.raise_limit()
    check(settings)
    listener = _bind(settings)
    host, port = listener.getsockname()[:2]
    try:
        check_data_dir(settings.data_dir)
        lock = take_lock(settings.data_dir)
    except BaseException:
        listener.close()
        raise
    try:
        with _told_if_full():
            engine = await Engine.open(settings)
        try:
            await offer(engine.house.fleet, settings.serverless)
            await _serve(engine, listener, base_url(host, port), started)
        finally:
            await engine.close()
    except* FiredeckError as group:
        raise group.exceptions[0] from None
    finally:
        listener.close()
        (settings.data_dir / URL_FILE).unlink(missing_ok=True)
        lock.release()


def base_url(host: str, port: int) -> str:
    """Where a client of this machine finds a listener on `host`."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


class _Server(uvicorn.Server):
    """uvicorn that says when it listens, and leaves signals to us.

    Its own handlers raise the signal again after the drain, which would skip our clean end.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    def end(self, engine: Engine) -> None:
        """Drain and end; asked a second time, do not wait for the drain."""
        self.force_exit = self.should_exit
        self.should_exit = True
        engine.end(DRAIN_S - BREAK_OFF_S)


@contextlib.asynccontextmanager
async def _calls(settings: Settings, url: str) -> AsyncIterator[None]:
    """Take gRPC calls meanwhile, where that was asked for."""
    if settings.grpc_port is None or settings.grpc_descriptors is None:
        yield
        return
    try:
        from engine.rpc.listener import listening  # late: its packages are an extra
    except ImportError as error:
        raise FailedPrecondition(f"gRPC calls need {error.name}", hint="pip install 'firedeck[grpc]'") from None
    bases = settings.serverless.names if settings.serverless.addons else ()
    async with listening(settings.host, settings.grpc_port, settings.grpc_descriptors, url, bases) as port:
        log.info("gRPC calls are taken on %s port %d", settings.host, port)
        yield


async def _serve(engine: Engine, listener: socket.socket, url: str, started: Started) -> None:
    server = _Server(
        uvicorn.Config(
            engine, lifespan="off", http=Protocol, ws="none", limit_concurrency=descriptors.places(),
            log_config=None, access_log=False, server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
            # Whoever is believed may give itself any address: it would never be told to slow down.
            proxy_headers=bool(engine.settings.trusted_proxies),
            forwarded_allow_ips=list(engine.settings.trusted_proxies),
        )
    )  # fmt: skip
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, server.end, engine)
    async with _calls(engine.settings, url), asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve([listener]))
        await server.listening.wait()
        collector.spare()
        _tell_clients(engine.settings.data_dir / URL_FILE, url)
        await started(engine, url)
