"""What a replica on this very machine is charged."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.clock import FakeClock
from engine.fleet.accounting import Accounting
from engine.fleet.replica import Replica
from engine.placement import machine
from engine.placement.local import LocalDriver
from engine.placement.port import Need
from engine.telemetry.replica_figures import ReplicaFigures


@pytest.mark.parametrize(("threads", "cores", "part"), [(1, 1, 1.0), (1, 2, 0.5), (3, 8, 0.375)])
def test_a_replica_without_accelerators_costs_its_part_of_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, cores: int, part: float
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: cores)
    driver = LocalDriver(tmp_path, orphan_timeout_s=60, price_per_hour=8.0, gpus=tuple)
    replica = Replica("r", "g", "key", FakeClock(), ReplicaFigures())
    replica.need, replica.node = Need(threads=threads), driver.nodes()[0]
    fleet = SimpleNamespace(rooms=SimpleNamespace(driver=driver))
    assert Accounting(fleet, None)._terms_of(replica).price == 8_000_000 * part  # type: ignore[arg-type]
