"""Opens the engine's stock of models: the library, and what is made of its models (precisions, merged adapters)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from engine.clock import Clock
from engine.library import Library
from engine.model_files import Nominal
from engine.placement import machine
from engine.placement.port import Driver
from engine.preparing import merged, records
from engine.preparing.merged import Merged
from engine.preparing.preparations import Preparations
from engine.preparing.records import Records
from engine.store.store import Store


async def open_library(data_dir: Path, store: Store, nominal: Mapping[str, Nominal] | None) -> tuple[Library, Records]:
    """The models that the data folder knows, and the records of what was prepared of them."""
    prepared, together = Records(data_dir / records.FOLDER), Merged(data_dir / merged.FOLDER)
    await asyncio.to_thread(prepared.load)
    await asyncio.to_thread(together.load)
    library = Library(store, nominal, prepared, together)
    await library.load()
    return library, prepared


def preparations(library: Library, prepared: Records, driver: Driver, clock: Clock) -> Preparations:
    """Precisions are made with half of this machine's cores."""
    return Preparations(
        prepared, library.get, lambda name: library.files.bring(name, lambda part: None), clock,
        threads=max(1, machine.cores() // 2), gpu_layers=partial(_gpu_layers, driver),
    )  # fmt: skip


def _gpu_layers(driver: Driver, size_bytes: int) -> int:
    """Models are measured on the GPUs where each has room for it besides what was promised to replicas."""
    free = [room for node in driver.nodes() for room in node.free_device_bytes]
    return -1 if free and min(free) > 2 * size_bytes and not driver.simulated else 0
