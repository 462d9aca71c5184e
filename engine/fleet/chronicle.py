"""What is kept of a deployment over time: gauges now, points for the charts, and when it was used last."""

from __future__ import annotations

from dataclasses import dataclass

from client.errors import FiredeckError
from engine.control.reconcile import Stage
from engine.fleet.record import Seen
from engine.fleet.rooms import Rooms
from engine.telemetry import metrics
from engine.telemetry.history import Recorder
from engine.telemetry.lately import Lately
from engine.telemetry.meter import Meter

HISTORY_STEP_S = 1.0
TTFT_WINDOW_S = 10.0  # of one point in the charts
REQUEST_RATE_WINDOW_S = 5.0
TOUCH_INTERVAL_S = 10.0  # how old what is written of its last use, and since when it is idle, may be


@dataclass(frozen=True, slots=True)
class Work:
    """Requests now: `held` at the gateway, `running` with replicas, `queued`: held or waiting inside a replica."""

    held: int
    running: int
    queued: int


class Chronicle:
    """One deployment's. Times are the clock's. `unwritten`: why the disk did not take the last touch, or ""."""

    def __init__(self, name: str, meter: Meter, lately: Lately, rooms: Rooms) -> None:
        self.recorder = Recorder()
        self.lately = lately
        self.unwritten = ""
        self._name = name
        self._meter = meter
        self._store, self._clock, self._lived = rooms.store, rooms.clock, rooms.lived
        self._recorded_at = self._touched_at = float("-inf")
        self._written = (float("-inf"), float("-inf"))  # its last use, and since when it is idle
        self._gauged: tuple[Seen, Work] | None = None

    async def write(self, seen: Seen, work: Work, idle_since: float) -> None:
        """After every look; `idle_since` is monotonic."""
        now = self._clock.monotonic()
        if (seen, work) != self._gauged:
            self._gauged = (seen, work)
            self._gauge(seen, work)
        if now - self._recorded_at >= HISTORY_STEP_S:
            self._recorded_at = now
            self.lately.look(now)
            self._record(seen, work)
        await self._touch(now, idle_since)

    def _gauge(self, seen: Seen, work: Work) -> None:
        for stage in Stage:
            metrics.REPLICAS.labels(self._name, stage.value).set(seen.stages.count(stage))
        metrics.DESIRED.labels(self._name).set(seen.desired)
        metrics.HELD.labels(self._name).set(work.held)
        metrics.RUNNING.labels(self._name).set(work.running)

    def _record(self, seen: Seen, work: Work) -> None:
        meter = self._meter
        ttft = meter.ttft_ms(TTFT_WINDOW_S)
        self.recorder.add(
            self._clock.wall().timestamp(),
            {
                "ttft_p50_ms": ttft.p50,
                "ttft_p95_ms": ttft.p95,
                "ttft_p99_ms": ttft.p99,
                "tokens_per_second": meter.token_rate() if seen.ready else None,
                "requests_per_second": meter.request_rate(REQUEST_RATE_WINDOW_S),
                "queue": float(work.queued),
                "concurrency": float(work.running + work.held),
                "ready": float(seen.ready),
                "desired": float(seen.desired),
                **self.lately.series(),
            },
        )

    def known(self, used_at: float, idle_since: float) -> None:
        """These instants are on disk."""
        self._written = (used_at, idle_since)

    async def _touch(self, now: float, idle_since: float) -> None:
        """What idle time after a restart is counted from. The first request after a while is written at once: whoever
        reads it after a kill has missed `TOUCH_INTERVAL_S` at most."""
        instants = (self._meter.used_at, idle_since)
        behind_s = max(map(float.__sub__, instants, self._written))
        old = now - self._touched_at >= TOUCH_INTERVAL_S
        if instants == self._written or not (old or (behind_s >= TOUCH_INTERVAL_S and not self.unwritten)):
            return
        self._touched_at = now
        used_s, idle_s = self._lived.at(self._meter.used_at), self._lived.watched.at(idle_since)
        try:
            await self._store.touch_deployment(self._name, self._meter.last_request_at, used_s, idle_s)
        except FiredeckError as error:
            self.unwritten = error.text
        else:
            self._written, self.unwritten = instants, ""
