"""Adapters merged into their bases, on disk: `<folder>/<account>/<model>/<adapter>-<base>.gguf`.

Both are named by their digests (a base of the library whose digest is not known by its id): a file is always of the two
that its name says.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from client.errors import ResourceExhausted
from client.types import Model
from engine.preparing import errand
from engine.preparing.errand import Limits

FOLDER = "merged"  # in the data folder
CHILD = "engine.preparing.merging"
SPARE_BYTES = 1 << 30  # left free on the disk
GROWTH = 4  # times the base's size: 4 bits become 16
MEMORY_BYTES = 4 << 30  # besides that of the largest weights in 32 bits
CPU_S_BASE, CPU_S_PER_GIB = 300, 600
DIGEST_CHARS = 16


class Merged:
    """Those of one engine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> None:
        """Remove what a crash left half done."""
        for unfinished in self._folder.glob("*/*/.*.part"):
            unfinished.unlink(missing_ok=True)

    def path(self, adapter: Model, base: Model) -> Path:
        """Where the file lies, or would lie."""
        mine, its = ((one.firedeck.digest if one.firedeck else None) or one.id for one in (adapter, base))
        return self._of(adapter.name) / f"{mine[:DIGEST_CHARS]}-{its[:DIGEST_CHARS]}.gguf"

    async def make(self, base: Path, adapter: Path, target: Path) -> None:
        """The file at `target`, unless it is there. Raises as `merge` does, and ResourceExhausted where the disk has no
        room for it."""
        if await asyncio.to_thread(target.exists):
            return
        size = await asyncio.to_thread(_checked_size, base, target)
        limits = Limits(
            file_bytes=GROWTH * size, memory_bytes=GROWTH * size + MEMORY_BYTES,
            cpu_s=CPU_S_BASE + (CPU_S_PER_GIB * size >> 30),
        )  # fmt: skip
        task = {"base": str(base), "adapter": str(adapter), "target": str(target)}
        await errand.run(CHILD, target, limits, task)

    def forget(self, adapter: str) -> None:
        """Remove all that was made of an adapter."""
        shutil.rmtree(self._of(adapter), ignore_errors=True)

    def _of(self, name: str) -> Path:
        _, account, _, model_id = name.split("/")
        return self._folder / account / model_id


def _checked_size(base: Path, target: Path) -> int:
    """Of the base, in bytes, where there is room for what is made of it."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    size = base.stat().st_size
    free = shutil.disk_usage(target.parent).free
    if GROWTH * size + SPARE_BYTES > free:
        raise ResourceExhausted(
            f"the merged file may take {GROWTH * size} bytes: {free} are free and {SPARE_BYTES} stay so",
            field="baseModel", hint="make room on the engine's disk",
        )  # fmt: skip
    return size
