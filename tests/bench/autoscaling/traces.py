"""Requests over time: a published trace from a CSV file, or a seeded stand-in with the same statistics.

The files are those of https://github.com/Azure/AzurePublicDataset (AzureLLMInferenceTrace_conv.csv and _code.csv of
2023, CC BY 4.0: TIMESTAMP, ContextTokens, GeneratedTokens). They are read where they lie, and no part of this project.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

FILES = {"conv": "az_conv.csv", "code": "az_code.csv"}
PUBLISHED = {"conv": "AzureLLMInferenceTrace_conv.csv", "code": "AzureLLMInferenceTrace_code.csv"}
Row = tuple[float, int, int]  # seconds from the first, prompt tokens, output tokens


@dataclass(frozen=True)
class Trace:
    """`rows` by rising time. `made`: generated here, not observed."""

    name: str
    rows: Sequence[Row]
    made: bool

    @property
    def seconds(self) -> float:
        return self.rows[-1][0]


def read(name: str, file: Path) -> Trace:
    """A published trace."""
    with file.open(newline="") as lines:
        found = sorted(
            (_seconds(row["TIMESTAMP"]), int(row["ContextTokens"]), int(row["GeneratedTokens"]))
            for row in csv.DictReader(lines)
        )
    return Trace(name, [(at - found[0][0], prompt, output) for at, prompt, output in found], made=False)


def _seconds(timestamp: str) -> float:
    """Of `2023-11-16 18:17:03.9799600`: seven digits of a second, of which datetime reads six."""
    return datetime.fromisoformat(timestamp[:26]).replace(tzinfo=UTC).timestamp()


@dataclass(frozen=True)
class Statistics:
    """Of a trace, per request and per minute. Lengths are log-normal; rates move as an autoregression of logarithms
    around `rate`, in steps of ten seconds, with lulls (no request for a minute on average) where `lull` is above 0."""

    rate: float  # requests a second
    spread: float  # of the logarithm of the rate
    persistence: float  # correlation of that logarithm from one step to the next
    lull: float  # share of steps that belong to lulls
    prompt_median: float
    prompt_spread: float
    prompt_most: int
    output_median: float
    output_spread: float
    output_most: int


STEP_S = 10.0
LULL_STEPS = 6.0
# Fitted to the published traces: means, medians, 99th percentiles, correlation at lags of 10 to 60 s, empty minutes.
FITTED = {
    "conv": Statistics(5.5, 0.30, 0.95, 0.0, 1020, 0.75, 4200, 129, 1.0, 1000),
    "code": Statistics(2.6, 1.20, 0.60, 0.25, 1469, 0.90, 7500, 13, 1.0, 1000),
}


def generate(name: str, seconds: float, seed: int) -> Trace:
    """A stand-in for the trace `name` of `FITTED`. The same seed, the same trace."""
    fitted, dice = FITTED[name], np.random.default_rng(seed)
    steps = int(np.ceil(seconds / STEP_S))
    rates = fitted.rate * np.exp(_walk(steps, fitted, dice)) * ~_lulls(steps, fitted.lull, dice)
    counts = dice.poisson(rates / max(rates.mean(), 1e-9) * fitted.rate * STEP_S)
    at = np.sort(np.concatenate([(step + dice.random(count)) * STEP_S for step, count in enumerate(counts)]))
    prompts = _lengths(len(at), fitted.prompt_median, fitted.prompt_spread, fitted.prompt_most, dice)
    outputs = _lengths(len(at), fitted.output_median, fitted.output_spread, fitted.output_most, dice)
    rows = [(float(t - at[0]), int(p), int(o)) for t, p, o in zip(at, prompts, outputs, strict=True)]
    return Trace(name, rows, made=True)


def _walk(steps: int, fitted: Statistics, dice: np.random.Generator) -> np.ndarray:
    shocks = dice.normal(0, fitted.spread * np.sqrt(1 - fitted.persistence**2), steps)
    walk, value = np.empty(steps), dice.normal(0, fitted.spread)
    for step, shock in enumerate(shocks):
        walk[step] = value = fitted.persistence * value + shock
    return walk


def _lulls(steps: int, share: float, dice: np.random.Generator) -> np.ndarray:
    """True in lulls: a chain of two states that is in the second one for `share` of the time."""
    quiet, state = np.zeros(steps, bool), False
    begins = share / max(1 - share, 1e-9) / LULL_STEPS
    for step, chance in enumerate(dice.random(steps)):
        state = chance >= 1 / LULL_STEPS if state else chance < begins
        quiet[step] = state
    return quiet


def _lengths(count: int, median: float, spread: float, most: int, dice: np.random.Generator) -> np.ndarray:
    return np.clip(np.round(median * np.exp(dice.normal(0, spread, count))), 1, most)


def load(name: str, folder: Path | None, seed: int) -> Trace:
    """The published trace from `folder` when it is there, else the stand-in of an hour."""
    for file in (FILES[name], PUBLISHED[name]) if folder else ():
        if folder is not None and (folder / file).exists():
            return read(name, folder / file)
    return generate(name, 3500, seed)
