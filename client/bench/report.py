"""A session's results: rows for a table, plain data for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from client.bench.figures import Figures, Objective, Spread
from client.bench.session import Measured
from client.bench.sizing import Sizing

HEADER = (
    "SETTING", "DONE", "ERRORS", "REQ/S", "OUT TOK/S", "IN TOK/S", "TTFT p50", "p95", "p99", "INTER-TOKEN p50", "p95",
    "p99", "END-TO-END p50", "p95",
)  # fmt: skip
UNKNOWN = "-"


def header(objective: Objective) -> tuple[str, ...]:
    return (*HEADER, "GOOD/S", "GOOD") if objective else HEADER


def row(measured: Measured, objective: Objective) -> tuple[str, ...]:
    """The cells of one setting, in the order of `header`; times in milliseconds."""
    f = measured.figures
    cells = (
        measured.setting.label + ("" if measured.whole else " (cut short)"),
        str(f.succeeded),
        str(f.requests - f.succeeded),
        f"{f.requests_per_s:.2f}",
        f"{f.output_tokens_per_s:.1f}",
        f"{f.input_tokens_per_s:.0f}",
        *_milliseconds(f.ttft),
        *_milliseconds(f.inter_token),
        *_milliseconds(f.end_to_end)[:2],
    )
    if not objective:
        return cells
    share = UNKNOWN if f.good_share is None else f"{f.good_share:.0%}"
    return (*cells, UNKNOWN if f.goodput_per_s is None else f"{f.goodput_per_s:.2f}", share)


def notes(measured: Sequence[Measured]) -> list[str]:
    """What the table alone would hide: lengths as the server counted them, cache hits, errors by kind."""
    lines = []
    for one in measured:
        f, label = one.figures, one.setting.label
        if f.succeeded:
            lines.append(f"{label}: {_lengths(f)}")
        lines += [f"{label}: {count} x {kind}" for kind, count in f.errors.items()]
    return lines


def _lengths(f: Figures) -> str:
    if not f.counted_by_server:
        return "the server told no usage: tokens are counted as events"
    cached = f", {f.cached_share:.0%} of the prompt cached" if f.cached_share else ""
    return f"{f.prompt_tokens or 0:.0f} prompt and {f.output_tokens or 0:.0f} output tokens a request{cached}"


def as_data(measured: Sequence[Measured], sizing: Sizing | None, **about: Any) -> dict[str, Any]:
    """Plain data: seconds, tokens, requests a second; what is unknown is null."""
    settings = [
        {
            "concurrency": one.setting.concurrency,
            "rate": one.setting.rate,
            "whole": one.whole,
            **asdict(one.figures),
        }
        for one in measured
    ]
    data = {**about, "percentiles": "linear interpolation (Hyndman-Fan type 7)", "settings": settings}
    return data if sizing is None else data | {"sizing": asdict(sizing)}


def _milliseconds(spread: Spread) -> tuple[str, str, str]:
    p50, p95, p99 = (UNKNOWN if v is None else f"{v * 1000:.1f} ms" for v in (spread.p50, spread.p95, spread.p99))
    return p50, p95, p99
