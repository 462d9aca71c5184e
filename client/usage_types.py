"""firedeck's own wire types of what was used and what it cost: times of replicas that took requests."""

from __future__ import annotations

from pydantic import Field

from client.types import Timestamp, Wire

DEPLOYMENT, ACCELERATOR_TYPE = "deployment", "acceleratorType"
TIMES = ("hour", "day")  # of UTC
NO_ACCELERATOR = "ACCELERATOR_TYPE_UNSPECIFIED"


class UsageSum(Wire):
    """Sums of a period. A replica counts from READY until it is drained, stopped or lost, idle or not."""

    replica_seconds: float = 0.0
    accelerator_seconds: float = Field(0.0, description="replica-seconds, each times the replica's accelerators")
    cost_usd: float | None = Field(None, description="absent where no node of them has a price, which is not 0")
    unpriced_replica_seconds: float = Field(0.0, description="the part that costUsd says nothing of")
    simulated_replica_seconds: float = Field(0.0, description="the part that no machine has really worked")

    @property
    def simulated_share(self) -> float:
        """0 to 1."""
        return self.simulated_replica_seconds / self.replica_seconds if self.replica_seconds else 0.0


class UsageRow(UsageSum):
    """Of one deployment, one type of accelerator (ACCELERATOR_TYPE_UNSPECIFIED: none), one hour or day, or of what
    these have in common; what it was not grouped by is absent."""

    time: Timestamp | None = Field(None, description="of groups by hour or day: its beginning, in UTC")
    deployment: str | None = None
    accelerator_type: str | None = None


class Usage(Wire):
    start_time: Timestamp
    end_time: Timestamp
    group_by: str = Field(DEPLOYMENT, description="as asked for: names joined by commas")
    rows: list[UsageRow] = []
    total: UsageSum = UsageSum()
