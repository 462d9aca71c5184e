"""Costs measured by an earlier replica of the same model, settings and machine: a wake from zero need not measure anew.

One small JSON file, shared by the replicas of an engine. It is a cache: unreadable, stale or torn, it is measured anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from engine.replica.costs import CostTable

FRESH_FOR_S = 24 * 3600.0  # machines change slowly: other load, another governor
ENTRIES_MAX = 64
GPU_DRIVER = Path("/proc/driver/nvidia/version")  # Linux, NVIDIA


def fingerprint(model: Path, **settings: object) -> str:
    """What costs depend on: the file, how it is run and by which build (`settings`), and where."""
    status = model.stat()
    machine = (platform.node(), platform.machine(), os.cpu_count(), _first_line(GPU_DRIVER))
    parts = (str(model), status.st_size, status.st_mtime_ns, machine, sorted(settings.items()))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _first_line(file: Path) -> str:
    """Empty when there is none to read."""
    try:
        return next(iter(file.read_text().splitlines()), "")
    except OSError:
        return ""


def recall_or_measure(
    file: Path | None, key: str, measure: Callable[[], CostTable], now: Callable[[], float] = time.time
) -> CostTable:
    """The remembered table of `key` if there is a fresh one, else a measured one, which is then remembered."""
    if file is None:
        return measure()
    entries = _read(file)
    known = _table(entries.get(key), now())
    if known is not None:
        return known
    table = measure()
    entries[key] = {"at": now(), **asdict(table)}
    _write(file, dict(list(entries.items())[-ENTRIES_MAX:]))
    return table


def _table(entry: object, now: float) -> CostTable | None:
    try:
        if not isinstance(entry, dict) or not 0 <= now - entry["at"] < FRESH_FOR_S:
            return None
        steps, verify = (
            {int(width): float(ms) for width, ms in entry[name].items()} for name in ("step_ms", "verify_ms")
        )
        prefill, threads = float(entry["prefill_token_ms"]), int(entry["threads"])
        thread_ms = {int(count): float(ms) for count, ms in entry["thread_ms"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    usable = len(steps) > 0 and 1 in steps and all(ms > 0 for ms in (*steps.values(), *verify.values(), prefill))
    if not usable or (threads not in thread_ms if thread_ms else threads < 1):
        return None
    return CostTable(steps, prefill, verify, entry["batch_invariant"] is True, threads, thread_ms)


def _read(file: Path) -> dict[str, object]:
    try:
        entries = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _write(file: Path, entries: dict[str, object]) -> None:
    """Whole or not at all; two replicas at once cost one of them its entry, no more."""
    staged = file.with_name(f"{file.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        staged.write_text(json.dumps(entries))
        os.replace(staged, file)
