"""Folders of models as their trainers save them: which files count, and how a base model's become one GGUF file."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from client.errors import ResourceExhausted
from engine.models import customized, peft
from engine.models.customized import Conversation
from engine.models.hugging_face import convert, fields
from engine.preparing import errand
from engine.preparing.checks import refused
from engine.preparing.errand import Limits, Lost

CHILD = "engine.preparing.conversion"
SPARE_BYTES = 1 << 30  # left free on the disk
SLACK_BYTES = 256 << 20  # header and vocabulary
MEMORY_BYTES = 4 << 30  # besides the largest file, whose largest tensor may be nearly all of it
CPU_S_BASE, CPU_S_PER_GIB = 300, 300


def holds_base(files: Mapping[str, Path]) -> bool:
    """Whether the files are those of a base model; of an adapter there is another config too."""
    return fields.NAME in files and peft.CONFIG not in files


def files_in(folder: Path) -> dict[str, Path]:
    """The files of a base model or an adapter that lie in `folder`, by name. InvalidArgument where neither does."""
    found = convert.files_in(folder)
    if holds_base(found):
        return found
    beside = {customized.NAME: found[customized.NAME]} if customized.NAME in found else {}
    return peft.files_in(folder) | beside


async def converted(files: Mapping[str, Path], target: Path, name: str, talk: Conversation | None = None) -> list[str]:
    """Make the base model in `files`, called `name` and talked with as `talk` says, the GGUF file `target`; names of
    files that were not used. Raises as `hugging_face.convert` does, InvalidArgument where that goes over a limit, and
    ResourceExhausted where the disk has no room for it."""
    real = {each: path.resolve() for each, path in files.items()}
    sizes = [path.stat().st_size for path in real.values()]
    await asyncio.to_thread(_check_room, target, sum(sizes) + SLACK_BYTES)
    limits = Limits(
        file_bytes=sum(sizes) + SLACK_BYTES,
        memory_bytes=4 * max(sizes) + MEMORY_BYTES,
        cpu_s=CPU_S_BASE + (CPU_S_PER_GIB * sum(sizes) >> 30),
    )
    task: dict[str, Any] = {
        "files": {each: str(path) for each, path in real.items()},
        "target": str(target),
        "name": name,
    }
    if talk is not None:
        task["talk"] = asdict(talk)
    try:
        return list((await errand.run(CHILD, target, limits, task))["unused"])
    except Lost as error:
        raise refused(files, error) from None


def _check_room(target: Path, wanted: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if wanted + SPARE_BYTES > free:
        raise ResourceExhausted(
            f"the converted file may take {wanted} bytes: {free} are free and {SPARE_BYTES} stay so", field="file",
            hint="make room on the engine's disk",
        )  # fmt: skip
