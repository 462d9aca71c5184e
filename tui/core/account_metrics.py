"""An account's metrics as Fireworks exports them (Prometheus text), read as what the dashboard shows.

Counters there are rates already, over the last minute; latencies are buckets of rates, so that a percentile is as fine
as the buckets are (docs.fireworks.ai/deployments/exporting-metrics). Queue and tokens out are not exported: not known.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from client.fleet_types import DeploymentStats

WINDOW_S = 60.0
_SAMPLE = re.compile(r'([a-zA-Z_][\w:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?\s+(\S+)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_TTFT = "latency_to_first_token_ms_bucket"


@dataclass
class _Reading:
    """What the text has of one deployment."""

    values: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    ttft: dict[float, float] = field(default_factory=lambda: defaultdict(float))


def read(text: str) -> dict[str, DeploymentStats]:
    """By the deployments' full names. Lines that are no samples are left out."""
    found: dict[str, _Reading] = defaultdict(_Reading)
    for name, labels, value in samples(text):
        deployment = labels.get("deployment", "")
        family = name.partition(":")[0]
        if not deployment or not math.isfinite(value):
            continue
        if family == _TTFT:
            found[deployment].ttft[_bound(labels.get("le", ""))] += value
        else:
            found[deployment].values[family] += value
    return {deployment: _stats(reading) for deployment, reading in found.items()}


def samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match is None or line.startswith("#"):
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        yield match[1], dict(_LABEL.findall(match[2] or "")), value


def _bound(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.inf


def _stats(reading: _Reading) -> DeploymentStats:
    """Fields that are not exported stay unset: `model_fields_set` tells them from a zero."""
    values = reading.values
    requests = values.get("request_counter_total")
    known: dict[str, float | int | None] = {
        "requests_per_second": requests,
        "error_rate": values.get("requests_error_total", 0.0) / requests if requests else None,
        "prompt_tokens_per_second": values.get("tokens_prompt_total"),
        "ttft_p50_ms": quantile(reading.ttft, 0.5),
        "ttft_p95_ms": quantile(reading.ttft, 0.95),
        "ttft_p99_ms": quantile(reading.ttft, 0.99),
    }
    if "requests_coordinator_concurrent_count" in values:
        known["running"] = round(values["requests_coordinator_concurrent_count"])
    return DeploymentStats.model_validate({"window_s": WINDOW_S, **known})


def quantile(buckets: dict[float, float], share: float) -> float | None:
    """Of cumulative buckets by their upper bounds, as Prometheus' histogram_quantile: straight within a bucket."""
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    wanted, below, floor = share * total, 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= wanted:
            if math.isinf(bound):
                return floor
            return floor + (bound - floor) * ((wanted - below) / (count - below) if count > below else 1.0)
        below, floor = count, bound
    return floor
