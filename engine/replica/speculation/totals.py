"""What speculation did since the process started, by source: for telemetry."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

POSITIONS: Final = 32


class Source(StrEnum):
    """Who proposed a draft."""

    PREDICTION = "prediction"
    NGRAM = "ngram"
    DRAFT_MODEL = "draft_model"


class SourceTotals:
    """Counts of one source. `drafted_at[i]` and `accepted_at[i]`: tokens at position i of their draft, from 0."""

    def __init__(self) -> None:
        self.drafts = 0
        self.drafted_at = [0] * POSITIONS
        self.accepted_at = [0] * POSITIONS

    @property
    def drafted(self) -> int:
        return sum(self.drafted_at)

    @property
    def accepted(self) -> int:
        return sum(self.accepted_at)

    def count(self, drafted: int, accepted: int) -> None:
        """One verified draft, of at most POSITIONS tokens."""
        self.drafts += 1
        for position in range(drafted):
            self.drafted_at[position] += 1
        for position in range(accepted):
            self.accepted_at[position] += 1


class SpeculationTotals(dict[Source, SourceTotals]):
    """One entry a source. The scheduler's thread writes; others may read: a count only grows."""

    def __init__(self) -> None:
        super().__init__({source: SourceTotals() for source in Source})
