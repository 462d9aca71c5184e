"""The local driver on a machine said to have GPUs: what real replica processes are shown of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engine.placement.devices import VISIBLE
from engine.placement.gpus import Gpu
from engine.placement.local import LocalDriver
from engine.placement.port import Launch, Need, Placed, Stockout
from engine.units import GIB
from tests.engine.conftest import poll_until

GPUS = ("GPU-test-a", "GPU-test-b")


class Machine:
    """One engine's driver after another on the same folder, and the replicas that they started."""

    def __init__(self, folder: Path, model: Path) -> None:
        self._folder, self._model = folder, model
        self.placed: list[Placed] = []
        self.free: dict[str, int] = {}  # bytes, of GPUs that are not empty

    def driver(self, ids: tuple[str, ...] = GPUS) -> LocalDriver:
        gpus = tuple(Gpu(gpu, "NVIDIA L4", 24 * GIB, self.free.get(gpu, 24 * GIB)) for gpu in ids)
        made = LocalDriver(self._folder, orphan_timeout_s=60, gpus=lambda: gpus)
        asyncio.run(made.open())
        return made

    def start(self, driver: LocalDriver, gpus: int = 1, gib: int = 1) -> Placed:
        launch = Launch(
            replica=f"chat-{len(self.placed)}", deployment="d", model_file=self._model, key="k", slots=1,
            context_tokens=256, cores=1, need=Need(accelerators=gpus, model_bytes=gib * GIB),
        )  # fmt: skip
        self.placed.append(asyncio.run(driver.start(launch)))
        return self.placed[-1]

    def end(self, driver: LocalDriver, placed: Placed) -> None:
        driver.stop(placed, force=True)
        poll_until(lambda: not driver.alive(placed))
        driver.forget(placed)


@pytest.fixture
def machine(tmp_path: Path, smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.delenv(VISIBLE, raising=False)
    made = Machine(tmp_path, smollm2)
    yield made
    driver = made.driver()
    for placed in made.placed:
        driver.stop(placed, force=True)
        if psutil.pid_exists(placed.pid):
            os.waitpid(placed.pid, 0)


def shown(placed: Placed) -> str | None:
    """Linux shows an empty environment for a moment after a process was started."""
    process = psutil.Process(placed.pid)
    poll_until(process.environ)
    return process.environ().get(VISIBLE)


def test_each_replica_is_shown_gpus_of_its_own_until_it_ends(machine: Machine) -> None:
    driver = machine.driver()
    first, second = machine.start(driver), machine.start(driver)
    assert (shown(first), shown(second)) == GPUS
    machine.end(driver, first)
    third = machine.start(driver)
    assert shown(third) == GPUS[0]


def test_a_replica_counts_before_the_system_shows_what_it_was_started_with(machine: Machine, monkeypatch) -> None:
    monkeypatch.setattr(psutil, "pids", list)
    driver = machine.driver()
    assert (shown(machine.start(driver)), shown(machine.start(driver))) == GPUS


def test_an_engine_that_starts_again_knows_what_living_replicas_use(machine: Machine) -> None:
    first = machine.start(machine.driver())
    assert shown(first) == GPUS[0]
    assert shown(machine.start(machine.driver())) == GPUS[1]


def test_a_replica_that_needs_no_gpu_is_shown_none(machine: Machine) -> None:
    assert shown(machine.start(machine.driver(), gpus=0)) == ""


def test_a_replica_is_shown_the_gpus_whose_memory_it_was_promised(machine: Machine) -> None:
    machine.free = {GPUS[0]: 4 * GIB}
    driver = machine.driver()
    assert shown(machine.start(driver, gib=10)) == GPUS[1]
    assert driver.nodes()[0].free_device_bytes == (4 * GIB, 14 * GIB)
    assert shown(machine.start(driver, gib=10)) == GPUS[1]  # shared, for there alone is room
    with pytest.raises(Stockout):
        machine.start(driver, gib=10)
    assert shown(machine.start(driver, gib=3)) == GPUS[0]
    assert driver.nodes()[0].free_device_bytes == (1 * GIB, 4 * GIB)


def test_what_a_replica_takes_is_split_over_its_gpus(machine: Machine) -> None:
    driver = machine.driver()
    assert shown(machine.start(driver, gpus=2, gib=40)) == ",".join(GPUS)
    assert driver.nodes()[0].free_device_bytes == (4 * GIB, 4 * GIB)


def test_an_engine_that_starts_again_knows_what_replicas_were_promised(machine: Machine) -> None:
    first = machine.start(machine.driver(), gib=20)
    assert shown(first) == GPUS[0]
    machine.free = {GPUS[0]: 4 * GIB}
    driver = machine.driver()
    assert driver.nodes()[0].free_device_bytes == (4 * GIB, 24 * GIB)
    machine.free = {}
    machine.end(driver, first)
    assert machine.driver().nodes()[0].free_device_bytes == (24 * GIB, 24 * GIB)
    assert driver._unpromised == {GPUS[0]: 24 * GIB, GPUS[1]: 24 * GIB}


def test_without_gpus_nothing_is_said_of_them(machine: Machine) -> None:
    assert shown(machine.start(machine.driver(()), gpus=0)) is None


def test_without_known_gpus_the_engines_own_limit_is_passed_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VISIBLE, "7")
    assert shown(machine.start(machine.driver(()), gpus=0)) == "7"
