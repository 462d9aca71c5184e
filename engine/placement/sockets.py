"""Where replicas of a data folder listen: unix sockets in a folder that only this user can enter."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from client.errors import FailedPrecondition

SOCKET_PATH_MAX = 100  # bytes; Linux's sun_path holds 108, macOS' 104
SOCKET_NAME_BYTES = 20  # "/", a random id, ".sock", and some more


def run_dir(data_dir: Path) -> Path:
    """`DATA/run`, or a short stand-in when a socket below that would not fit into a socket address."""
    inside = data_dir / "run"
    if len(os.fsencode(inside)) + SOCKET_NAME_BYTES <= SOCKET_PATH_MAX:
        return inside
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"firedeck-{os.getuid()}-{digest}"


def open_folder(data_dir: Path) -> Path:
    """The folder, made where it is missing; FailedPrecondition when it is another user's."""
    folder = run_dir(data_dir)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise FailedPrecondition(f"{folder} belongs to another user", hint="choose another --data-dir")
    return folder


def path_of(folder: Path, replica: str) -> Path:
    """The socket of a replica: named after the random end of its id."""
    return folder / f"{replica.rpartition('-')[2]}.sock"
