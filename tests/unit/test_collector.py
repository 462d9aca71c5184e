"""When the collector of cycles looks through what, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

from client import collector

CODE = """
import gc, json
from client import collector
told = []
with collector.paused():
    told.append(gc.isenabled())
told += [gc.isenabled(), gc.get_freeze_count() > 1000, gc.get_threshold()[0]]
collector.spare(full_every=7)
told += [gc.isenabled(), list(gc.get_threshold())]
print(json.dumps(told))
"""


def test_it_waits_for_the_imports_looks_seldom_at_first_and_then_as_is_said() -> None:
    found = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True).stdout
    first, then = collector.AT_FIRST, [*collector.YOUNGER, 7]
    assert json.loads(found) == [False, True, True, first, True, then]
