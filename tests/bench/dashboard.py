"""The dashboard, measured: 5,000 deployments, ten pictures a second with a tenth of them changed, in a real terminal.

A stock DataTable with the same load is measured beside it, turn about. Both draw on a pseudo terminal of 160 by 50
cells; the time of a picture is taken inside (`tests.bench.dashboarded`), all else out here. The fleet is simulated in
the measured process: what making it and its turns take is noted there and told apart. The first paint is that of
`firedeck` itself, where no engine answers: it comes before one is asked. A day of history is opened on a terminal that
keeps nothing (`tests.bench.painting`); a day's recording is opened without one (`tests.bench.taped`).
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.bench import painting, taped
from tests.processes import environment

# As `firedeck` starts it.
START = """
import sys
from pathlib import Path
import tui
from client import collector
with collector.paused():
    from tests.bench.dashboarded import main
main(sys.argv[1], Path(sys.argv[2]))
"""
COLUMNS, ROWS = 160, 50
NOBODY = "http://127.0.0.1:9"
SECONDS, ROUNDS, KEYS, KEY_EVERY_S, STARTS = 8.0, 2, 30, 0.25, 5
PATIENCE_S = 90.0
HOME, DOWN, UP, QUIT = b"\x1b[H", b"\x1b[B", b"\x1b[A", b"q\x11"
CURSOR = {"ours": "▌".encode(), "stock": b""}
PAGE, FIRST_ROW = b" firedeck ", b"d00"
PAINT, ROWS_SEEN = "start to first paint, s", "start to the first rows, s"
HISTORY = "start of a day's history to its paint, s"
RECORDING = "a day's recording to its picture, s"
WANTED: dict[str, float | None] = {  # None: told for comparison alone
    "tick and paint, median ms": 15, "tick and paint, median ms of CPU": 15, "key to paint, p95 ms": 50,
    "% of a core": 25, "% of a core, the load included": None, "resident MiB": 120, "bytes a frame": 2048,
    PAINT: 0.5, ROWS_SEEN: None, "start to the first rows, fleet made, s": None, HISTORY: 0.5, RECORDING: 0.5,
}  # fmt: skip


@dataclass
class Seen:
    """What a terminal got: instants and sizes."""

    at: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    text: bytearray = field(default_factory=bytearray)

    def take(self, data: bytes) -> None:
        self.at.append(time.perf_counter())
        self.sizes.append(len(data))
        self.text = (self.text + data)[-200_000:]


class Terminal:
    """A dashboard on a pseudo terminal of its own: what Python is started with."""

    def __init__(self, *words: str, **env: str) -> None:
        self.seen = Seen()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.set_blocking(self._master, False)
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, *words], stdin=slave, stdout=slave, stderr=slave,
            env=environment({"TERM": "xterm-256color", "COLORTERM": "truecolor", **env}),
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def _read(self) -> None:
        try:
            self.seen.take(os.read(self._master, 1 << 16))
        except OSError:  # it has ended
            asyncio.get_running_loop().remove_reader(self._master)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await asyncio.sleep(0.002)

    def press(self, key: bytes) -> None:
        os.write(self._master, key)

    async def key(self, key: bytes, sign: bytes) -> float:
        """Seconds from a key to the first output that has the cursor's sign; without one to the first at all, which
        may be a picture's that was due: less than it is."""
        self.seen.text.clear()
        began = time.perf_counter()
        self.press(key)
        await self.until(lambda: sign in self.seen.text if sign else bool(self.seen.text))
        return time.perf_counter() - began

    async def end(self) -> None:
        """By its own key, so that it leaves what it has noted; killed where it does not come to that."""
        os.write(self._master, QUIT)
        try:
            await asyncio.to_thread(self.process.wait, PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)


async def measured(which: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "took.json"
        terminal = Terminal("-c", START, which, str(result))
        try:
            await terminal.until(lambda: FIRST_ROW in terminal.seen.text)
            rows = time.perf_counter() - terminal.began
            await asyncio.sleep(3.0)
            process = psutil.Process(terminal.process.pid)
            found = await _watched(terminal, process)
            terminal.press(HOME)
            keys = []
            for n in range(KEYS):  # down and up: at the end of the screen its sign stays where it is
                await asyncio.sleep(KEY_EVERY_S)
                keys.append(1000 * await terminal.key((DOWN, UP)[n % 2], CURSOR[which]))
            found["key to paint, p95 ms"] = sorted(keys)[int(0.95 * len(keys))]
            found["start to the first rows, fleet made, s"] = rows
        finally:
            await terminal.end()
        took = json.loads(result.read_text())
        found[ROWS_SEEN] = found[PAINT] = rows - took["made_s"]  # at once: DataTable's app has no page before
        found["% of a core"] = found["% of a core, the load included"] - 100 * took["load_share"]
        found["tick and paint, median ms"] = statistics.median(took["took_ms"][10:])
        found["tick and paint, median ms of CPU"] = statistics.median(took["cpu_ms"][10:])
        return found


async def painted_s() -> float:
    """Seconds from typing `firedeck` to its page, which says what it waits for."""
    with tempfile.TemporaryDirectory() as home:
        terminal = Terminal("-m", "client.cli", "--base-url", NOBODY, "--api-key", "none", HOME=home)
        try:
            await terminal.until(lambda: PAGE in terminal.seen.text)
            return time.perf_counter() - terminal.began
        finally:
            await terminal.end()


async def _watched(terminal: Terminal, process: psutil.Process) -> dict[str, float]:
    """For some seconds, nobody touching it."""
    before, began, sent = process.cpu_times(), time.perf_counter(), sum(terminal.seen.sizes)
    await asyncio.sleep(SECONDS)
    after, took = process.cpu_times(), time.perf_counter() - began
    used = after.user + after.system - before.user - before.system
    return {
        "% of a core, the load included": 100 * used / took,
        "resident MiB": process.memory_info().rss / 2**20,
        "bytes a frame": (sum(terminal.seen.sizes) - sent) / (took * 10),
    }


async def main(*, rounds: int = ROUNDS) -> None:
    """Print a row a figure."""
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "stock": []}
    for _ in range(rounds):
        for which, found in runs.items():
            found.append(await measured(which))
    for run in runs["ours"]:
        run[PAINT] = statistics.median([await painted_s() for _ in range(STARTS)])
        run[HISTORY] = await painting.day_opened_s()
        run[RECORDING], *_ = await asyncio.to_thread(taped.opened_s)
    print(f"\nthe dashboard, 5,000 deployments, 10 pictures a second, a tenth changed, {COLUMNS}x{ROWS}")
    print(f"{'':<42} {'ours':>9} {'stock':>9} {'ratio':>6} {'wanted':>7}")
    for name, wanted in WANTED.items():
        print(_row(name, wanted, *([run[name] for run in found if name in run] for found in runs.values())))


def _row(name: str, wanted: float | None, ours: list[float], stock: list[float]) -> str:
    """Medians; what the stock table does not have is left blank."""
    mine, other = statistics.median(ours), statistics.median(stock) if stock else None
    beside = f"{_number(name, other):>9} {mine / other:>6.2f}" if other else f"{'':>16}"
    met = "" if wanted is None else f" {wanted:>7} {'met' if mine <= wanted else 'not met'}"
    return f"{name:<42} {_number(name, mine):>9} {beside}{met}"


def _number(name: str, value: float) -> str:
    return f"{value:.2f}" if name.endswith(", s") else f"{value:.1f}"


async def quickly() -> None:
    await main(rounds=1)


if __name__ == "__main__":
    asyncio.run(main())
