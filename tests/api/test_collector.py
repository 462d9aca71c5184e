"""An engine that serves has taken what it is made of out of the garbage collector's way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from client.collector import FULL_EVERY
from tests.processes import PATIENCE_S

SERVES = """
import asyncio, gc, json, os, signal, sys
from pathlib import Path
from engine import serve
from engine.fleet.settings import Settings

async def started(engine, url):
    left = sum(type(one).__module__.startswith(("engine", "fastapi", "pydantic")) for one in gc.get_objects())
    print(json.dumps([gc.get_freeze_count(), left, gc.get_threshold()]), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

asyncio.run(serve.run(Settings(Path(sys.argv[1]), port=0), started))
"""


def test_what_is_there_at_the_start_is_not_looked_through_again(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVES, str(tmp_path / "data")], capture_output=True, text=True, timeout=PATIENCE_S,
        check=True,
    )  # fmt: skip
    frozen, left, threshold = json.loads(done.stdout)
    assert frozen > 50_000
    assert left < 1_000
    assert threshold[2] == FULL_EVERY
