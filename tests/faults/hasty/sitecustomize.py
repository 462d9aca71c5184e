"""On an engine's PYTHONPATH: what it waits for in earnest is over sooner."""

from __future__ import annotations

import sys

if "serve" in sys.orig_argv:
    from engine.control import backoff, reconcile
    from engine.store import disk

    backoff.BACKOFF_FIRST_S = 0.1
    disk.BUSY_TIMEOUT_S = 0.5
    reconcile.SILENT_AFTER_S, reconcile.KILL_GRACE_S = 8.0, 1.0
