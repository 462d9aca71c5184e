"""What one deployment did, as the gateway saw it: totals that only grow, and windows for the dashboard.

The Prometheus series are process-wide and labelled by deployment; a meter writes both, so that they never disagree.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from prometheus_client.metrics import MetricWrapperBase

from client.fleet_types import DeploymentStats
from engine.clock import Clock
from engine.control.route import Rule
from engine.telemetry import metrics
from engine.telemetry.metrics import Buckets
from engine.telemetry.window import Rate, Window, percentile

Series = TypeVar("Series", bound=MetricWrapperBase)

STATS_WINDOW_S = 30.0
RATE_WINDOW_S = 3.0  # tokens per second are shown over a short window: they are a speed, not a trend


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request; of those that were drafted for it, how many were accepted and how many rejected."""

    prompt: int = 0
    cached: int = 0
    generated: int = 0
    accepted: int = 0
    rejected: int = 0


class Ttft(NamedTuple):
    """Percentiles, nearest rank, in ms; None of nothing."""

    p50: float | None
    p95: float | None
    p99: float | None


class Meter:
    """Counts the requests of one deployment."""

    def __init__(self, deployment: str, clock: Clock) -> None:
        metrics.keep(deployment)
        self.deployment = deployment
        self._clock = clock
        self.requests = 0
        self.errors = 0
        self.synthetic = 0
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.generated_tokens = 0
        self.cache_hits = 0
        self.cache_misses = 0
        self.codes: Counter[str] = Counter()  # answers by HTTP status
        self.last_request_at: datetime | None = None
        self.used_at = clock.monotonic()  # asked, made or changed last: for idleness, below 0 where it was long ago
        self.last_synthetic_at: float | None = None
        self._starts = Rate(STATS_WINDOW_S)
        self._ends = Rate(STATS_WINDOW_S)
        self._failures = Rate(STATS_WINDOW_S)
        self._ttft_ms = Window(STATS_WINDOW_S)
        self._generated = Rate(STATS_WINDOW_S)
        self._prompted = Rate(STATS_WINDOW_S)
        self._series: dict[tuple[object, ...], Any] = {}

    def _of(self, metric: Series, *labels: str) -> Series:
        """The deployment's own series of a metric, looked for once: it is there as long as the deployment is."""
        key = (metric, *labels)
        found: Series | None = self._series.get(key)
        if found is None:
            found = self._series[key] = metric.labels(self.deployment, *labels)
        return found

    def began(self, *, synthetic: bool) -> None:
        now = self._clock.monotonic()
        self.requests += 1
        self.last_request_at, self.used_at = self._clock.wall(), now
        self._starts.add(now)
        if synthetic:
            self.synthetic += 1
            self.last_synthetic_at = now

    def used(self) -> None:
        """Somebody has changed it: that is use as well."""
        self.used_at = self._clock.monotonic()

    def looked_up(self, *, hit: bool) -> None:
        """The response cache was asked for the answer to a request that has begun."""
        self.cache_hits += hit
        self.cache_misses += not hit
        self._of(metrics.CACHE, "hit" if hit else "miss").inc()

    @property
    def computed(self) -> int:
        """Requests so far that replicas had to answer, or have to."""
        return self.requests - self.cache_hits

    def held(self, seconds: float) -> None:
        """A request has waited so long for a place, whether it got one or not."""
        self._of(metrics.HELD_FOR).observe(seconds)

    def routed(self, rule: Rule) -> None:
        """A replica was chosen for a request, or for another try of one."""
        self._of(metrics.ROUTED, rule).inc()

    def ejected(self) -> None:
        """A replica gets no request for a while."""
        self._of(metrics.EJECTED).inc()

    def first_token(self, ttft_s: float) -> None:
        self._ttft_ms.add(self._clock.monotonic(), ttft_s * 1000)
        self._of(metrics.TTFT).observe(ttft_s)

    def ended(self, *, code: int, failed: bool, seconds: float, usage: Usage) -> None:
        """A request is over; `code` is its HTTP status (499: the client left), `failed` whether that is our fault."""
        now = self._clock.monotonic()
        self._ends.add(now)
        self.prompt_tokens += usage.prompt
        self.cached_tokens += usage.cached
        self.generated_tokens += usage.generated
        if failed:
            self.errors += 1
            self._failures.add(now)
        label = metrics.code_label(code)
        self.codes[label] += 1
        self._of(metrics.REQUESTS, label).inc()
        self._of(metrics.FAILED).inc(failed)
        self._of(metrics.DURATION).observe(seconds)
        self._of(metrics.PROMPT_TOKENS).inc(usage.prompt)
        self._of(metrics.CACHED_TOKENS).inc(usage.cached)
        self._of(metrics.GENERATED_TOKENS).inc(usage.generated)

    def produced(self, prompt_tokens: int, generated_tokens: int) -> None:
        """Tokens that the replicas computed since they were last asked: the live speed, requests under way included."""
        now = self._clock.monotonic()
        if prompt_tokens:
            self._prompted.add(now, prompt_tokens)
        if generated_tokens:
            self._generated.add(now, generated_tokens)

    def ttft_buckets(self) -> Buckets:
        return metrics.cumulative(self._of(metrics.TTFT))

    def duration_buckets(self) -> Buckets:
        return metrics.cumulative(self._of(metrics.DURATION))

    def ttft_ms(self, seconds: float) -> Ttft:
        """Of the last `seconds`."""
        known = sorted(self._ttft_ms.values(self._clock.monotonic(), seconds))
        return Ttft(percentile(known, 50), percentile(known, 95), percentile(known, 99))

    def request_rate(self, seconds: float) -> float:
        return self._starts.per_second(self._clock.monotonic(), seconds)

    def token_rate(self) -> float:
        return self._generated.per_second(self._clock.monotonic(), RATE_WINDOW_S)

    def stats(self, *, queue: int, running: int, serving: bool) -> DeploymentStats:
        """The wire form; speeds are None while nothing serves and nothing was asked."""
        now = self._clock.monotonic()
        ends = self._ends.total(now)
        known = serving or self._starts.total(now) > 0
        ttft = self.ttft_ms(STATS_WINDOW_S)
        return DeploymentStats(
            window_s=STATS_WINDOW_S,
            requests_per_second=self._starts.per_second(now) if known else None,
            error_rate=self._failures.total(now) / ends if ends else None,
            queue=queue,
            running=running,
            ttft_p50_ms=ttft.p50,
            ttft_p95_ms=ttft.p95,
            ttft_p99_ms=ttft.p99,
            tokens_per_second=self.token_rate() if known else None,
            prompt_tokens_per_second=self._prompted.per_second(now, RATE_WINDOW_S) if known else None,
            requests_total=self.requests,
            errors_total=self.errors,
            prompt_tokens_total=self.prompt_tokens,
            cached_tokens_total=self.cached_tokens,
            generated_tokens_total=self.generated_tokens,
            synthetic_requests_total=self.synthetic,
            response_cache_hits_total=self.cache_hits,
            response_cache_misses_total=self.cache_misses,
            last_request_at=self.last_request_at,
        )
