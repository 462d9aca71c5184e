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
METHOD = "rates: all requests of a setting over the time from its first start to its last end"
DIGITS = 6  # after the point in JSON: microseconds


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
    """What the table alone would hide: the method, lengths as the server counted them, cache hits, errors by kind."""
    return [METHOD, *_told_lengths(measured), *_told_errors(measured)]


def _told_lengths(measured: Sequence[Measured]) -> list[str]:
    """Each line once, after the settings that it is true of; without them when it is true of all."""
    labels: dict[str, list[str]] = {}
    for one in measured:
        if one.figures.succeeded:
            labels.setdefault(_lengths(one.figures), []).append(one.setting.label)
    if len(labels) == 1:
        return list(labels)
    return [f"{', '.join(of)}: {line}" for line, of in labels.items()]


def _told_errors(measured: Sequence[Measured]) -> list[str]:
    """Counts of each setting; a kind's first message where the kind is first seen with one."""
    lines, said = [], set[str]()
    for one in measured:
        for kind, count in one.figures.errors.items():
            message = one.figures.messages.get(kind) if kind not in said else None
            said |= {kind} if message else set()
            lines.append(f"{one.setting.label}: {count} x {kind}" + (f": {message}" if message else ""))
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
            **_rounded(asdict(one.figures)),
        }
        for one in measured
    ]
    methods = {"percentiles": "linear interpolation (Hyndman-Fan type 7)", "rates": METHOD.removeprefix("rates: ")}
    data = {**about, **methods, "settings": settings}
    return data if sizing is None else data | {"sizing": _rounded(asdict(sizing))}


def _rounded(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _rounded(value) for key, value in data.items()}
    return round(data, DIGITS) if isinstance(data, float) else data


def _milliseconds(spread: Spread) -> tuple[str, str, str]:
    p50, p95, p99 = (UNKNOWN if v is None else f"{v * 1000:.1f} ms" for v in (spread.p50, spread.p95, spread.p99))
    return p50, p95, p99
