"""How starts of replicas went lately, by the settings that they were started with."""

from __future__ import annotations

from collections.abc import Iterable

from engine.clock import Clock
from engine.control.backoff import STEADY_AFTER_S, Backoff
from engine.control.reconcile import Stage
from engine.fleet.replica import Replica

CALM = Backoff()


class Starts:
    """Of one deployment. `replicas` are those that it has now."""

    def __init__(self, clock: Clock) -> None:
        self._backoffs: dict[str, Backoff] = {}  # by generation
        self._clock = clock

    def of(self, generation: str) -> Backoff:
        return self._backoffs.get(generation, CALM)

    def forget(self) -> None:
        self._backoffs.clear()

    def failed(self, replica: Replica, why: str) -> None:
        backoff = self.of(replica.generation)
        self._backoffs[replica.generation] = backoff.failed(self._clock.monotonic(), why)

    def forgive(self, replicas: Iterable[Replica]) -> None:
        """Failures of settings are over once a replica of them that came after the last one has served steadily."""
        if not self._backoffs:
            return
        now, there = self._clock.monotonic(), list(replicas)
        left = {g: b.after(_ready_since(there, g), now) for g, b in self._backoffs.items()}
        self._backoffs = {generation: backoff for generation, backoff in left.items() if backoff.failures}

    def steady(self, generation: str, replicas: Iterable[Replica]) -> bool:
        """Whether a replica of these settings has served for a while, with no failed start since."""
        now = self._clock.monotonic()
        served = any(since <= now - STEADY_AFTER_S for since in _ready_since(replicas, generation))
        return served and not self.of(generation).failures


def _ready_since(replicas: Iterable[Replica], generation: str) -> list[float]:
    ready = (r for r in replicas if r.stage == Stage.READY and r.generation == generation)
    return [r.ready_at for r in ready if r.ready_at is not None]
