"""What the replicas of one deployment told in the last seconds: time between tokens, room in the caches, drafts.

    ReplicaFigures -> look() every few seconds -> series() for the charts, `speculation` for the fleet's picture

Replicas' counts are added up when somebody reads them, which costs about 0.1 ms a replica: so they are read less often
than charts have points, and not at all of replicas that report no such things (simulated ones). No I/O.
"""

from __future__ import annotations

from client.fleet_types import SpeculationView
from engine.telemetry.readings import ACCEPTED, DRAFTED, Minutes, Reading, Readings
from engine.telemetry.replica_figures import Body, ReplicaFigures
from engine.telemetry.window import mean

EVERY_S, WINDOW_S = 5.0, 10.0  # between two looks; what a point of a chart tells of
INTER_TOKEN = "inter_token_s"
_KEPT = int(WINDOW_S / EVERY_S) + 2


class Lately:
    """Instants are monotonic seconds. `speculation` is None until a replica has told of it."""

    def __init__(self, figures: ReplicaFigures) -> None:
        self.speculation: SpeculationView | None = None
        self._figures = figures
        self._readings = Readings(_KEPT)
        self._looked_at = float("-inf")
        self._told = False  # by a living replica
        self._last: Minutes | None = None

    def look(self, now: float) -> None:
        """At most every EVERY_S seconds; between them nothing changes."""
        if now - self._looked_at < EVERY_S:
            return
        self._looked_at = now
        self._told = any("histograms" in body for body in self._figures.living.values())
        if not self._told:
            self._readings, self._last = Readings(_KEPT), None
            return
        totals = {name: sum(self._figures.by_source(count).values()) for name, count in _DRAFTS}
        histograms = {INTER_TOKEN: tuple(self._figures.cumulative(INTER_TOKEN))}
        self._readings.add(Reading(now, totals, {}, histograms))
        self._last = self._readings.over(WINDOW_S)
        self.speculation = self._speculation()

    def series(self) -> dict[str, float | None]:
        """By the names of `HISTORY_SERIES`; None where nothing was told."""
        last = self._last
        p50, p95 = (last.quantile(INTER_TOKEN, q) if last else None for q in (0.5, 0.95))
        return {
            "inter_token_p50_ms": None if p50 is None else p50 * 1000,
            "inter_token_p95_ms": None if p95 is None else p95 * 1000,
            "draft_acceptance": last.share(ACCEPTED, DRAFTED) if last else None,
            "kv_share": self._kv_share() if self._told else None,
        }

    def _kv_share(self) -> float | None:
        """Of the caches of all living replicas together."""
        rooms = [
            (body["kv_used_tokens"], body["kv_capacity_tokens"])
            for body in self._figures.living.values()
            if body.get("kv_capacity_tokens") and body.get("kv_used_tokens") is not None
        ]
        capacity = sum(most for _, most in rooms)
        return sum(used for used, _ in rooms) / capacity if capacity else None

    def _speculation(self) -> SpeculationView | None:
        figures = self._figures
        drafts, drafted, accepted = (int(sum(figures.by_source(c).values())) for c in ("drafts", "drafted", "accepted"))
        told = [costs for body in figures.living.values() if (costs := _costs(body)) is not None]
        if not drafted and not any(costs.step_ms for costs in told):
            return None
        return SpeculationView(
            drafts=drafts, drafted=drafted, accepted=accepted,
            drafted_at=self._by_position("drafted_at"), accepted_at=self._by_position("accepted_at"),
            step_ms=mean([c.step_ms for c in told if c.step_ms]),
            verify_ms=_means([c.verify_ms for c in told]),
            draft_token_ms=mean([c.draft_token_ms for c in told if c.draft_token_ms]),
        )  # fmt: skip

    def _by_position(self, count: str) -> list[int]:
        """Over all sources; as long as the longest draft."""
        sums: dict[int, float] = {}
        for (_, position), tokens in self._figures.by_source(count).items():
            sums[int(position)] = sums.get(int(position), 0.0) + tokens
        return [int(sums.get(position, 0)) for position in range(max(sums, default=-1) + 1)]


_DRAFTS = ((DRAFTED, "drafted"), (ACCEPTED, "accepted"))


_COSTS = frozenset({"step_cost_ms", "verify_cost_ms", "draft_token_ms"})


def _costs(body: Body) -> SpeculationView | None:
    """What this replica measured; None of one that measured nothing, or tells it in a way that cannot be read."""
    if _COSTS.isdisjoint(body):
        return None
    try:
        return SpeculationView(
            step_ms=body.get("step_cost_ms", {}).get("1"),
            verify_ms=body.get("verify_cost_ms", {}),
            draft_token_ms=body.get("draft_token_ms"),
        )
    except (AttributeError, ValueError):
        return None


def _means(costs: list[dict[int, float]]) -> dict[int, float]:
    """Of each width that all of them measured."""
    widths = set.intersection(*(set(one) for one in costs)) if costs else set()
    return {width: sum(one[width] for one in costs) / len(costs) for width in sorted(widths)}
