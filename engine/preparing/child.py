"""The child's side of an errand: bounded before it opens anything, ended with the engine, answering in lines of JSON.

On standard input comes one line, `{"target", "limits", "task"}` (the target null where nothing is written); it stays
open, and its end is the end of whoever asked and of this process. On standard output go `{"stage"}`s, at last
`{"result"}` or `{"error"}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from client.errors import FiredeckError

NICE = 5
OUT_OF_MEMORY = 77  # the exit status of one that asked for more than it may have
CPU_GRACE_S = 5  # between SIGXCPU, by whose name the end is known, and SIGKILL
OPEN_FILES = 1024


def serve(work: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
    """Do the one task that comes, within its limits; the exit status."""
    said = json.loads(sys.stdin.readline())
    target = Path(said["target"]) if said["target"] else None
    threading.Thread(target=_end_with_the_engine, args=(target,), daemon=True).start()
    _bound(**said["limits"])
    try:
        _tell(result=work(said["task"]))
    except FiredeckError as error:
        body = error.control_plane_body()
        _tell(error={"status": error.status, "body": body})
        return 1
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # at once: the interpreter's own end needs memory, and the other thread reads
    except OSError as error:
        _tell(error={"status": 500, "body": {"code": 13, "message": error.strerror or str(error)}})
        return 1
    return 0


def stage(text: str) -> None:
    """Tell what is being done now."""
    _tell(stage=text)


def _tell(**said: Any) -> None:
    print(json.dumps(said), flush=True)


def _bound(file_bytes: int, memory_bytes: int, cpu_s: int, more_bytes: int, **_others: Any) -> None:
    """No core dump, so many bytes in any file, so many of private memory (0: unbounded), so many seconds of the CPU, so
    many bytes of addresses more than it has now (0: unbounded)."""
    with contextlib.suppress(OSError):
        os.nice(NICE)
    limits = {
        resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: OPEN_FILES, resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_CPU: cpu_s,
    }  # fmt: skip
    if sys.platform == "linux":  # elsewhere mapped files count
        if memory_bytes:
            limits[resource.RLIMIT_DATA] = memory_bytes
        if more_bytes:
            limits[resource.RLIMIT_AS] = _mapped_bytes() + more_bytes
    for limit, most in limits.items():
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        last = most + CPU_GRACE_S if limit == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else most
        resource.setrlimit(limit, (most, last))


def _mapped_bytes() -> int:
    """What the interpreter and its packages have mapped: BLAS sets aside much for each core, and uses little of it."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _end_with_the_engine(target: Path | None) -> None:
    """Where the engine is gone nobody waits for the result. llama.cpp and numpy let other threads run meanwhile."""
    sys.stdin.buffer.read()
    for unfinished in target.parent.glob(f".{target.name}.{os.getpid()}.*") if target else ():
        unfinished.unlink(missing_ok=True)
    os._exit(1)
