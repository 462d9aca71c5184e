"""Whether a version of an adapter that took another one's place gives it back. Pure.

The product's rule: an error rate above 0.1 % rolls an adapter back to its former version. So that one error among a few
requests is no rate, MIN_REQUESTS have to be answered first.
"""

from __future__ import annotations

from dataclasses import dataclass

ERROR_RATE = 0.001
MIN_REQUESTS = 1_000
WATCHED_S = 86_400.0  # after its first request: one that has served for so long stays, whatever happens then


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What came of the requests to one version that replicas took: `failed` of them by no fault of their clients."""

    requests: int = 0
    failed: int = 0

    @property
    def rate(self) -> float:
        return self.failed / self.requests if self.requests else 0.0

    def and_one(self, *, failed: bool) -> Outcomes:
        return Outcomes(self.requests + 1, self.failed + failed)

    @property
    def text(self) -> str:
        return f"{self.failed:,} of {self.requests:,} requests failed ({self.rate * 100:.3g} %)"


def goes_back(now: Outcomes, former: Outcomes) -> str:
    """Why the former version takes its place again; "" where the one of now stays.

    A former one that failed as often as that is no better; of fewer requests than count, it must at least have failed
    less often.
    """
    if now.requests < MIN_REQUESTS or now.rate <= ERROR_RATE:
        return ""
    better = former.rate <= ERROR_RATE if former.requests >= MIN_REQUESTS else former.rate < now.rate
    return f"{now.text}, above {ERROR_RATE * 100:g} %; before, {former.text}" if better else ""
