"""What the autoscaler is told (`Policy`, `Observed`) and what it remembers between two decisions (`Memory`).

Everything is immutable: a decision takes a memory and gives the next one. Times are seconds on the caller's monotonic
axis, never the wall clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from engine.control.load import Metric

EPSILON_S = 1e-6  # sums of float seconds: a window is over when it is over by the microsecond
MAX_REPLICAS = 1000  # of the wire: maxReplicaCount
DEFAULT_TARGETS: Mapping[str, float] = {"default": 0.8}
TTFT_TARGET = "firedeck_ttft_p99_ms"  # this project's own: milliseconds to the first token, 99th percentile

# load target of the wire -> the metric it is a figure for, per replica
TARGET_METRICS: Mapping[str, Metric] = {
    "default": "concurrency",
    "concurrent_requests": "concurrency",
    "requests_per_second": "requests",
    "tokens_generated_per_second": "generated_tokens",
    "prompt_tokens_per_second": "prompt_tokens",
}


@dataclass(frozen=True, slots=True)
class Policy:
    """The checked autoscaling policy of one deployment; no targets means `default=0.8`. ValueError when unusable.

    `per_replica` follows from the others: load target -> what one replica should carry, in the units of its metric
    (`default` in requests at once).
    """

    min_replicas: int
    max_replicas: int
    up_window_s: float
    down_window_s: float
    zero_window_s: float
    targets: Mapping[str, float]
    slots_per_replica: int
    panic: bool = True
    held_slo_s: float = 10.0  # a request held longer than this, or than a TTFT target, is a reason to panic
    per_replica: Mapping[str, float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, target in self.targets.items():
            if name not in {*TARGET_METRICS, TTFT_TARGET} or not (0 < target < math.inf):
                raise ValueError(f"load target {name}={target} is not a known name with a figure above zero")
        windows = (self.up_window_s, self.down_window_s, self.zero_window_s)
        if not all(0 <= window < math.inf for window in windows):
            raise ValueError(f"windows are finite seconds of zero or more, not {windows}")
        if self.min_replicas < 0 or self.max_replicas < 0 or self.slots_per_replica < 1:
            raise ValueError("replica counts are zero or more, slots one or more")
        loads = {name: t for name, t in (self.targets or DEFAULT_TARGETS).items() if name in TARGET_METRICS}
        carried = {name: t * self.slots_per_replica if name == "default" else t for name, t in loads.items()}
        object.__setattr__(self, "per_replica", carried)

    @property
    def average_s(self) -> float:
        """What load is averaged over before it is compared with a target."""
        return max(2.0, min(self.up_window_s, 15.0))

    @property
    def panic_s(self) -> float:
        """The short average that tells a burst, Knative's idea of a panic window."""
        return max(2.0, self.up_window_s / 5)

    @property
    def panics(self) -> bool:
        """With a scale-up window this short there is nothing to gain from panic."""
        return self.panic and self.up_window_s > 6

    @property
    def ttft_p99_ms(self) -> float | None:
        """The TTFT target, if there is one."""
        return self.targets.get(TTFT_TARGET)

    @property
    def late_s(self) -> float:
        """A request held longer than this is a reason to panic."""
        return self.held_slo_s if self.ttft_p99_ms is None else min(self.held_slo_s, self.ttft_p99_ms / 1000)

    def floor(self, forecast: float | None) -> int:
        """What a forecast of the load, in replicas' worth, keeps the count from going below."""
        return 0 if forecast is None else self.clamp(min(math.ceil(forecast - 1e-9), MAX_REPLICAS))

    def clamp(self, count: int) -> int:
        """Into [min, max]; where they cross (the maximum was lowered), the maximum wins."""
        return min(max(count, self.min_replicas), self.max_replicas)


@dataclass(frozen=True, slots=True)
class Observed:
    """The deployment now. `starting` counts every replica on its way to ready, `held` requests wait at the gateway."""

    ready: int
    starting: int = 0
    running: int = 0  # requests in replicas, running or waiting for a slot
    held: int = 0
    last_request_at: float | None = None  # the END of the last request, or since when there was none; for words alone
    idle_since: float | None = None  # no request and no start of a replica; of a deployment never used, its creation
    oldest_held_s: float = 0.0
    missing: bool = False  # a ready replica did not report
    ttft_p99_ms: float | None = None  # of the first tokens of the last `Policy.average_s`; None: there were none
    forecast: float | None = None  # replicas' worth of load to come, where a floor under the count is asked for
    unplaced: int = 0  # of those starting: no room was found for them
    shortage: str = ""  # what there was too little of


@dataclass(frozen=True, slots=True)
class Past:
    value: int
    ended_at: float


@dataclass(frozen=True, slots=True)
class Track:
    """A count over time, as a step function: each value holds until the next is put.

    Only what a window that ends now can ask for is kept: past values lower than all later ones (`lows`, rising) and
    higher than all later ones (`highs`, falling). Both are strictly monotone, so a track of replica counts holds at
    most 1001 of each however long it runs, needs no pruning, and does not depend on how often a value was put.
    """

    began_at: float | None = None
    latest: int = 0
    lows: tuple[Past, ...] = ()
    highs: tuple[Past, ...] = ()

    def put(self, value: int, now: float) -> Track:
        if self.began_at is None:
            return Track(now, value)
        if value == self.latest:
            return self
        ended = Past(self.latest, now)
        lows = tuple(p for p in (*self.lows, ended) if p.value < value)
        highs = tuple(p for p in (*self.highs, ended) if p.value > value)
        return Track(self.began_at, value, lows, highs)

    def above_since(self, count: int) -> float | None:
        """Since when the value has been above `count` without a break, None if it is not."""
        if self.began_at is None or self.latest <= count:
            return None
        return next((p.ended_at for p in reversed(self.lows) if p.value <= count), self.began_at)

    def below_since(self, count: int) -> float | None:
        """Since when the value has been below `count` without a break, None if it is not."""
        if self.began_at is None or self.latest >= count:
            return None
        return next((p.ended_at for p in reversed(self.highs) if p.value >= count), self.began_at)

    def lowest(self, since: float) -> int:
        """The minimum from `since` to now."""
        return next((p.value for p in self.lows if p.ended_at > since + EPSILON_S), self.latest)

    def highest(self, since: float) -> int:
        """The maximum from `since` to now."""
        return next((p.value for p in self.highs if p.ended_at > since + EPSILON_S), self.latest)


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision hands to the next. A fresh one takes the count it finds and waits full windows."""

    count: int | None = None  # the last decision: what was asked for, not what placement achieved (stockout, crash)
    wanted: Track = field(default_factory=Track)  # by the load, before min and max, so that a new bound acts at once
    counts: Track = field(default_factory=Track)
    panic_until: float = -math.inf
    blind_since: float | None = None  # load figures have been incomplete since
    by_hand: bool = False  # the count in force was set with :scale and nothing has changed it since
    manual_at: float | None = None  # the last :scale
    woken_at: float | None = None  # the last start from zero

    def set_count(self, count: int, now: float) -> Memory:
        """The count in force from `now` on; idempotent."""
        if count == self.count:
            return self
        woken_at = now if self.count == 0 else self.woken_at
        return replace(self, count=count, counts=self.counts.put(count, now), by_hand=False, woken_at=woken_at)
