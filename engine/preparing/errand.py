"""The engine's side of work on foreign or large model files: a child process a task, bounded, ended with the engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from client.errors import Internal, from_response
from engine.placement import endings

WALL_FACTOR = 20  # a machine with more to do than cores
LINE_BYTES = 1 << 20
_INHERITED = ("PYTHONPATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "HOME", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of any file that the child writes, bytes of private memory (0: unbounded, as CUDA needs it), seconds of the
    CPU."""

    file_bytes: int
    memory_bytes: int
    cpu_s: int


async def run(
    module: str, target: Path, limits: Limits, task: dict[str, Any], tell: Callable[[str], None] = lambda stage: None
) -> dict[str, Any]:
    """What `python -m module` came to, which may write `target`; `tell` gets its stages. Raises what it refused with,
    and Internal where it ended without a word. It is gone afterwards, and so is what it left half done."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env=_environment(limits), cwd="/", start_new_session=True, limit=LINE_BYTES,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        said = {"target": str(target), "limits": asdict(limits), "task": task}
        child.stdin.write(json.dumps(said).encode() + b"\n")
        async with asyncio.timeout(WALL_FACTOR * limits.cpu_s):
            async for line in child.stdout:
                found = json.loads(line)
                if "result" in found:
                    return dict(found["result"])
                if "error" in found:
                    raise from_response(found["error"]["status"], found["error"]["body"])
                tell(found["stage"])
            raise Internal(f"the process that worked on it {endings.in_words(await child.wait())}")
    except TimeoutError:
        raise Internal(f"it was not done within {WALL_FACTOR * limits.cpu_s} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        child.stdin.close()
        await child.wait()
        for unfinished in target.parent.glob(f".{target.name}.{child.pid}.*"):
            unfinished.unlink(missing_ok=True)


def _environment(limits: Limits) -> dict[str, str]:
    known = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    patient = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "PYTHONSAFEPATH": "1"}
    return known | patient | ({"CUDA_VISIBLE_DEVICES": ""} if limits.memory_bytes else {})
