"""What a replica counts: totals and histograms since the process started. The scheduler's thread writes, any reads.

A histogram's buckets are upper bounds in Prometheus' sense. Those of the inter-token time begin at 1 ms: small models
on a CPU write a token in 4 ms, which vLLM's floor of 10 ms would hide.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from engine.replica.job import Finished, Job

TTFT_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160)
INTER_TOKEN_S = (0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.5, 1, 2.5)
END_TO_END_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960)
QUEUE_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000)


class Histogram:
    """Counts by bucket (not cumulative; one more than bounds, for what is above the last), and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def figures(self) -> dict[str, Any]:
        return {"bounds": list(self.bounds), "counts": list(self.counts), "sum": round(self.sum, 6)}


@dataclass(slots=True)
class Counters:
    """Totals. Times are seconds."""

    requests_total: int = 0
    request_errors_total: int = 0
    prompt_tokens_total: int = 0
    cached_prompt_tokens_total: int = 0
    prefilled_tokens_total: int = 0
    generated_tokens_total: int = 0
    decode_steps_total: int = 0
    decode_tokens_total: int = 0
    prefill_seconds_total: float = 0.0
    decode_seconds_total: float = 0.0
    cancelled_total: int = 0
    preemptions_total: int = 0
    adapter_switches_total: int = 0
    drafted_tokens_total: int = 0
    accepted_tokens_total: int = 0


@dataclass(slots=True)
class Meters:
    """The counters and histograms of one replica."""

    counters: Counters = field(default_factory=Counters)
    ttft_s: Histogram = field(default_factory=lambda: Histogram(TTFT_S))
    inter_token_s: Histogram = field(default_factory=lambda: Histogram(INTER_TOKEN_S))
    end_to_end_s: Histogram = field(default_factory=lambda: Histogram(END_TO_END_S))
    queue_s: Histogram = field(default_factory=lambda: Histogram(QUEUE_S))
    prefill_s: Histogram = field(default_factory=lambda: Histogram(TTFT_S))
    batch_width: Histogram = field(default_factory=lambda: Histogram(WIDTHS))
    prompt_tokens: Histogram = field(default_factory=lambda: Histogram(TOKENS))
    generated_tokens: Histogram = field(default_factory=lambda: Histogram(TOKENS))

    def decoded(self, sequences: int, tokens: int, seconds: float) -> None:
        """One decode call: how many sequences it carried, how many tokens it evaluated."""
        counters = self.counters
        counters.decode_steps_total += 1
        counters.decode_tokens_total += tokens
        counters.decode_seconds_total += seconds
        self.batch_width.observe(sequences)

    def prefilled(self, tokens: int, seconds: float) -> None:
        self.counters.prefilled_tokens_total += tokens
        self.counters.prefill_seconds_total += seconds

    def admitted(self, job: Job, cached_tokens: int) -> None:
        """A job got an id. Further choices of a prompt count as one prompt with the first, and one that goes on here
        was counted where it began."""
        self.queue_s.observe(job.times.admitted - job.times.submitted)
        if job.leader is None and not job.resumed:
            self.prompt_tokens.observe(len(job.prompt))
            self.counters.prompt_tokens_total += len(job.prompt)
            self.counters.cached_prompt_tokens_total += cached_tokens

    def finished(self, event: Finished) -> None:
        self.end_to_end_s.observe(event.times.finished - event.times.submitted)
        self.generated_tokens.observe(event.generated_tokens)
        self.counters.drafted_tokens_total += event.drafts.drafted
        self.counters.accepted_tokens_total += event.drafts.accepted

    @property
    def progress_tokens(self) -> int:
        """Tokens evaluated since the process started; while work is going on it grows with every call."""
        return self.counters.decode_tokens_total + self.counters.prefilled_tokens_total

    def totals(self) -> dict[str, int | float]:
        return asdict(self.counters)

    def histograms(self) -> dict[str, dict[str, Any]]:
        names = (
            "ttft_s", "inter_token_s", "end_to_end_s", "queue_s", "prefill_s", "batch_width", "prompt_tokens",
            "generated_tokens",
        )  # fmt: skip
        return {name: getattr(self, name).figures() for name in names}
