"""Replicas as processes of this machine.

Each gets its own process group, an environment of its own (no API keys of the engine's), a unix socket in a folder
only this user can enter, a log file, the root as its working folder, and limits on memory, files and core dumps.
Replicas outlive a killed engine and are found again by pid and socket. No more are started than the cores, the memory
and the GPUs of this machine hold.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import psutil

from engine.placement import devices, endings, fit, machine, oom, rlimits, sockets
from engine.placement.gpus import Gpu, gpus
from engine.placement.oom import OomKills
from engine.placement.port import REGION_UNSPECIFIED, Launch, Need, Node, Placed
from engine.placement.processes import (
    PROMISE,
    Promise,
    held_by_others,
    private_bytes,
    promise_of,
    resident_bytes,
    runs_on,
)

log = logging.getLogger(__name__)

LOGS_KEPT = 50  # log files of replicas that have ended, the newest
LAST_WORDS_BYTES = 2000
MEMORY_RESERVE_BYTES = 256 * 1024 * 1024  # left free for everything else on the machine
THREADS_PER_CORE = 4  # idle replicas take no core, so there may be more threads than cores, but not without end
NODE = "local"
# All that a replica inherits: where the engine's own code may lie, where the GPU's libraries lie on many machines,
# which GPUs there are to use (where the engine itself cannot tell), and where adapters are copied to load them. No
# PATH: a replica runs nothing but its own interpreter. No locale: without one Python takes text for UTF-8.
_INHERITED = ("PYTHONPATH", "LD_LIBRARY_PATH", devices.VISIBLE, "TMPDIR")
_INHERITED_WITH_GPUS = ("HOME",)  # CUDA keeps there what it compiled for a GPU that it has no ready code for


class LocalDriver:
    """Starts `python -m engine.replica` processes on the one node that is this machine."""

    simulated = False
    reads_files = True

    def __init__(
        self,
        data_dir: Path,
        *,
        orphan_timeout_s: float,
        region: str = REGION_UNSPECIFIED,
        accelerator_type: str | None = None,
        price_per_hour: float | None = None,
        gpus: Callable[[], Sequence[Gpu]] = gpus,
        oom_kills: OomKills | None = None,
    ) -> None:
        """`region` and `accelerator_type` are this node's labels; a type that is not given is detected.
        `price_per_hour`: US dollars for the whole node. `gpus` tells which there are to hand out, and what is free on
        them now; `oom_kills` what the kernel ended for want of memory, by its own count unless given."""
        self._run_dir = sockets.open_folder(data_dir)
        self._log_dir = data_dir / "logs"
        self._costs_file = data_dir / "costs.json"
        self._orphan_timeout_s = orphan_timeout_s
        self._region, self._accelerator_type, self._price_per_hour = region, accelerator_type, price_per_hour
        self._gpus = gpus
        self._oom_kills = oom_kills or OomKills(oom.counter())
        self._killed: dict[int, bool] = {}  # by pid: ended by SIGKILL, and whether that was the kernel for memory
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._sockets: dict[int, Path] = {}  # by pid
        self._promised: dict[int, Promise] = {}  # by pid
        self._unpromised = {gpu.id: gpu.free_bytes for gpu in gpus()}  # bytes of each GPU that nobody else has
        self._log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def open(self) -> None:
        """Count what an earlier engine left running as what it was promised; sockets of those that died are removed."""
        bound = set(self._run_dir.glob("*.sock"))  # before the replicas: one just spawned may bind its own meanwhile
        strays = self.strays(frozenset())
        for left in bound - {stray.socket for stray in strays}:
            left.unlink(missing_ok=True)
        for stray in strays:
            promise = self._promised[stray.pid] = promise_of(stray.pid)
            self._sockets[stray.pid] = stray.socket
            for gpu in promise.gpus:  # taken already: free again once it ends
                self._unpromised[gpu] = self._unpromised.get(gpu, 0) + promise.need.device_bytes

    def nodes(self) -> list[Node]:
        return [self._node()]

    def would_be(self, node: str, gone: Collection[Placed], come: Collection[Need]) -> Node | None:
        ours = frozenset(one.pid for one in gone if one.pid in self._promised)
        return self._node(ours, come) if node == NODE else None

    def _node(self, gone: Collection[int] = (), come: Collection[Need] = ()) -> Node:
        """This machine as it is, or as it would be without the replicas of these pids, and with some of such needs."""
        gpus, memory, cores = self._gpus(), machine.memory(), machine.cores()
        threads = cores * THREADS_PER_CORE
        kind = self._accelerator_type or (gpus[0].accelerator_type if gpus else None)
        left = {pid: promise for pid, promise in self._promised.items() if pid not in gone}
        freed = sum(private_bytes(pid) for pid in gone) - sum(need.memory_bytes for need in come)
        wanted = [*(promise.need for promise in left.values()), *come]
        return Node(
            name=NODE,
            device=gpus[0].name if gpus else "CPU",
            memory_bytes=memory.total - MEMORY_RESERVE_BYTES,
            free_memory_bytes=memory.available - MEMORY_RESERVE_BYTES - _owed(left) + freed,
            threads=threads,
            free_threads=threads - sum(need.threads for need in wanted),
            region=self._region,
            accelerator_type=kind,
            accelerators=len(gpus),
            accelerator_bytes=min((gpu.memory_bytes for gpu in gpus), default=0),
            free_device_bytes=devices.left([self._free_bytes(gpu, gone) for gpu in gpus], come),
            price_per_hour=self._price_per_hour,
            cores=cores,
        )

    def node_of(self, placed: Placed) -> Node | None:
        return self.nodes()[0] if self.alive(placed) else None

    def socket_of(self, replica: str) -> Path:
        return sockets.path_of(self._run_dir, replica)

    async def start(self, launch: Launch, kept: Collection[str] = ()) -> Placed:
        fit.choose(fit.without(self.nodes(), kept), launch.need)
        promise = Promise(launch.need, self._gpus_for(launch.need))
        self._prune_logs()
        # Not in a thread: a spawn takes milliseconds, and nothing can cancel us between the process and its record.
        child = self._spawn(launch, promise)
        self._children[child.pid] = child
        self._sockets[child.pid] = self.socket_of(launch.replica)
        self._promised[child.pid] = promise
        rlimits.bound(child.pid, launch.need)
        return Placed(launch.replica, self.socket_of(launch.replica), child.pid)

    def alive(self, placed: Placed) -> bool:
        child = self._children.get(placed.pid)
        if child is None:
            return runs_on(placed.pid) == placed.socket
        self._oom_kills.look()
        return child.poll() is None and placed.socket == self._sockets[placed.pid]

    def stop(self, placed: Placed, *, force: bool) -> None:
        if not self.alive(placed):
            return
        if force:
            self._killed[placed.pid] = False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(placed.pid, signal.SIGKILL if force else signal.SIGTERM)

    def forget(self, placed: Placed) -> None:
        self._promised.pop(placed.pid, None)
        self._killed.pop(placed.pid, None)
        child = self._children.pop(placed.pid, None)
        self._sockets.pop(placed.pid, None)
        if child is not None:
            child.poll()
        placed.socket.unlink(missing_ok=True)

    def ending(self, placed: Placed) -> str:
        if self.alive(placed):
            return ""
        code = self._returncode(placed)
        if code is None:
            return endings.UNSEEN
        return endings.FOR_MEMORY if self._ended_for_memory(placed.pid, code) else endings.in_words(code)

    def crashed(self, placed: Placed) -> bool:
        code = None if self.alive(placed) else self._returncode(placed)
        return code is not None and (endings.by_own_fault(code) or self._ended_for_memory(placed.pid, code))

    def taken(self, placed: Placed) -> None:
        return  # this machine goes with its engine

    def _returncode(self, placed: Placed) -> int | None:
        child = self._children.get(placed.pid)
        return None if child is None else child.returncode

    def _ended_for_memory(self, pid: int, code: int) -> bool:
        if code == -signal.SIGKILL and pid not in self._killed:
            self._killed[pid] = self._oom_kills.took()
        return self._killed.get(pid, False)

    def last_words(self, replica: str) -> str:
        try:
            with self._log(replica).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - LAST_WORDS_BYTES))
                return log.read().decode(errors="replace").strip()
        except OSError:
            return ""

    def strays(self, known: frozenset[Path]) -> list[Placed]:
        found = []
        for pid in psutil.pids():
            socket = runs_on(pid)
            if socket and socket.parent == self._run_dir and socket not in known:
                found.append(Placed(socket.stem, socket, pid))
        return found

    def close(self) -> None:
        with contextlib.suppress(OSError):  # not empty, or gone already
            self._run_dir.rmdir()

    def _log(self, replica: str) -> Path:
        return self._log_dir / f"{replica}.log"

    def _open_log(self, replica: str) -> BinaryIO:
        """A replica serves without a log where the disk has no room for one."""
        try:
            return self._log(replica).open("wb")
        except OSError as error:
            log.warning("replica %s has no log: %s", replica, error)
            return Path(os.devnull).open("wb")

    def _prune_logs(self) -> None:
        """Those of the living stay: who has served for long without a word may have the oldest."""
        living = {socket.stem for socket in self._sockets.values()}
        ended = [log for log in self._log_dir.glob("*.log") if log.stem.rpartition("-")[2] not in living]
        for log in sorted(ended, key=lambda log: log.stat().st_mtime)[: -LOGS_KEPT or None]:
            log.unlink(missing_ok=True)

    def _free_bytes(self, gpu: Gpu, gone: Collection[int] = ()) -> int:
        """A replica fills its part seconds after it was promised; somebody else may fill the rest, or free more.

        `gone`: pids of replicas whose parts count as free."""
        parts = {pid: one.need.device_bytes for pid, one in self._promised.items() if gpu.id in one.gpus}
        promised, freed = sum(parts.values()), sum(parts.get(pid, 0) for pid in gone)
        known = self._unpromised.get(gpu.id, 0) if promised else 0  # with no promise what is free now is all there is
        self._unpromised[gpu.id] = max(known, gpu.free_bytes)
        return max(0, min(gpu.free_bytes + freed, self._unpromised[gpu.id] - promised + freed))

    def _gpus_for(self, need: Need) -> tuple[str, ...]:
        """The ids of GPUs that have room for it, as many as it needs."""
        if not need.accelerators:
            return ()
        free = {gpu.id: self._free_bytes(gpu) for gpu in self._gpus()}
        roomy = [gpu for gpu, room in free.items() if room > 0 and room >= need.device_bytes]
        own = [promise.gpus for promise in self._promised.values()]
        return devices.assign(need.accelerators, roomy, [*own, *held_by_others(self._promised)])

    def _spawn(self, launch: Launch, promise: Promise) -> subprocess.Popen[bytes]:
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
        with self._open_log(launch.replica) as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=_environment(launch) | self._promise(promise), cwd="/", start_new_session=True,
            )  # fmt: skip

    def _promise(self, promise: Promise) -> dict[str, str]:
        """What a replica was promised, as a part of its environment; where GPUs are known it sees its own alone."""
        known = {devices.VISIBLE: ",".join(promise.gpus)} if self._unpromised else {}
        need = promise.need
        counted = [need.accelerators, need.model_bytes, need.process_bytes, need.threads]
        return known | {PROMISE: ",".join(map(str, counted))}


def _owed(promised: Mapping[int, Promise]) -> int:
    """Bytes of memory that were promised to living replicas, by pid, and that they have not taken yet."""
    taken = {pid: resident_bytes(pid) for pid in promised}
    return sum(max(0, promised[pid].need.memory_bytes - rss) for pid, rss in taken.items() if rss is not None)


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


def _environment(launch: Launch) -> dict[str, str]:
    """What a replica is given of this process, and how its interpreter is to run. OpenMP is told by the replica."""
    names = (*_INHERITED, *(_INHERITED_WITH_GPUS if launch.need.accelerators else ()))
    return {
        **{name: os.environ[name] for name in names if name in os.environ},
        "FIREDECK_REPLICA_KEY": launch.key,
        "PYTHONUNBUFFERED": "1",  # the last words of one that is killed are in its log
        "PYTHONSAFEPATH": "1",  # no code comes from the folder that it works in
    }
