"""Fireworks' metrics of an account as Prometheus text: their names, computed from our own counters and histograms.

    Readings, levels of the replicas -> Seen -> exposition() -> GET /v1/accounts/{account}/metrics

Source: https://docs.fireworks.ai/deployments/exporting-metrics. Rates and buckets are gauges: per second over the last
minute, new every 30 s. Two of the documented names have nothing behind them here and are left out, not shown as zero:
`latency_generation_queue_ms` (what has a slot generates in the next step: there is no such queue) and
`prefiller_prompt_cache_ttl` (prefixes leave the cache when room is needed, at no certain age). No I/O.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engine.telemetry import readings
from engine.telemetry.readings import Minutes
from engine.telemetry.window import Rate

WINDOW_S = 60.0
SCRAPES_A_MINUTE = 6
_SUM, _AVERAGE = ":sum_by_deployment", ":avg_by_deployment"
_LEAST_ERROR = "400"


class Rated(NamedTuple):
    """A counter's rate or a histogram's buckets: the documented name, ours, and how many of theirs are one of ours."""

    name: str
    ours: str
    text: str
    scale: float = 1.0


COUNTERS = (
    Rated("request_counter_total", readings.REQUESTS, "Requests a second."),
    Rated("tokens_prompt_total", readings.PROMPT_TOKENS, "Prompt tokens a second."),
    Rated("tokens_cached_prompt_total", readings.CACHED_TOKENS, "Prompt tokens a second that came from a cache."),
)
HISTOGRAMS = (
    Rated("latency_overall_ms", readings.OVERALL, "From request to last byte.", 1000),
    Rated("latency_to_first_token_ms", readings.TTFT, "From request to first token.", 1000),
    Rated("latency_generation_per_token_ms", "replica_inter_token_seconds", "Between two tokens.", 1000),
    Rated("latency_prefill_ms", "replica_request_prefill_seconds", "From a slot to the first token.", 1000),
    Rated("latency_prefill_queue_ms", "replica_request_queue_seconds", "Waiting in a replica for a slot.", 1000),
    Rated("tokens_generated_per_request", "replica_request_generated_tokens", "Tokens generated for a request."),
    Rated("tokens_prompt_per_request", "replica_request_prompt_tokens", "Prompt tokens of a request."),
)
ERRORS = ("requests_error_total", "Requests a second that were not answered as asked, by HTTP status.")
FORWARD_TIME = ("generator_model_forward_time", "Seconds that a decode call takes, the last minute's average.")
LEVELS = {
    "generator_kv_blocks_fraction": "Part of the KV caches in use, the replicas' average.",
    "generator_kv_slots_fraction": "Part of the slots in use, the replicas' average.",
    "requests_coordinator_concurrent_count": "Requests under way or waiting, the last minute's average.",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A deployment as its account's metrics show it. `minute` is None before there are two readings; `levels` are those
    of LEVELS that are known."""

    base_model: str
    deployment: str
    minute: Minutes | None
    levels: Mapping[str, float]

    def labels(self) -> dict[str, str]:
        _, account, _, deployment_id = self.deployment.split("/")
        return {
            "base_model": self.base_model, "deployment": self.deployment, "deployment_account": account,
            "deployment_id": deployment_id,
        }  # fmt: skip


def exposition(deployments: Sequence[Seen]) -> str:
    """The text; a family that no deployment has anything of is left out."""
    return "".join(_lines(deployments))


def _lines(deployments: Sequence[Seen]) -> Iterator[str]:
    known = [(one, one.minute) for one in deployments if one.minute is not None]
    for rated in COUNTERS:
        yield from _family(rated.name + _SUM, rated.text, [(o.labels(), m.rate(rated.ours)) for o, m in known])
    errors = [
        (one.labels() | {"http_code": code}, count / minute.seconds)
        for one, minute in known
        for code, count in sorted(minute.codes.items())
        if code >= _LEAST_ERROR
    ]
    yield from _family(ERRORS[0] + _SUM, ERRORS[1], errors)
    for rated in HISTOGRAMS:
        buckets = [
            (one.labels() | {"le": _number(bound * rated.scale)}, count / minute.seconds)
            for one, minute in known
            for bound, count in minute.histograms.get(rated.ours, ())
        ]
        yield from _family(f"{rated.name}_bucket{_SUM}", rated.text, buckets)
    calls = [
        (one.labels(), average)
        for one, minute in known
        if (average := minute.share("replica_decode_seconds", "replica_decode_steps")) is not None
    ]
    yield from _family(FORWARD_TIME[0] + _AVERAGE, FORWARD_TIME[1], calls)
    for name, text in LEVELS.items():
        levels = [(one.labels(), one.levels[name]) for one in deployments if name in one.levels]
        yield from _family(name + _AVERAGE, text, levels)


def _family(name: str, text: str, samples: Sequence[tuple[Mapping[str, str], float]]) -> Iterator[str]:
    if samples:
        yield f"# HELP {name} {text}\n# TYPE {name} gauge\n"
    for labels, value in samples:
        written = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{{{written}}} {_number(value)}\n"


def _number(value: float) -> str:
    return "+Inf" if value == float("inf") else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


class Scrapes:
    """How often each account has asked for its metrics within the last minute."""

    def __init__(self) -> None:
        self._asked: defaultdict[str, Rate] = defaultdict(lambda: Rate(WINDOW_S))

    def wait_s(self, account: str, now: float) -> float:
        """0 and counted, or how long this account must wait until it may ask again."""
        asked = self._asked[account]
        if asked.total(now) >= SCRAPES_A_MINUTE:
            return asked.below_in(SCRAPES_A_MINUTE, now)
        asked.add(now)
        return 0.0
