"""How often starts of one kind of replica have failed in a row, and how long to wait before the next. Pure.

Kubernetes' crash loop, in seconds that fit local processes: 1, 2, 4 ... 60, over after a minute of steady service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 60.0
FAILURES_UNTIL_FAILED = 5  # in a row; then a deployment without a replica is FAILED, and a roll-out is stopped
STEADY_AFTER_S = 60.0  # of service: a replica that ends sooner has failed its start, one that lasts ends the row


def doubling(first: float, attempts: int, most: float) -> float:
    """How long to wait after so many failed attempts in a row: `first`, twice that ... `most`; 0 before the first."""
    doublings = min(attempts - 1, 60)  # 2 ** 1024 is no float any more
    return min(first * 2.0**doublings, most) if attempts else 0.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Failed starts in a row, the instant of the last one and its reason."""

    failures: int = 0
    last_failure_at: float = 0.0
    reason: str = ""

    @property
    def wait_s(self) -> float:
        """1, 2, 4 ... 60 seconds."""
        return doubling(BACKOFF_FIRST_S, self.failures, BACKOFF_MAX_S)

    @property
    def hopeless(self) -> bool:
        return self.failures >= FAILURES_UNTIL_FAILED

    def holds_until(self) -> float:
        return self.last_failure_at + self.wait_s

    def failed(self, now: float, reason: str) -> Backoff:
        return Backoff(self.failures + 1, now, reason)

    def after(self, ready_since: Iterable[float], now: float) -> Backoff:
        """What is left of it, given since when the ready replicas have been so.

        Over once one that became ready after the last failure has served steadily; one that was there before proves
        nothing about new starts.
        """
        steady = (self.last_failure_at <= since <= now - STEADY_AFTER_S for since in ready_since)
        return CALM if self.failures and any(steady) else self


CALM = Backoff()
ReadySince = Callable[[str], Iterable[float]]  # a generation -> since when its ready replicas have been so


class Starts:
    """How starts of one deployment's replicas went lately, by the generation of their settings."""

    def __init__(self) -> None:
        self._backoffs: dict[str, Backoff] = {}

    def of(self, generation: str) -> Backoff:
        return self._backoffs.get(generation, CALM)

    def failed(self, generation: str, now: float, reason: str) -> None:
        self._backoffs[generation] = self.of(generation).failed(now, reason)

    def died(self, generation: str, ready_at: float | None, now: float, reason: str) -> None:
        """A replica died that was ready since `ready_at`, None for never: soon after is a crash loop too."""
        if ready_at is None or now - ready_at < STEADY_AFTER_S:
            self.failed(generation, now, reason)

    def forgive(self, ready_since: ReadySince, now: float) -> None:
        """Failures of settings are over once a replica of them that came after the last one has served steadily."""
        left = {generation: b.after(ready_since(generation), now) for generation, b in self._backoffs.items()}
        self._backoffs = {generation: backoff for generation, backoff in left.items() if backoff.failures}

    def steady(self, generation: str, ready_since: ReadySince, now: float) -> bool:
        """Whether a replica of these settings has served for a while, with no failed start since."""
        served = any(since <= now - STEADY_AFTER_S for since in ready_since(generation))
        return served and not self.of(generation).failures

    def forget(self) -> None:
        """Somebody has changed something: nothing is held against any settings."""
        self._backoffs.clear()
