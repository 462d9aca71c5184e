"""Charts from a Prometheus server that scrapes the engine (`--prometheus URL`).

`prometheus-api-client` is synchronous: each question is asked in a thread, with a time limit and without retries.
Percentiles come from histogram buckets, so they are as fine as the buckets are.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from client.errors import Unavailable
from client.fleet_types import History

TIMEOUT_S = 3
WINDOW = "30s"
MAX_POINTS = 720  # far below the server's limit of 11,000 and above any terminal's width

_QUANTILE = "1000 * histogram_quantile({q}, sum by (le) (rate(firedeck_{of}_seconds_bucket{sel}[{w}])))"
_TTFT, _BETWEEN = _QUANTILE.replace("{of}", "ttft"), _QUANTILE.replace("{of}", "replica_inter_token")
# Every series of the engine's own history, as PromQL; `sel` is the label selector.
QUERIES = {
    "ttft_p50_ms": _TTFT.replace("{q}", "0.5"),
    "ttft_p95_ms": _TTFT.replace("{q}", "0.95"),
    "ttft_p99_ms": _TTFT.replace("{q}", "0.99"),
    "inter_token_p50_ms": _BETWEEN.replace("{q}", "0.5"),
    "inter_token_p95_ms": _BETWEEN.replace("{q}", "0.95"),
    "tokens_per_second": "sum(rate(firedeck_generated_tokens_total{sel}[{w}]))",
    "requests_per_second": "sum(rate(firedeck_requests_total{sel}[{w}]))",
    "queue": "sum(firedeck_requests_held{sel})",
    "concurrency": "sum(firedeck_requests_running{sel})",
    "ready": "sum(firedeck_replicas{ready})",
    "desired": "sum(firedeck_replicas_desired{sel})",
    "kv_share": "sum(firedeck_replica_kv_used_tokens{sel}) / sum(firedeck_replica_kv_capacity_tokens{sel})",
    "draft_acceptance": "sum(rate(firedeck_replica_accepted_tokens_total{sel}[{w}]))"
    " / sum(rate(firedeck_replica_drafted_tokens_total{sel}[{w}]))",
}


class PrometheusHistory:
    """A `HistorySource`. What the server does not know is a gap: not exposed is not zero."""

    def __init__(
        self, url: str, labels: Mapping[str, str] | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """`labels`: what the series of this engine have, on a server that has those of other engines too."""
        self.url = url
        self._labels = labels or {}
        self._clock = clock
        self._connection = PrometheusConnect(url=url, retry=Retry(total=0), timeout=TIMEOUT_S)

    async def history(self, deployment: str, seconds: int) -> History:
        step = max(1, math.ceil(seconds / MAX_POINTS))
        end = int(self._clock()) // step * step
        times = [float(t) for t in range(end - seconds, end + 1, step)]
        queries = (promql(name, deployment, self._labels) for name in QUERIES)
        answers = await asyncio.gather(
            *(asyncio.to_thread(self._ask, query, times[0], times[-1], step) for query in queries)
        )
        with self._readable():
            series = {name: align(answer, times) for name, answer in zip(QUERIES, answers, strict=True)}
        return History(deployment=deployment, step_s=step, times=times, series=series)

    def _ask(self, query: str, start: float, end: float, step: int) -> list[dict[str, Any]]:
        """One range query; runs in a thread."""
        first, last = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)
        with self._readable():
            try:
                answer: list[dict[str, Any]] = self._connection.custom_query_range(query, first, last, str(step))
            except (PrometheusApiClientException, requests.RequestException) as error:
                told = f"Prometheus at {self.url} did not answer: {error}"
                raise Unavailable(told, hint="check --prometheus") from error
        return answer

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """An answer of another shape (another program's port, a proxy's page) is an error with a sentence."""
        try:
            yield
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            told = f"{self.url} answered what is not Prometheus' JSON: {error!r}"
            raise Unavailable(told, hint="check --prometheus") from error


def promql(series: str, deployment: str, labels: Mapping[str, str] | None = None) -> str:
    """`labels`: others that the series must have."""
    wanted = {"deployment": deployment, **(labels or {})}
    selected = ",".join(f"{label}={_quoted(value)}" for label, value in wanted.items())
    ready = f'{{{selected},stage=~"(?i)ready"}}'
    return QUERIES[series].replace("{ready}", ready).replace("{sel}", f"{{{selected}}}").replace("{w}", WINDOW)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def align(answer: list[dict[str, Any]], times: list[float]) -> list[float | None]:
    """The first result's samples at `times`; a missing or NaN sample is a gap."""
    samples = {round(float(t)): float(v) for t, v in (answer[0]["values"] if answer else ())}
    found = (samples.get(round(t)) for t in times)
    return [None if value is None or not math.isfinite(value) else value for value in found]
