"""Replicas that are only counted: as much of one as giving places needs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from engine.fleet.report import Report


def counted(name: str, slots: int = 1, in_flight: int = 0, **report: Any) -> Any:
    """`report`: what it says of itself, see `/stats`."""
    return SimpleNamespace(id=name, in_flight=in_flight, slots=slots, unread=0, suspect=False, report=Report(report))
