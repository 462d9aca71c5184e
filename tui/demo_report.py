"""The demo without a screen: a status line every few seconds, and what came of it at the end."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence

import click

from client.fleet_types import DeploymentStatus, FleetSnapshot
from client.resources import Client
from client.traffic import Traffic

LINE_EVERY_S = 4.0
LOOK_EVERY_S = 0.5
SCALE_EVENTS = ("ScaledUp", "ScaledDown")


class Watcher:
    """Looks at the fleet while traffic runs, and remembers what a visitor should have seen."""

    def __init__(self, client: Client, traffic: Traffic) -> None:
        self._client = client
        self._traffic = traffic
        self._began = time.monotonic()
        self._was_ready: set[str] = set()
        self._all: set[str] = set()
        self._most: dict[str, int] = {}
        self._tps: list[float] = []
        self._last: FleetSnapshot | None = None

    async def watch(self, seconds: float) -> None:
        """Look for `seconds`, printing a line now and then."""
        next_line = 0.0
        while (elapsed := time.monotonic() - self._began) < seconds:
            self._take(await self._client.fleet.snapshot())
            if elapsed >= next_line and self._last is not None:
                click.echo(self._line(elapsed, self._last))
                next_line = elapsed + LINE_EVERY_S
            await asyncio.sleep(LOOK_EVERY_S)

    async def report(self) -> str:
        """What happened, for people."""
        events = [e for e in await self._client.fleet.events(limit=1000) if e.reason in SCALE_EVENTS]
        tally = self._traffic.tally
        ttfts_ms = [s * 1000 for s in tally.ttfts_s]
        lines = [
            "",
            f"demo report: {time.monotonic() - self._began:.0f} s of synthetic traffic on real models",
            f"  deployments   {len(self._was_ready)} of {len(self._all)} became READY",
            "  replicas      " + ", ".join(f"{name} up to {n}" for name, n in sorted(self._most.items())),
            f"  requests      {tally.requests} answered, {len(tally.failures)} failed",
            f"  tokens        {tally.tokens} generated",
            f"  TTFT          p50 {_ms(ttfts_ms, 50)}, p95 {_ms(ttfts_ms, 95)} (cold starts included)",
            f"  TPS           {_mean(self._tps)} on average while serving, {max(self._tps, default=0.0):.0f} at best",
            f"  scale events  {len(events)}",
        ]
        for event in events:
            lines.append(f"    {event.time.astimezone():%H:%M:%S} {_id(event.deployment)}: {event.message}")
        return "\n".join(lines)

    def problem(self) -> str | None:
        """Why the demo cannot be called a success, if so."""
        tally = self._traffic.tally
        if missing := self._all - self._was_ready:
            return f"never READY: {', '.join(sorted(missing))}"
        if not self._all:
            return "there was no deployment"
        if not tally.tokens:
            return "no token was generated"
        if tally.failures:
            return f"{len(tally.failures)} requests failed, the last with: {tally.failures[-1]}"
        return None

    def _take(self, snapshot: FleetSnapshot) -> None:
        self._last = snapshot
        for status in snapshot.deployments:
            name = status.deployment.id
            self._all.add(name)
            if status.deployment.state == "READY":
                self._was_ready.add(name)
            self._most[name] = max(self._most.get(name, 0), _ready(status))
        speed = sum(s.stats.tokens_per_second or 0.0 for s in snapshot.deployments)
        if speed > 0:
            self._tps.append(speed)

    def _line(self, elapsed: float, snapshot: FleetSnapshot) -> str:
        parts = [f"{elapsed:4.0f}s {self._traffic.phase or 'starting':8}"]
        for s in snapshot.deployments:
            wanted = s.autoscaler.desired if s.autoscaler else 0
            speed = f"{s.stats.tokens_per_second or 0:.0f} tok/s"
            ttft = f"{s.stats.ttft_p50_ms:.0f} ms" if s.stats.ttft_p50_ms is not None else "-"
            parts.append(
                f"{s.deployment.id} {s.deployment.state} {_ready(s)}/{wanted} queue {s.stats.queue} TTFT {ttft} {speed}"
            )
        return "  |  ".join(parts)


def _ready(status: DeploymentStatus) -> int:
    return sum(replica.stage == "READY" for replica in status.replicas)


def _ms(values: Sequence[float], p: float) -> str:
    if not values:
        return "-"
    return f"{sorted(values)[max(0, math.ceil(p / 100 * len(values)) - 1)]:.0f} ms"


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.0f} tok/s" if values else "-"


def _id(name: str) -> str:
    return name.rpartition("/")[2]
