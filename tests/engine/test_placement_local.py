"""The local driver on a machine said to have GPUs: what real replica processes are shown of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engine.placement.devices import VISIBLE
from engine.placement.local import LocalDriver
from engine.placement.port import Launch, Placed
from tests.engine.conftest import poll_until

GPUS = ("GPU-test-a", "GPU-test-b")


class Machine:
    """One engine's driver after another on the same folder, and the replicas that they started."""

    def __init__(self, folder: Path, model: Path) -> None:
        self._folder, self._model = folder, model
        self.placed: list[Placed] = []

    def driver(self, gpus: tuple[str, ...] = GPUS) -> LocalDriver:
        return LocalDriver(self._folder, orphan_timeout_s=60, gpus=gpus)

    def start(self, driver: LocalDriver, devices: int | None = 1) -> Placed:
        launch = Launch(
            replica=f"chat-{len(self.placed)}", deployment="d", model_file=self._model, key="k", slots=1,
            context_tokens=256, cores=1, devices=devices,
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
    return psutil.Process(placed.pid).environ().get(VISIBLE)


def test_each_replica_is_shown_gpus_of_its_own_until_it_ends(machine: Machine) -> None:
    driver = machine.driver()
    first, second = machine.start(driver), machine.start(driver)
    assert (shown(first), shown(second)) == GPUS
    machine.end(driver, first)
    third = machine.start(driver)
    assert shown(third) == GPUS[0]


def test_an_engine_that_starts_again_knows_what_living_replicas_use(machine: Machine) -> None:
    first = machine.start(machine.driver())
    assert shown(first) == GPUS[0]
    assert shown(machine.start(machine.driver())) == GPUS[1]


def test_a_replica_that_asks_for_more_than_there_are_is_shown_all(machine: Machine) -> None:
    assert shown(machine.start(machine.driver(), devices=8)) == ",".join(GPUS)


def test_without_gpus_nothing_is_said_of_them(machine: Machine) -> None:
    assert shown(machine.start(machine.driver(()))) is None


def test_without_known_gpus_the_engines_own_limit_is_passed_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VISIBLE, "7")
    assert shown(machine.start(machine.driver(()))) == "7"
