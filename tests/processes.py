"""A real engine as a process of its own, for tests: started, asked, killed, started again."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from client.config import ADMIN_KEY_FILE, URL_FILE, Context
from engine.placement.sockets import run_dir

SMOLLM2 = "accounts/fireworks/models/smollm2-135m-instruct"
GEMMA = "accounts/fireworks/models/gemma-3-270m"
PATIENCE_S = 150.0  # how long a test waits for something that should come; never a statement about speed
NOT_PASSED = (
    "FIREWORKS_API_KEY", "FIREWORKS_BASE_URL", "FIREWORKS_ACCOUNT_ID", "FIREDECK_API_KEY", "FIREDECK_DATA_DIR",
    "FIREDECK_CONTEXT",
)  # fmt: skip


@dataclass
class EngineProcess:
    """`firedeck serve` on a data folder and a free port of loopback."""

    data_dir: Path
    arguments: tuple[str, ...] = ("--rehearsal",)
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> EngineProcess:
        (self.data_dir / URL_FILE).unlink(missing_ok=True)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                firedeck("serve", "--port", "0", "--data-dir", str(self.data_dir), *self.arguments),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(self.environment),
            )  # fmt: skip
        poll(lambda: self._serves() or self.process.poll() is not None)  # type: ignore[union-attr]
        assert self.process.poll() is None, self.log.read_text()
        return self

    @property
    def log(self) -> Path:
        return self.data_dir / "engine.log"

    @property
    def context(self) -> Context:
        url = (self.data_dir / URL_FILE).read_text().strip()
        return Context(base_url=url, api_key=(self.data_dir / ADMIN_KEY_FILE).read_text().strip())

    @property
    def key(self) -> str:
        return self.context.api_key

    def replicas(self) -> list[psutil.Process]:
        """The living replica processes of this data folder."""
        return replica_processes(self.data_dir)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def _serves(self) -> bool:
        file = self.data_dir / URL_FILE
        return file.exists() and file.read_text().endswith("\n")


def firedeck(*words: str) -> list[str]:
    """The command line, by this interpreter."""
    return [sys.executable, "-m", "client.cli", *words]


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """This environment without what would lead to somebody's real engine."""
    return {k: v for k, v in os.environ.items() if k not in NOT_PASSED} | (more or {})


def replica_processes(data_dir: Path) -> list[psutil.Process]:
    found, sockets = [], run_dir(data_dir)
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        ours = "engine.replica" in command and any(word.startswith(f"{sockets}/") for word in command)
        if ours and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def contents(*folders: Path) -> list[tuple[Path, bytes]]:
    """Every file below the folders and what it holds; one that is renamed or removed meanwhile is left out."""
    found = []
    for file in (file for folder in folders for file in folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            if file.is_file():
                found.append((file, file.read_bytes()))
    return found


def poll(condition: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Wait until `condition` holds; fail the test when it never does."""
    until = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < until, f"waited {patience_s:.0f}s in vain"
        time.sleep(0.05)


def lines_until_killed(script: str, *arguments: str, lines: int, looks: int = 0) -> list[str]:
    """The whole lines that a Python script wrote until it was killed (-9), which is after so many of them and, to fall
    somewhere into what it does next, after so many more `looks` at its output."""
    with subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        seen = b""
        while seen.count(b"\n") < lines:
            piece = os.read(process.stdout.fileno(), 4096)
            assert piece, "the script ended by itself"
            seen += piece
        for _ in range(looks):
            select.select([process.stdout], [], [], 0)
        os.kill(process.pid, signal.SIGKILL)
        seen += process.stdout.read()
    return seen.decode().split("\n")[:-1]
