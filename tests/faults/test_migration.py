"""An engine of this version on the data folder of a former one, killed in the midst of bringing it up to date."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from client.resources import Client
from client.types import Deployment
from tests.faults.simulated import simulated_engine
from tests.processes import EngineProcess, poll
from tests.unit.test_store_crash import leave_rows

STALL = """
import os, sys, time
if "serve" in sys.orig_argv:
    from engine.store import migrations
    last = migrations.MIGRATIONS[-1]
    def stalled(db):
        last(db)
        open(os.environ["FIREDECK_TEST_STALLED"], "w").close()
        time.sleep(3600)
    migrations.MIGRATIONS[-1] = stalled
"""


def test_an_engine_killed_in_the_midst_of_migrations_is_followed_by_one_that_has_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled, patch = tmp_path / "stalled", tmp_path / "patch"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(STALL)
    path = os.pathsep.join([str(patch), str(Path(__file__).parents[2])])
    engine = simulated_engine(tmp_path, {"PYTHONPATH": path, "FIREDECK_TEST_STALLED": str(stalled)})
    engine.data_dir.mkdir()
    (engine.data_dir / "SIMULATED").touch()
    leave_rows(engine.data_dir / "firedeck.db", 4, monkeypatch)
    killing = threading.Thread(target=lambda: (poll(stalled.exists), engine.kill()))
    killing.start()
    with pytest.raises(AssertionError):  # it never serves
        engine.start()
    killing.join()
    engine.environment = {}
    engine.start()
    try:
        [old] = asyncio.run(_listed(engine))
        assert (old.id, old.description) == ("old", "kept")
    finally:
        engine.stop()


async def _listed(engine: EngineProcess) -> list[Deployment]:
    async with Client(engine.context) as client:
        return await client.deployments.list()
