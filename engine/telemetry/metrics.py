"""The Prometheus series of this engine, in one explicit registry, labelled by deployment (full name) and little else.

Names follow https://prometheus.io/docs/practices/naming/; buckets are finer than vLLM's below 10 ms, because a small
model on this machine answers that fast.

No label has a value that a client chooses, and their number is bounded: HTTP codes are those that HTTP names, and of
deployments that are gone for good the newest hundred keep their totals. Who scrapes has long seen the last values of
the others, and takes a name that comes back for a counter that began anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from client.errors import FiredeckError
from engine.telemetry.replica_metrics import ReplicaMetrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nothing reads

REGISTRY = CollectorRegistry()
GONE_KEPT = 100  # deployments

Buckets = tuple[tuple[float, float], ...]  # (upper bound, how many were at most that); the last bound is infinity

_TTFT_BUCKETS_S = (  # with the threshold of the alert among them: between two bounds a percentile is a guess
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160,
)  # fmt: skip
_HELD_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_DURATION_BUCKETS_S = (0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480)

REQUESTS = Counter("firedeck_requests", "Requests answered.", ["deployment", "code"], registry=REGISTRY)
TTFT = Histogram(
    "firedeck_ttft_seconds", "From request to first token, queueing and cold starts included.",
    ["deployment"], buckets=_TTFT_BUCKETS_S, registry=REGISTRY,
)  # fmt: skip
DURATION = Histogram(
    "firedeck_request_duration_seconds", "From request to last byte.",
    ["deployment"], buckets=_DURATION_BUCKETS_S, registry=REGISTRY,
)  # fmt: skip
HELD_FOR = Histogram(
    "firedeck_request_held_seconds", "From asking for a place on a replica to getting one, or to giving up.",
    ["deployment"], buckets=_HELD_BUCKETS_S, registry=REGISTRY,
)  # fmt: skip
FAILED = Counter(
    "firedeck_requests_failed", "Requests that failed by no fault of the client.", ["deployment"], registry=REGISTRY
)
PROMPT_TOKENS = Counter("firedeck_prompt_tokens", "Prompt tokens answered.", ["deployment"], registry=REGISTRY)
CACHED_TOKENS = Counter(
    "firedeck_cached_prompt_tokens", "Prompt tokens that came from a cache.", ["deployment"], registry=REGISTRY
)
GENERATED_TOKENS = Counter("firedeck_generated_tokens", "Tokens generated.", ["deployment"], registry=REGISTRY)
HELD = Gauge("firedeck_requests_held", "Requests waiting for a place.", ["deployment"], registry=REGISTRY)
RUNNING = Gauge("firedeck_requests_running", "Requests being served.", ["deployment"], registry=REGISTRY)
REPLICAS = Gauge("firedeck_replicas", "Replicas by stage.", ["deployment", "stage"], registry=REGISTRY)
DESIRED = Gauge("firedeck_replicas_desired", "Replicas that the autoscaler wants.", ["deployment"], registry=REGISTRY)
QUARANTINED = Counter(
    "firedeck_requests_quarantined", "Requests found to end replicas.", ["deployment"], registry=REGISTRY
)
RESUMED = Counter(
    "firedeck_streams_resumed", "Streams that went on on another replica.", ["deployment"], registry=REGISTRY
)
ROUTED = Counter(
    "firedeck_requests_routed", "Tries of requests, by what decided on their replica.", ["deployment", "reason"],
    registry=REGISTRY,
)  # fmt: skip
EJECTED = Counter(
    "firedeck_replicas_ejected", "Replicas passed over for a while, for failing requests or being far too slow.",
    ["deployment"], registry=REGISTRY,
)  # fmt: skip
RETRIES_REFUSED = Counter(
    "firedeck_retries_refused", "Requests not tried again, because too many were.", ["deployment"], registry=REGISTRY
)
CACHE = Counter(
    "firedeck_response_cache_requests", "Requests that the response cache was asked for, by its result (hit, miss).",
    ["deployment", "result"], registry=REGISTRY,
)  # fmt: skip
VERDICTS = Counter(
    "firedeck_guard_verdicts", "What guards said of requests and answers (passed, refused, unavailable).",
    ["deployment", "phase", "verdict"], registry=REGISTRY,
)  # fmt: skip
KEYS_REFUSED = Counter(
    "firedeck_keys_refused", "Keys that a guard's breaker has refused for a while.", ["deployment"], registry=REGISTRY
)
REFUSED = Counter(
    "firedeck_requests_refused", "Inference requests that were refused: by which limit, budget, queue or rule.",
    ["reason"], registry=REGISTRY,
)  # fmt: skip
SCALINGS = Counter("firedeck_scalings", "Changes of the desired count.", ["deployment", "direction"], registry=REGISTRY)
COST = Counter(
    "firedeck_cost_usd", "What ready replicas cost, where there is a price.", ["deployment"], registry=REGISTRY
)
SIMULATED = Gauge("firedeck_simulated", "1 where replicas and answers are simulated.", registry=REGISTRY)
REPLICA_FIGURES = ReplicaMetrics()
REGISTRY.register(REPLICA_FIGURES)


_TOTALS: tuple[MetricWrapperBase, ...] = (
    REQUESTS, FAILED, TTFT, HELD_FOR, DURATION, PROMPT_TOKENS, CACHED_TOKENS, GENERATED_TOKENS, QUARANTINED, SCALINGS,
    COST, RESUMED, ROUTED, EJECTED, RETRIES_REFUSED, CACHE, VERDICTS, KEYS_REFUSED,
)  # fmt: skip
_NAMED_CODES = frozenset(HTTPStatus) | {499}
_gone: dict[str, None] = {}  # deployments, in the order in which they went


class _Alone(Collector):
    """A registry of one family."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        yield self._family


def families() -> Iterator[bytes]:
    """The text of `/metrics`, family by family: each is of one moment, and others may have a turn between two."""
    for family in REGISTRY.collect():
        yield generate_latest(_Alone(family))


def exposition() -> bytes:
    """All of it at once: 2 ms for each deployment."""
    return b"".join(families())


def cumulative(histogram: Histogram) -> Buckets:
    """One labelled histogram's buckets."""
    [family] = histogram.collect()
    return tuple((float(s.labels["le"]), s.value) for s in family.samples if s.name.endswith("_bucket"))


def refused(error: FiredeckError) -> None:
    """The gateway answers with this error. Its label is a word of the engine's own."""
    REFUSED.labels(error.counted_as or error.name.lower().replace("_", "-")).inc()


def code_label(code: int) -> str:
    """An HTTP status as a label; a replica that answers nonsense cannot make up new ones."""
    return str(int(code)) if code in _NAMED_CODES else "other"


def keep(deployment: str) -> None:
    """It lives (again): its totals stay."""
    _gone.pop(deployment, None)


def forget(deployment: str) -> None:
    """Drop the gauges of a deployment that is gone; its counters stay, since totals never go down, until GONE_KEPT
    others are gone too."""
    for gauge in (HELD, RUNNING, DESIRED):
        gauge.remove_by_labels({"deployment": deployment})
    REPLICAS.remove_by_labels({"deployment": deployment})
    REPLICA_FIGURES.forget(deployment)
    _gone.pop(deployment, None)
    _gone[deployment] = None
    if len(_gone) > GONE_KEPT:
        _drop(next(iter(_gone)))


def _drop(deployment: str) -> None:
    del _gone[deployment]
    for metric in _TOTALS:
        metric.remove_by_labels({"deployment": deployment})
    REPLICA_FIGURES.drop(deployment)
