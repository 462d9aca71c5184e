"""On a replica's PYTHONPATH: `python -m engine.replica` is a broken one (`tests.faults.broken_replica`), and an
engine keeps less of an answer without end: it takes a while to write 256 MiB."""

from __future__ import annotations

import sys

if "serve" in sys.orig_argv:
    from engine.fleet import hop

    hop.WHOLE_BYTES_MAX = 16 << 20

if "engine.replica" in sys.orig_argv:
    from tests.faults import broken_replica

    broken_replica.run(sys.orig_argv)
