"""What there is to place replicas on comes from the nodes of a driver, whichever it is and wherever they are."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, cast

import pytest

import engine
from client.types import Deployment
from engine.clock import FakeClock
from engine.fleet.fleet import Fleet
from engine.fleet.hardware import Hardware, cores_each, hardware_of
from engine.fleet.rooms import Rooms
from engine.fleet.settings import Settings
from engine.library import Library
from tests.unit.test_sizing import Nodes, node


@pytest.mark.parametrize(
    ("cores", "replicas", "each"),
    [(1, 1, 1), (2, 1, 1), (2, 3, 1), (4, 1, 3), (4, 4, 1), (8, 2, 3), (16, 0, 15), (16, 3, 5), (16, 100, 1)],
)
def test_cores_are_divided_among_all_replicas_that_may_be_and_one_is_left_to_the_rest(cores, replicas, each):
    assert cores_each([node(cores=cores)], replicas) == each


@pytest.mark.parametrize(
    ("cores", "replicas", "each"), [((), 3, 1), ((0, 0), 3, 1), ((16, 16, 16, 16), 8, 7), ((64, 4), 2, 3)]
)
def test_on_several_nodes_a_replica_may_use_its_part_of_one_with_the_fewest(cores, replicas, each):
    assert cores_each([node(str(n), cores=has) for n, has in enumerate(cores)], replicas) == each


def test_what_there_is_is_what_the_nodes_have():
    there = [node("a", cores=8), node("b", accelerators=4, cores=16), node("c", accelerators=2, cores=0)]
    assert hardware_of(there) == Hardware(cores=24, accelerators=6, kinds=("CPU",))


class Third(Nodes):
    """Neither of the two drivers that there are; real replicas, on nodes with more cores than this machine."""

    simulated = False


async def test_a_fleet_of_a_driver_of_its_own_divides_the_cores_of_that_ones_nodes(tmp_path: Path):
    driver = Third([node("a", cores=4001), node("b", cores=4001)])
    nowhere = cast(Any, None)  # nothing is written
    fleet = Fleet(Rooms(cast(Any, driver), nowhere, Library(nowhere), FakeClock()), Settings(tmp_path))
    made = Deployment(name="accounts/local/deployments/d", base_model="m", state="CREATING", max_replica_count=8)
    fleet.keep(made)
    assert fleet._cores_each() == 1000


def test_no_statement_branches_on_whether_replicas_are_simulated():
    """What is shown is labelled; nothing else follows from it."""
    root = Path(engine.__file__).parent
    rooms = ("access", "api", "control", "fleet", "gateway", "store", "telemetry")
    for file in (file for room in rooms for file in (root / room).rglob("*.py")):
        for found in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(found, ast.If | ast.While):
                assert "driver.simulated" not in ast.unparse(found.test), file
