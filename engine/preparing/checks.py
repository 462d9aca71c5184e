"""Files of users before anything else reads them: each is checked in a child process with limits (`errand`).

The readers are those of `engine.models`; what kills or stops one of them kills the child, and the file is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from client.errors import FiredeckError, InvalidArgument, Unavailable
from engine.models.adapter import AdapterFacts
from engine.models.gguf import GgufInfo
from engine.models.own_adapters import OwnAdapter
from engine.models.own_models import OwnModel
from engine.preparing import errand
from engine.preparing.errand import Interrupted, Limits, Lost
from engine.units import GIB, MIB

OF_MODEL, OF_ADAPTER = "engine.preparing.checking", "engine.preparing.adapting"
AT_ONCE = 4
MEMORY_BYTES = 512 * MIB  # more than the interpreter has; of a large vocabulary a check needs a tenth of it
PEFT_MEMORY_BYTES = GIB  # besides four times its files: tensors in 32 bits, and a header of JSON
CPU_S_BASE, CPU_S_PER_GIB = 20, 20  # ten times what it takes
WALL_S_BASE, WALL_S_PER_GIB = 120.0, 200.0  # a machine with more to do than cores, and a disk far away
SLACK_BYTES = 64 * MIB


class Checks:
    """AT_ONCE at a time; those of others wait for none of these."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)

    async def model(self, file: Path, *, is_meant: bool) -> OwnModel | None:
        """The facts of a base model's file, read whole; None for an adapter's. Raises as `own_models.check` does, and
        InvalidArgument for a base model that is not meant to be one, or whose check goes over a limit."""
        told = (await self._done(OF_MODEL, {"file": str(file), "is_meant": is_meant}, {file.name: file}))["model"]
        return OwnModel(Path(told["path"]), GgufInfo(**told["info"]), told["sha256"]) if told else None

    async def adapter(self, file: Path, base: Path) -> OwnAdapter:
        """The facts of an adapter's file, read whole, as it fits the model at `base`. Raises as `own_adapters.check`
        does, and InvalidArgument where its check goes over a limit."""
        told = await self._done(OF_ADAPTER, {"file": str(file), "base": str(base)}, {file.name: file})
        targets = tuple(told["facts"].pop("targets"))
        return OwnAdapter(Path(told["path"]), AdapterFacts(**told["facts"], targets=targets))

    async def of_peft(self, files: Mapping[str, Path], base: Path, target: Path) -> None:
        """Make the adapter in `files` the GGUF file `target`. Raises as `peft.convert` does, and InvalidArgument where
        that goes over a limit."""
        task = {"files": {name: str(path) for name, path in files.items()}, "base": str(base), "target": str(target)}
        await self._done(OF_ADAPTER, task, files, target)

    async def _done(
        self, module: str, task: dict[str, Any], files: Mapping[str, Path], target: Path | None = None
    ) -> dict[str, Any]:
        async with self._places:
            limits = await asyncio.to_thread(_limits, files, writes=target is not None)
            try:
                return await errand.run(module, target, limits, task)
            except Lost as error:
                raise refused(files, error) from None


def refused(files: Iterable[str], error: Lost) -> FiredeckError:
    """What is said of files that no reader came to an end with."""
    if isinstance(error, Interrupted):
        return Unavailable(f"{', '.join(files)} cannot be read now: {error.message}", hint="try again")
    return InvalidArgument(
        f"{', '.join(files)} cannot be read: {error.message}", field="file",
        hint="no sound file takes so much: fetch it again, or convert it again",
    )  # fmt: skip


def _limits(files: Mapping[str, Path], *, writes: bool) -> Limits:
    size = sum(_size(path) for path in files.values())
    return Limits(
        file_bytes=4 * size + SLACK_BYTES if writes else 0,
        memory_bytes=0,
        cpu_s=CPU_S_BASE + CPU_S_PER_GIB * size // GIB,
        more_bytes=4 * size + PEFT_MEMORY_BYTES if writes else MEMORY_BYTES,
        wall_s=WALL_S_BASE + WALL_S_PER_GIB * size / GIB,
    )


def _size(path: Path) -> int:
    """0 where it cannot be told: the check says why."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0
