"""The watch stream, measured: 1,000 changes a second to 10 watchers, and what that takes of the engine's process.

A whole engine in a process of its own (`tests.bench.watched`), watchers in another one (this), sockets of loopback
between them. Processor time is the engine's own, by /proc: with nobody watching, with one watcher, with ten.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from client.config import ADMIN_KEY_FILE

SECONDS, ROUNDS = 5.0, 3
WATCHERS = (0, 1, 10)
WANTED_CORES = 0.25
PATIENCE_S = 60.0
_COUNTED = re.compile(rb'"requestsTotal":(\d+)')


@dataclass
class Watcher:
    """What one watcher has got: `first` and `last` are the sums of what all deployments have counted."""

    frames: int = 0
    size: int = 0
    first: int = 0
    last: int = 0

    def take(self, event: bytes) -> None:
        self.last = sum(int(count) for count in _COUNTED.findall(event))
        self.first = self.first or self.last
        self.frames, self.size = self.frames + 1, len(event)

    async def watch(self, url: str, key: str) -> None:
        where = urlsplit(url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=2**26)
        try:
            asked = "GET /firedeck/v1/fleet:watch?interval=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            writer.write(f"{asked}Authorization: Bearer {key}\r\n\r\n".encode())
            while True:
                self.take(await reader.readuntil(b"\n\n"))
        finally:
            writer.close()


async def main() -> None:
    """Print one row a number of watchers."""
    print("\nthe watch stream, 1,000 changes a second in 1,000 deployments, a snapshot a second")
    print(f"{'':>12} {'engine, cores':>14} {'most':>6} {'changes/s':>10} {'frames/s':>9} {'KiB':>6} {'wanted':>7}")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.bench.watched", folder]
        engine = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            assert engine.stdout is not None
            url = (await engine.stdout.readline()).decode().strip()
            key = (Path(folder) / ADMIN_KEY_FILE).read_text().strip()
            for count in WATCHERS:
                await _row(psutil.Process(engine.pid), count, url, key)
        finally:
            engine.kill()
            await engine.wait()


async def _row(engine: psutil.Process, count: int, url: str, key: str) -> None:
    watchers = [Watcher() for _ in range(count)]
    tasks = [asyncio.create_task(watcher.watch(url, key)) for watcher in watchers]
    async with asyncio.timeout(PATIENCE_S):
        while any(not watcher.frames for watcher in watchers):
            await asyncio.sleep(0.1)
    used, began = [], time.monotonic()
    before = [(watcher.last, watcher.frames) for watcher in watchers]
    for _ in range(ROUNDS):
        used.append(await _cores(engine))
    took = time.monotonic() - began
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    seen = [(w.last - last) / took for w, (last, _) in zip(watchers, before, strict=True)]
    frames = [(w.frames - frames) / took for w, (_, frames) in zip(watchers, before, strict=True)]
    least, per_s = min(seen, default=0.0), min(frames, default=0.0)
    met = "" if not count else "met" if statistics.median(used) <= WANTED_CORES else "not met"
    size = max((w.size for w in watchers), default=0) / 1024
    print(
        f"{count:>3} watchers {statistics.median(used):>14.3f} {max(used):>6.3f} {least:>10.0f} {per_s:>9.2f}"
        f" {size:>6.0f} {met:>7}"
    )


async def _cores(process: psutil.Process) -> float:
    """Cores that it used for a few seconds."""
    before, began = process.cpu_times(), time.monotonic()
    await asyncio.sleep(SECONDS)
    after, took = process.cpu_times(), time.monotonic() - began
    return float(after.user + after.system - before.user - before.system) / took
