"""What the local driver takes for free on GPUs that others use too. No process is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.placement.gpus import Gpu
from engine.placement.local import LocalDriver, Promise
from engine.placement.port import Need
from engine.units import GIB

TEN = Promise(Need(accelerators=1, model_bytes=10 * GIB), ("a",))


class Machine:
    """Bytes free by GPU, as NVML would tell them."""

    def __init__(self, folder: Path, **free_gib: int) -> None:
        self.free_gib = free_gib
        self.driver = LocalDriver(folder, orphan_timeout_s=60, gpus=self.gpus)

    def gpus(self) -> tuple[Gpu, ...]:
        return tuple(Gpu(name, "NVIDIA L4", 24 * GIB, gib * GIB) for name, gib in self.free_gib.items())

    def free(self, **free_gib: int) -> list[int]:
        """GiB for replicas on each GPU, once NVML tells this."""
        self.free_gib = free_gib
        return [room // GIB for room in self.driver.nodes()[0].free_device_bytes]


def test_what_others_free_while_nothing_is_promised_is_free(tmp_path: Path) -> None:
    machine = Machine(tmp_path, a=4)
    assert machine.free(a=24) == [24]
    assert machine.free(a=6) == [6]
    machine.driver._promised[1] = TEN
    assert machine.free(a=6) == [0]


def test_what_others_free_beside_a_replica_is_free_as_far_as_it_is_seen(tmp_path: Path) -> None:
    machine = Machine(tmp_path, a=12)
    machine.driver._promised[1] = TEN
    assert machine.free(a=12) == [2]
    assert machine.free(a=24) == [14]
    assert machine.free(a=14) == [14]  # the replica has filled its part


@pytest.mark.parametrize("replica_before", [False, True])
def test_a_gpu_that_appears_later_counts(tmp_path: Path, replica_before: bool) -> None:
    machine = Machine(tmp_path)
    assert machine.free() == []
    assert machine.free(a=24) == [24]
    if replica_before:
        machine.driver._promised[1] = TEN
        assert machine.free(a=24, b=20) == [14, 20]
