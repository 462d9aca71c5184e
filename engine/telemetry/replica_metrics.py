"""The replicas' own figures as Prometheus series, summed over the replicas of a deployment.

These are measured inside the replica processes: `firedeck_replica_ttft_seconds` begins when a replica gets a request,
`firedeck_ttft_seconds` when the gateway does. Labels are bounded: sources of drafts are three, positions 32.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from engine.telemetry.replica_figures import ReplicaFigures

PREFIX = "firedeck_replica_"


class Series(NamedTuple):
    """One family: its name below PREFIX, what `/stats` calls it, and help."""

    name: str
    figure: str
    text: str


class Draft(NamedTuple):
    """A family of counts by source of drafts; by position in the draft, from 0, too where `positions`."""

    name: str
    figure: str
    text: str
    positions: bool = False


class Level(NamedTuple):
    """A gauge: a figure of the living replicas, by its path in `/stats`, made one by `over`."""

    name: str
    path: tuple[str, ...]
    text: str
    over: Callable[[list[float]], float] = sum


HISTOGRAMS = (
    Series("ttft_seconds", "ttft_s", "From a replica's receipt of a request to its first token."),
    Series("inter_token_seconds", "inter_token_s", "Between two tokens of a sequence."),
    Series("request_seconds", "end_to_end_s", "From a replica's receipt of a request to its last token."),
    Series("request_queue_seconds", "queue_s", "From a replica's receipt of a request to a slot."),
    Series("request_prefill_seconds", "prefill_s", "From a slot to the first token."),
    Series("request_prompt_tokens", "prompt_tokens", "Prompt tokens of a request."),
    Series("request_generated_tokens", "generated_tokens", "Tokens generated for a request."),
    Series("batch_sequences", "batch_width", "Sequences of one decode call."),
)
COUNTERS = (
    Series("prefill_seconds", "prefill_seconds_total", "Time in calls that evaluate prompts."),
    Series("prefilled_tokens", "prefilled_tokens_total", "Prompt tokens evaluated, what came from a cache left out."),
    Series("decode_seconds", "decode_seconds_total", "Time in decode calls."),
    Series("decode_steps", "decode_steps_total", "Decode calls."),
    Series("decode_tokens", "decode_tokens_total", "Tokens evaluated by decode calls, drafted ones included."),
    Series("preemptions", "preemptions_total", "Running sequences put aside for want of cache."),
    Series("cancelled_requests", "cancelled_total", "Requests whose client left."),
    Series("adapter_switches", "adapter_switches_total", "Changes of the active LoRA adapters."),
)
DRAFTS = (
    Draft("drafts", "drafts", "Drafts verified."),
    Draft("drafted_tokens", "drafted", "Tokens drafted."),
    Draft("accepted_tokens", "accepted", "Drafted tokens that were accepted."),
    Draft("drafted_tokens_at", "drafted_at", "Tokens drafted, by their position in the draft.", True),
    Draft("accepted_tokens_at", "accepted_at", "Drafted tokens accepted, by their position in the draft.", True),
)
LEVELS = (
    Level("kv_used_tokens", ("kv_used_tokens",), "Tokens held in the KV caches."),
    Level("kv_capacity_tokens", ("kv_capacity_tokens",), "Tokens that the KV caches can hold."),
    Level("free_slots", ("free_slots",), "Slots without a sequence."),
    Level("prefix_cache_bytes", ("prefix_cache", "ram_bytes"), "RAM that saved prefixes take."),
    Level("model_load_seconds", ("load_s",), "How long the slowest living replica loaded its model.", max),
)


class ReplicaMetrics(Collector):
    """The figures of every deployment by its full name. A deployment's totals outlive it, as a counter must."""

    def __init__(self) -> None:
        self._deployments: defaultdict[str, ReplicaFigures] = defaultdict(ReplicaFigures)

    def of(self, deployment: str) -> ReplicaFigures:
        return self._deployments[deployment]

    def forget(self, deployment: str) -> None:
        """It is gone: no replica of it lives."""
        if deployment in self._deployments:
            figures = self._deployments[deployment]
            for replica in list(figures.living):
                figures.gone(replica)

    def drop(self, deployment: str) -> None:
        """Its totals go too."""
        self._deployments.pop(deployment, None)

    def collect(self) -> Iterator[Metric]:
        for series in HISTOGRAMS:
            yield _histogram(series, self._deployments)
        for series in COUNTERS:
            yield _counter(series, self._deployments)
        for draft in DRAFTS:
            yield _draft(draft, self._deployments)
        for level in LEVELS:
            yield _gauge(level, self._deployments)


def _histogram(series: Series, deployments: Mapping[str, ReplicaFigures]) -> Metric:
    family = HistogramMetricFamily(PREFIX + series.name, series.text, labels=["deployment"])
    for name, figures in deployments.items():
        buckets = [(_le(bound), count) for bound, count in figures.cumulative(series.figure)]
        if buckets:
            family.add_metric([name], buckets, figures.totals().get(("sum", series.figure), 0.0))
    return family


def _le(bound: float) -> str:
    return "+Inf" if bound == float("inf") else str(float(bound))


def _counter(series: Series, deployments: Mapping[str, ReplicaFigures]) -> Metric:
    family = CounterMetricFamily(PREFIX + series.name, series.text, labels=["deployment"])
    for name, figures in deployments.items():
        total = figures.totals().get(("counter", series.figure))
        if total is not None:
            family.add_metric([name], total)
    return family


def _draft(draft: Draft, deployments: Mapping[str, ReplicaFigures]) -> Metric:
    labels = ["deployment", "source", "position"] if draft.positions else ["deployment", "source"]
    family = CounterMetricFamily(PREFIX + draft.name, draft.text, labels=labels)
    for name, figures in deployments.items():
        used = {source for (source,), drafts in figures.by_source("drafts").items() if drafts}
        for key, total in figures.by_source(draft.figure).items():
            if key[0] in used:
                family.add_metric([name, *map(str, key)], total)
    return family


def _gauge(level: Level, deployments: Mapping[str, ReplicaFigures]) -> Metric:
    family = GaugeMetricFamily(PREFIX + level.name, level.text, labels=["deployment"])
    for name, figures in deployments.items():
        values = figures.gauges(*level.path)
        if values:
            family.add_metric([name], level.over(values))
    return family
