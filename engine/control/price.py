"""What replicas cost. Pure: integers of milliseconds and of micro-US-dollars an hour, so that sums are exact.

A dedicated deployment is charged for each accelerator of each replica, for as long as the replica takes requests,
idle or not (https://docs.fireworks.ai/guides/ondemand-deployments: "billed by GPU-second").
"""

from __future__ import annotations

from dataclasses import dataclass

HOUR_MS = 3_600_000
MICRO = 1_000_000


def micro_usd_per_hour(
    node_price: float | None, *, accelerators: int, of_accelerators: int, threads: int, of_threads: int
) -> int | None:
    """An hour of one replica on a node that costs `node_price` US dollars an hour; None where it has no price.

    A replica pays for its part of the node: of its accelerators, or where it has none, of the threads
    that it runs at once, `of_threads` (as many as it has cores, however many it was promised).
    """
    if node_price is None:
        return None
    part, whole = (accelerators, of_accelerators) if accelerators else (threads, of_threads)
    return round(node_price * MICRO * part / max(whole, part, 1))


@dataclass(slots=True)
class Totals:
    """Sums over the time of replicas. `charges`: milliseconds times micro-US-dollars an hour; `unpriced_ms` is the part
    of `replica_ms` that no price is known for."""

    replica_ms: int = 0
    accelerator_ms: int = 0
    unpriced_ms: int = 0
    simulated_ms: int = 0
    charges: int = 0

    def add(self, ms: int, *, accelerators: int, price: int | None, simulated: bool) -> None:
        """`ms` of a replica with so many accelerators, at `price` micro-US-dollars an hour."""
        self.replica_ms += ms
        self.accelerator_ms += ms * accelerators
        self.simulated_ms += ms if simulated else 0
        self.unpriced_ms += ms if price is None else 0
        self.charges += ms * (price or 0)

    def join(self, other: Totals) -> None:
        self.replica_ms += other.replica_ms
        self.accelerator_ms += other.accelerator_ms
        self.unpriced_ms += other.unpriced_ms
        self.simulated_ms += other.simulated_ms
        self.charges += other.charges

    @property
    def accelerator_hours(self) -> float:
        return self.accelerator_ms / HOUR_MS

    @property
    def usd(self) -> float | None:
        """US dollars; None where nothing of it has a price, which is not the same as 0."""
        if self.replica_ms and self.unpriced_ms == self.replica_ms:
            return None
        return self.charges / (HOUR_MS * MICRO)
