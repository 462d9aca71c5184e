"""Replicas as processes of this machine.

Each gets its own process group, an environment of its own (no API keys of the engine's), a unix socket in a folder
only this user can enter, and a log file. Replicas outlive a killed engine and are found again by pid and socket.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil

from client.errors import FailedPrecondition
from engine.placement import devices
from engine.placement.port import Launch, Placed, Stockout

SOCKET_PATH_MAX = 100  # bytes; Linux's sun_path holds 108, macOS' 104
SOCKET_NAME_BYTES = 20  # "/", a random id, ".sock", and some more
LOGS_KEPT = 50  # log files of replicas, the newest
LAST_WORDS_BYTES = 2000
MEMORY_RESERVE_BYTES = 256 * 1024 * 1024  # left free for everything else on the machine
MEMORY_OVER_FILE_BYTES = 200 * 1024 * 1024  # a replica's own needs beside the weights (measured on a 135M model)
_PASSED_ENV = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", devices.VISIBLE, "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH")


class LocalDriver:
    """Starts `python -m engine.replica` processes, as many as memory allows, each with its own of the `gpus`: ids as
    CUDA_VISIBLE_DEVICES takes them."""

    simulated = False

    def __init__(self, data_dir: Path, *, orphan_timeout_s: float, gpus: Sequence[str] = ()) -> None:
        self._run_dir = run_dir(data_dir)
        self._log_dir = data_dir / "logs"
        self._costs_file = data_dir / "costs.json"
        self._orphan_timeout_s = orphan_timeout_s
        self._gpus = tuple(gpus)
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._run_dir.stat().st_uid != os.getuid():
            raise FailedPrecondition(f"{self._run_dir} belongs to another user", hint="choose another --data-dir")
        self._log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)

    def socket_of(self, replica: str) -> Path:
        return self._run_dir / f"{replica.rpartition('-')[2]}.sock"

    async def start(self, launch: Launch) -> Placed:
        self._check_room(launch)
        self._prune_logs()
        # Not in a thread: a spawn takes milliseconds, and nothing can cancel us between the process and its record.
        child = self._spawn(launch)
        self._children[child.pid] = child
        return Placed(launch.replica, self.socket_of(launch.replica), child.pid)

    def alive(self, placed: Placed) -> bool:
        child = self._children.get(placed.pid)
        return child.poll() is None if child is not None else _runs_on(placed.pid) == placed.socket

    def stop(self, placed: Placed, *, force: bool) -> None:
        if not self.alive(placed):
            return
        try:
            os.killpg(placed.pid, signal.SIGKILL if force else signal.SIGTERM)
        except ProcessLookupError:
            return

    def forget(self, placed: Placed) -> None:
        child = self._children.pop(placed.pid, None)
        if child is not None:
            child.poll()
        placed.socket.unlink(missing_ok=True)

    def last_words(self, replica: str) -> str:
        try:
            with self._log(replica).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - LAST_WORDS_BYTES))
                return log.read().decode(errors="replace").strip()
        except OSError:
            return ""

    def strays(self, known_pids: frozenset[int]) -> list[Placed]:
        found = []
        for pid in psutil.pids():
            socket = _runs_on(pid)
            if socket and socket.parent == self._run_dir and pid not in known_pids:
                found.append(Placed(socket.stem, socket, pid))
        return found

    def close(self) -> None:
        if not any(self._run_dir.iterdir()):
            self._run_dir.rmdir()

    def _log(self, replica: str) -> Path:
        return self._log_dir / f"{replica}.log"

    def _prune_logs(self) -> None:
        logs = sorted(self._log_dir.glob("*.log"), key=lambda log: log.stat().st_mtime)
        for log in logs[: -LOGS_KEPT or None]:
            log.unlink(missing_ok=True)

    def _check_room(self, launch: Launch) -> None:
        files = [file for file in (launch.model_file, launch.draft_file) if file is not None]
        needed = sum(file.stat().st_size for file in files) + MEMORY_OVER_FILE_BYTES
        free = psutil.virtual_memory().available - MEMORY_RESERVE_BYTES
        if needed > free:
            raise Stockout(f"{needed / 2**20:.0f} MiB of memory wanted, {max(free, 0) / 2**20:.0f} MiB free")

    def _spawn(self, launch: Launch) -> subprocess.Popen[bytes]:
        socket = self.socket_of(launch.replica)
        socket.unlink(missing_ok=True)
        command = [
            sys.executable, "-m", "engine.replica",
            "--deployment", launch.deployment, "--replica", launch.replica, "--socket", str(socket),
            "--model", str(launch.model_file), "--slots", str(launch.slots),
            "--context", str(launch.context_tokens), "--cores", str(launch.cores),
            "--orphan-timeout", str(self._orphan_timeout_s), "--costs", str(self._costs_file),
            *options_of(launch),
        ]  # fmt: skip
        with self._log(launch.replica).open("wb") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=_environment(launch.key) | self._visible(launch), cwd=self._run_dir, start_new_session=True,
            )  # fmt: skip

    def _visible(self, launch: Launch) -> dict[str, str]:
        """The GPUs that a replica will see, as a part of its environment; nothing where there are none."""
        if not self._gpus:
            return {}
        chosen = devices.assign(launch.devices or len(self._gpus), self._gpus, _held())
        return {devices.VISIBLE: ",".join(chosen)}


def options_of(launch: Launch) -> list[str]:
    """The arguments that are left out where the replica decides by itself, or where a thing is off."""
    given = {
        "--draft-model": launch.draft_file,
        "--draft-token-count": launch.draft_tokens or None,
        "--ngram-speculation-length": launch.ngram_length or None,
        "--adapters-cached": launch.adapters_cached,
        "--adapter-sequences": launch.adapter_sequences,
        "--threads": launch.threads,
    }
    return [word for name, value in given.items() if value is not None for word in (name, str(value))]


def _environment(key: str) -> dict[str, str]:
    """A small environment: no keys of the engine's; idle OpenMP threads sleep instead of spinning a core away."""
    passed = {name: os.environ[name] for name in _PASSED_ENV if name in os.environ}
    return {
        **passed,
        "FIREDECK_REPLICA_KEY": key,
        "OMP_WAIT_POLICY": "passive",
        "GOMP_SPINCOUNT": "0",
        "PYTHONUNBUFFERED": "1",
    }


def run_dir(data_dir: Path) -> Path:
    """`DATA/run`, or a short stand-in when a socket below that would not fit into a socket address."""
    inside = data_dir / "run"
    if len(os.fsencode(inside)) + SOCKET_NAME_BYTES <= SOCKET_PATH_MAX:
        return inside
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"firedeck-{os.getuid()}-{digest}"


def _held() -> list[list[str]]:
    """The GPUs of each replica that lives on this machine, this engine's or not. Read from their environment, they need
    no record that could outlive a process or die with the engine."""
    held = []
    for pid in psutil.pids():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if _runs_on(pid) is not None:
                held.append(psutil.Process(pid).environ().get(devices.VISIBLE, "").split(","))
    return held


def _runs_on(pid: int) -> Path | None:
    """The socket of the replica that this process is, or None: no process, a zombie, or something else."""
    try:
        process = psutil.Process(pid)
        command = process.cmdline()
        if "engine.replica" not in command or "--socket" not in command[:-1]:
            return None
        return None if process.status() == psutil.STATUS_ZOMBIE else Path(command[command.index("--socket") + 1])
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
