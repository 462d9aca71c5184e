"""How often starts of one kind of replica have failed in a row, and how long to wait before the next. Pure.

Kubernetes' crash loop, in seconds that fit local processes: 1, 2, 4 ... 60, over after a minute of steady service.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 60.0
FAILURES_UNTIL_FAILED = 5  # in a row; then a deployment without a replica is FAILED, and a roll-out is stopped
STEADY_AFTER_S = 60.0  # of service: a replica that ends sooner has failed its start, one that lasts ends the row


@dataclass(frozen=True, slots=True)
class Backoff:
    """Failed starts in a row, the instant of the last one and its reason."""

    failures: int = 0
    last_failure_at: float = 0.0
    reason: str = ""

    @property
    def wait_s(self) -> float:
        """1, 2, 4 ... 60 seconds."""
        doublings = min(self.failures - 1, 30)  # 2 ** 1024 is no float any more
        return min(BACKOFF_FIRST_S * 2**doublings, BACKOFF_MAX_S) if self.failures else 0.0

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
        return Backoff() if self.failures and any(steady) else self
