"""Instants told by two clocks that are never read at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from engine.clock import FakeClock, wall_at

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class Unsteady(FakeClock):
    """Some microseconds go by between two readings, now more and now fewer."""

    reads = 0

    def wall(self) -> datetime:
        self.reads += 1
        return super().wall() + timedelta(microseconds=self.reads % 7)


def test_an_instant_is_the_same_whenever_it_is_told():
    clock = Unsteady(BEGAN)
    clock.advance(100.0)
    told = set()
    for _ in range(20):
        clock.advance(0.5)
        told.add(wall_at(clock, 42.25))
    assert told == {BEGAN + timedelta(seconds=42.2)}
