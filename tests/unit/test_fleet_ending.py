"""Replicas that end with their engine: it goes on only once they are gone."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from engine.fleet import ending
from engine.placement.port import Driver, Placed

POLITE, DEAF = Placed("d-1", Path("1.sock"), 1), Placed("d-2", Path("2.sock"), 2)
LOOKS = 3  # for which a process is still seen once it was told to end


class Processes:
    """A driver of processes that take a while to go, one of them only when it is killed."""

    def __init__(self) -> None:
        self.told: list[tuple[Placed, bool]] = []
        self.left = {POLITE: LOOKS, DEAF: LOOKS}
        self.forgotten: list[Placed] = []

    def stop(self, placed: Placed, *, force: bool) -> None:
        if self.left[placed]:
            self.told.append((placed, force))

    def alive(self, placed: Placed) -> bool:
        if (placed, placed == DEAF) in self.told and self.left[placed]:
            self.left[placed] -= 1
        return self.left[placed] > 0

    def forget(self, placed: Placed) -> None:
        assert not self.left[placed]
        self.forgotten.append(placed)


async def test_who_does_not_end_when_told_to_is_killed_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "POLL_S", 0.001)
    monkeypatch.setattr(ending, "GRACE_S", 0.01)
    processes = Processes()
    await ending.end(cast(Driver, processes), [POLITE, DEAF])
    assert processes.told == [(POLITE, False), (DEAF, False), (DEAF, True)]
    assert processes.forgotten == [POLITE, DEAF]


async def test_without_replicas_there_is_nothing_to_wait_for() -> None:
    await ending.end(cast(Driver, Processes()), [])
