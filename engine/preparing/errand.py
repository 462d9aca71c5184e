"""The engine's side of work on foreign or large model files: a child process a task, bounded, ended with the engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from client.errors import Internal, from_response
from engine.placement import endings
from engine.preparing.child import OUT_OF_MEMORY
from engine.units import MIB

WALL_FACTOR = 20  # a machine with more to do than cores
LINE_BYTES = 8 << 20
_INHERITED = ("PYTHONPATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "HOME", "TMPDIR")
_FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM)  # the kernel short of memory, or somebody


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of any file that the child writes, bytes of private memory (0: unbounded, as CUDA needs it), seconds of the
    CPU; bytes of addresses more than it starts with (0: unbounded), seconds in all (0: WALL_FACTOR times the CPU's)."""

    file_bytes: int
    memory_bytes: int
    cpu_s: int
    more_bytes: int = 0
    wall_s: float = 0.0

    @property
    def most_s(self) -> float:
        return self.wall_s or float(WALL_FACTOR * self.cpu_s)


class Lost(Internal):
    """The child came to no end of its own: it crashed, or went over a limit."""


class Interrupted(Lost):
    """It was ended from outside, or by the clock, which also goes where others have the machine: of its files that
    tells nothing."""


async def run(
    module: str, target: Path | None, limits: Limits, task: dict[str, Any],
    tell: Callable[[str], None] = lambda stage: None,
) -> dict[str, Any]:  # fmt: skip
    """What `python -m module` came to, which may write `target`; `tell` gets its stages. Raises what it refused with,
    and Lost where it ended without a word. It is gone afterwards, and so is what it left half done."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env=_environment(limits), cwd="/", start_new_session=True, limit=LINE_BYTES,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        said = {"target": str(target) if target else None, "limits": asdict(limits), "task": task}
        child.stdin.write(json.dumps(said).encode() + b"\n")
        async with asyncio.timeout(limits.most_s):
            async for line in child.stdout:
                found = json.loads(line)
                if "result" in found:
                    return dict(found["result"])
                if "error" in found:
                    raise from_response(found["error"]["status"], found["error"]["body"])
                tell(found["stage"])
            returncode = await child.wait()
            kind = Interrupted if returncode in _FROM_OUTSIDE else Lost
            raise kind(f"the process that worked on it {_ending(returncode, limits)}")
    except TimeoutError:
        raise Interrupted(f"it was not done within {limits.most_s:.10g} s") from None
    except (ValueError, KeyError):
        raise Lost("the process that worked on it said what is no answer") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        child.stdin.close()
        await child.wait()
        for unfinished in target.parent.glob(f".{target.name}.{child.pid}.*") if target else ():
            unfinished.unlink(missing_ok=True)


def _ending(returncode: int, limits: Limits) -> str:
    if returncode == OUT_OF_MEMORY:
        most = limits.more_bytes or limits.memory_bytes
        return f"needed more than the {most // MIB} MiB of memory that it may have"
    if returncode == -signal.SIGXCPU:
        return f"needed more than the {limits.cpu_s} s of the CPU that it may have"
    return endings.in_words(returncode)


def _environment(limits: Limits) -> dict[str, str]:
    known = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    patient = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "PYTHONSAFEPATH": "1"}
    return known | patient | ({"CUDA_VISIBLE_DEVICES": ""} if limits.memory_bytes else {})
