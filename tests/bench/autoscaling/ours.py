"""The engine's own decision function behind the simulator's seam: a look is what a keeper's tick does."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.control.autoscale import LoadHistory, LoadSample, Memory, Observed, begin, decide, demand
from engine.control.autoscale_state import Policy as Rules
from engine.control.forecast import Forecast
from engine.fleet.autoscaler import TICK_S
from engine.telemetry.window import Window, percentile
from tests.bench.autoscaling.simulator import View


@dataclass
class Ours:
    """`rules` as a deployment declares them; `forecast` as with `firedeck.forecastFloor`."""

    rules: Rules
    name: str = "firedeck"
    forecast: Forecast | None = None
    initial: int = 1
    look_s: float = TICK_S
    wakes: bool = True
    _memory: Memory = field(init=False)
    _history: LoadHistory = field(init=False)
    _ttfts_ms: Window = field(init=False)

    def __post_init__(self) -> None:
        self._memory = begin(self.rules, self.initial, 0.0)
        self._history = LoadHistory(max(self.rules.average_s, self.rules.panic_s))
        self._ttfts_ms = Window(self.rules.average_s)

    def count(self, view: View) -> int:
        busy = float(view.running + view.held)
        self._history.add(LoadSample(view.now, busy, view.requests, view.prompt_tokens, view.generated_tokens))
        for ttft_ms in view.ttfts_ms:
            self._ttfts_ms.add(view.now, ttft_ms)
        observed = Observed(
            ready=view.ready,
            starting=view.starting,
            running=view.running,
            held=view.held,
            idle_since=view.last_request_at,
            oldest_held_s=view.oldest_held_s,
            ttft_p99_ms=percentile(self._ttfts_ms.values(view.now), 99) if self.rules.ttft_p99_ms else None,
            forecast=self._expected(view.now),
        )
        decision, self._memory = decide(self.rules, self._memory, self._history, observed, view.now)
        return decision.desired

    def _expected(self, now: float) -> float | None:
        if self.forecast is None:
            return None
        known = demand(self.rules, self._history, self.look_s, now)
        if known is not None:
            self.forecast.put(known, now)
        return self.forecast.demand
