"""How often starts of one kind of replica have failed in a row, and how long to wait before the next. Pure.

Kubernetes' crash loop (kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle), with waits that fit local processes:
1, 2, 4 ... 60 s. One rule: failures count in a row, and only ten minutes of steady service end the row. So replicas
that come up well and crash every few minutes are found out like those that never come up.

A replica that crashed by its own fault before it had served for ten minutes has failed; one that was taken from outside
(a node that is gone, an operator's kill) only if it had served for less than a minute, for that says little of its
settings. Once a replica that came after the last failure has served for a minute, the next ones may come all at once
again, and nobody need be told that starts fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 60.0
FAILURES_UNTIL_FAILED = 5  # in a row; then a deployment without a replica is FAILED, and a roll-out is stopped
STEADY_AFTER_S = 600.0  # of service: a replica that crashes sooner has failed, one that lasts ends the row
STANDING_AFTER_S = 60.0  # of service: a replica that ends sooner has failed whatever ended it, one that lasts can start


def doubling(first: float, attempts: int, most: float) -> float:
    """How long to wait after so many failed attempts in a row: `first`, twice that ... `most`; 0 before the first."""
    doublings = min(attempts - 1, 60)  # 2 ** 1024 is no float any more
    return min(first * 2.0**doublings, most) if attempts else 0.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Failures in a row, the instant of the last one and its reason. `standing`: a replica that became ready after the
    last one has served for a minute, so the settings can be started."""

    failures: int = 0
    last_failure_at: float = 0.0
    reason: str = ""
    standing: bool = False

    @property
    def wait_s(self) -> float:
        """1, 2, 4 ... 60 seconds."""
        return doubling(BACKOFF_FIRST_S, self.failures, BACKOFF_MAX_S)

    @property
    def failing(self) -> bool:
        """Whether no replica has been able to stand since the last failure."""
        return self.failures > 0 and not self.standing

    @property
    def hopeless(self) -> bool:
        return self.failing and self.failures >= FAILURES_UNTIL_FAILED

    def holds_until(self) -> float:
        return self.last_failure_at + self.wait_s

    def failed(self, now: float, reason: str) -> Backoff:
        return Backoff(self.failures + 1, now, reason)

    def after(self, ready_since: Iterable[float], now: float) -> Backoff:
        """What is left of it, given since when the ready replicas have been so.

        Those that were there before the last failure prove nothing about new starts.
        """
        first = min((since for since in ready_since if since >= self.last_failure_at), default=now)
        if self.failures and now - first >= STEADY_AFTER_S:
            return CALM
        stands = self.failures > 0 and now - first >= STANDING_AFTER_S
        return replace(self, standing=True) if stands and not self.standing else self


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

    def died(self, generation: str, ready_at: float | None, now: float, reason: str, *, own_fault: bool) -> None:
        """A replica died that was ready since `ready_at`, None for never: soon after is a crash loop too."""
        horizon_s = STEADY_AFTER_S if own_fault else STANDING_AFTER_S
        if ready_at is None or now - ready_at < horizon_s:
            self.failed(generation, now, reason)

    def forgive(self, ready_since: ReadySince, now: float) -> None:
        """Failures of settings are over once a replica of them that came after the last one has served steadily."""
        left = {generation: b.after(ready_since(generation), now) for generation, b in self._backoffs.items()}
        self._backoffs = {generation: backoff for generation, backoff in left.items() if backoff.failures}

    def all(self) -> dict[str, Backoff]:
        """What is held against settings, by their generation."""
        return dict(self._backoffs)

    def restore(self, backoffs: Mapping[str, Backoff]) -> None:
        """Go on where an earlier engine ended."""
        self._backoffs = dict(backoffs)

    def forget(self) -> None:
        """Somebody has changed something: nothing is held against any settings."""
        self._backoffs.clear()
