"""A simulated replica as a file beside its socket: what a process is to a real one, it outlives the engine."""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.files import write_whole
from engine.placement.port import Launch, Need
from engine.placement.simulated.cloud import Spot

log = logging.getLogger(__name__)

SUFFIX = ".json"
BEAT = "engine.beat"  # the file that says when an engine last looked after the replicas beside it


@dataclass(frozen=True, slots=True)
class Kept:
    launch: Launch
    spot: Spot
    pid: int


@dataclass(frozen=True, slots=True)
class Beat:
    """One instant: seconds since 1970, which may be set, and since the simulation began, which never are."""

    wall: float
    simulated: float


def write(socket: Path, kept: Kept) -> bool:
    """Whole or not at all: whether the disk took it. It holds the replica's key, so nobody else may read it."""
    spot = {name: getattr(kept.spot, name) for name in ("node", "placed_at", "ready_at", "ends_at", "preempted")}
    doc = {"launch": asdict(kept.launch), "spot": spot, "pid": kept.pid}
    try:
        write_whole(socket.with_suffix(SUFFIX), json.dumps(doc, default=_plain), durable=False)
    except OSError:
        return False
    return True


def drop(socket: Path) -> None:
    socket.with_suffix(SUFFIX).unlink(missing_ok=True)


def read(folder: Path) -> list[Kept]:
    """All that are kept there, in the order of their pids; a file that cannot be read is removed."""
    found = []
    for file in folder.glob(f"*{SUFFIX}"):
        try:
            found.append(_kept(json.loads(file.read_text("utf-8"))))
        except (OSError, ValueError, TypeError, KeyError):
            log.warning("%s is no simulated replica: removed", file)
            file.unlink(missing_ok=True)
    return sorted(found, key=lambda kept: kept.pid)


def beat(folder: Path, now: Beat) -> None:
    """An engine is there. A disk that is full must not end what runs."""
    with contextlib.suppress(OSError):
        write_whole(folder / BEAT, json.dumps([now.wall, now.simulated]), durable=False)


def last_beat(folder: Path) -> Beat | None:
    """None where no engine has been killed."""
    try:
        wall, simulated = json.loads((folder / BEAT).read_text("utf-8"))
        return Beat(float(wall), float(simulated))
    except (OSError, ValueError, TypeError):
        return None


def end(folder: Path) -> None:
    """The last engine is done with the folder: remove it, unless replicas are left."""
    (folder / BEAT).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty
        folder.rmdir()


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else str(value)


def _kept(doc: dict[str, Any]) -> Kept:
    launch = dict(doc["launch"])
    need = dict(launch["need"])
    need["regions"] = None if need["regions"] is None else frozenset(need["regions"])
    launch["need"] = Need(**need)
    launch["model_file"] = Path(launch["model_file"])
    launch["draft_file"] = Path(launch["draft_file"]) if launch["draft_file"] else None
    return Kept(Launch(**launch), Spot(need=launch["need"], **doc["spot"]), int(doc["pid"]))
