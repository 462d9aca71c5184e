"""How others scale, written from their documents: Knative's pod autoscaler, Ray Serve's, and a fixed count.

Knative: https://knative.dev/docs/serving/autoscaling/kpa-specific/ (stable and panic windows, panic threshold, scale
rates), .../autoscaling/concurrency/ and .../autoscaling/rps-target/ (targets, of which 70 % are aimed at),
.../autoscaling/scale-bounds/ (scale-down delay), .../autoscaling/scale-to-zero/ (grace period, the activator that
holds requests).
Ray Serve: https://docs.ray.io/en/latest/serve/advanced-guides/advanced-autoscaling.html (target_ongoing_requests,
look_back_period_s, upscale_delay_s, downscale_delay_s).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from tests.bench.autoscaling.simulator import View


@dataclass
class Averages:
    """Exact means over the last seconds, of looks at any spacing."""

    keep_s: float
    _pieces: deque[tuple[float, float, float]] = field(default_factory=deque)  # (from, to, mean)
    _until: float = 0.0

    def add(self, now: float, mean: float) -> None:
        self._pieces.append((self._until, now, mean))
        self._until = now
        while self._pieces[0][1] < now - self.keep_s:
            self._pieces.popleft()

    def over(self, seconds: float) -> float:
        """Where less is known, over that; before any time has passed, the last level."""
        since = self._until - seconds
        pieces = [(min(to - begun, to - since), mean) for begun, to, mean in self._pieces if to > since]
        covered = sum(length for length, _ in pieces)
        return sum(length * mean for length, mean in pieces) / covered if covered > 0 else self._pieces[-1][2]


@dataclass
class Fixed:
    """Always as many."""

    replicas: int
    look_s: float = 60.0
    wakes: bool = False

    @property
    def name(self) -> str:
        return f"fixed {self.replicas}"

    def count(self, view: View) -> int:
        return self.replicas


@dataclass
class Knative:
    """Load against `utilization` of `target`, of requests at once or, with `by_rate`, a second. Defaults are Knative's;
    `least` is its min-scale."""

    target: float
    by_rate: bool = False
    utilization: float = 0.7
    stable_s: float = 60.0
    panic_share: float = 0.1
    panic_threshold: float = 2.0
    most_up: float = 1000.0
    most_down: float = 2.0
    down_delay_s: float = 0.0  # the most that was wanted in it counts
    least: int = 0
    grace_s: float = 30.0
    look_s: float = 2.0
    wakes: bool = True  # the activator pokes the autoscaler
    name: str = "Knative"
    _averages: Averages = field(init=False)
    _panic_since: float | None = None  # the last reason to panic
    _most_in_panic: int = 0
    _idle_since: float | None = None
    _wanted: deque[tuple[float, int]] = field(default_factory=deque)  # (when, how many): falling, for the delay

    def __post_init__(self) -> None:
        self._averages = Averages(self.stable_s)

    def count(self, view: View) -> int:
        self._averages.add(view.now, view.rate if self.by_rate else view.mean)
        target, ready = self.target * self.utilization, max(1, view.ready)
        mean, burst = (self._averages.over(seconds) for seconds in (self.stable_s, self.panic_s))
        stable, panic = (self._limited(math.ceil(load / target - 1e-9), ready) for load in (mean, burst))
        if math.ceil(burst / target - 1e-9) / ready >= self.panic_threshold:
            self._panic_since = view.now
        elif self._panic_since is not None and view.now - self._panic_since >= self.stable_s:
            self._panic_since, self._most_in_panic = None, 0
        if self._panic_since is not None:
            self._most_in_panic = max(self._most_in_panic, panic, stable, view.ready)
            stable = self._most_in_panic
        if view.held and not view.ready:
            stable = max(1, stable)
        return max(self.least, self._held_back_from_zero(self._delayed(stable, view.now), view.now))

    @property
    def panic_s(self) -> float:
        return self.stable_s * self.panic_share

    def _limited(self, wanted: int, ready: int) -> int:
        """The scale rates: no more than `most_up` times what is ready, no fewer than its `most_down`-th part."""
        return min(max(wanted, math.floor(ready / self.most_down)), math.ceil(ready * self.most_up))

    def _delayed(self, wanted: int, now: float) -> int:
        while self._wanted and self._wanted[-1][1] <= wanted:
            self._wanted.pop()
        self._wanted.append((now, wanted))
        while self._wanted[0][0] < now - self.down_delay_s:
            self._wanted.popleft()
        return self._wanted[0][1]

    def _held_back_from_zero(self, wanted: int, now: float) -> int:
        if wanted > 0:
            self._idle_since = None
            return wanted
        self._idle_since = now if self._idle_since is None else self._idle_since
        return 0 if now - self._idle_since >= self.grace_s else 1


@dataclass
class RayServe:
    """Ongoing requests against `target` a replica; a wish must last for its delay. Defaults are Ray Serve's."""

    target: float = 2.0
    look_back_s: float = 30.0
    up_delay_s: float = 30.0
    down_delay_s: float = 600.0
    least: int = 1
    most: int = 1000
    look_s: float = 1.0
    wakes: bool = True  # an empty deployment is scaled up as soon as a handle has a request
    name: str = "Ray Serve"
    _averages: Averages = field(init=False)
    _wanted_since: tuple[int, float] = (0, 0.0)  # (direction, since when)
    _count: int = 1

    def __post_init__(self) -> None:
        self._averages = Averages(self.look_back_s)

    def count(self, view: View) -> int:
        self._averages.add(view.now, view.mean)
        load = self._averages.over(self.look_back_s)
        wanted = min(max(math.ceil(load / self.target - 1e-9), self.least), self.most)
        if self._count == 0 and view.held:
            self._count = max(1, wanted)
        direction = (wanted > self._count) - (wanted < self._count)
        if direction != self._wanted_since[0]:
            self._wanted_since = direction, view.now
        lasted_s = view.now - self._wanted_since[1]
        if direction and lasted_s >= (self.up_delay_s if direction > 0 else self.down_delay_s):
            self._count, self._wanted_since = wanted, (0, view.now)
        return self._count
