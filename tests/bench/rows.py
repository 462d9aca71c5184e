"""The rows of the comparison, and how they are told: to people as a table, to programs as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from client.cli.output import table

HEADER = ("WHAT", "UNIT", "OURS", "OTHER", "THE OTHER IS", "RATIO", "ROUND BY ROUND", "WANTED", "MET")


@dataclass(frozen=True)
class Wanted:
    """What the ratio ours / other should be. It is printed, never asserted: a shared machine decides nothing."""

    ratio: float
    at_least: bool = True

    def __str__(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.ratio:g}x"

    def met(self, ratio: float) -> bool:
        return ratio >= self.ratio if self.at_least else ratio <= self.ratio


@dataclass(frozen=True)
class Row:
    """One comparison, round by round in one run. `wanted` None: for information."""

    what: str
    unit: str
    ours: Sequence[float]
    other: Sequence[float]
    other_name: str = "llama-server"
    wanted: Wanted | None = None

    @property
    def ratio(self) -> float:
        """Of the medians."""
        return statistics.median(self.ours) / statistics.median(self.other)

    @property
    def ratios(self) -> list[float]:
        """Of each round's pair, in order: how far the machine's noise moves it."""
        return [ours / other for ours, other in zip(self.ours, self.other, strict=True)]

    @property
    def cells(self) -> tuple[str, ...]:
        low, high = min(self.ratios), max(self.ratios)
        medians = (f"{statistics.median(values):.4g}" for values in (self.ours, self.other))
        verdict = "" if self.wanted is None else "yes" if self.wanted.met(self.ratio) else "no"
        wanted = str(self.wanted or "")
        return (
            self.what, self.unit, *medians, self.other_name, f"{self.ratio:.2f}x", f"{low:.2f} to {high:.2f}", wanted,
            verdict,
        )  # fmt: skip

    def as_data(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "ratios": self.ratios, "wanted": str(self.wanted or "")}


@dataclass(frozen=True)
class NotMeasured:
    """A row that could not be measured, and why."""

    what: str
    reason: str

    def as_data(self) -> dict[str, Any]:
        return asdict(self)


Rows = list[Row | NotMeasured]


def told(rows: Rows) -> str:
    """The table, and below it what was not measured."""
    cells = [row.cells for row in rows if isinstance(row, Row)]
    missing = [f"{row.what}: not measured: {row.reason}" for row in rows if isinstance(row, NotMeasured)]
    return "\n".join([*([table(HEADER, cells)] if cells else []), *missing])
