"""How many replicas one deployment shall have: its load is sampled here, and `engine.control.autoscale` decides.

What the numbers of a decision are made of comes together in this file: the declared policy, the replicas' stages, the
requests at the gateway and in replicas, and what was decided before.
"""

from __future__ import annotations

from client.types import Deployment
from engine.clock import Clock
from engine.control import autoscale
from engine.control.autoscale import Decision, LoadHistory, LoadSample, Memory, Policy
from engine.control.forecast import Forecast
from engine.control.reconcile import Stage
from engine.fleet.lobby import Lobby
from engine.fleet.record import Record
from engine.fleet.replica import POLL_TIMEOUT_S
from engine.fleet.replica_set import ReplicaSet
from engine.fleet.scaling import policy_of, shortage_of
from engine.telemetry.meter import Meter

TICK_S = 0.5  # between two samples
HISTORY_KEEP_S = 1000.0  # the longest average that a policy can ask for is a fifth of an hour
UNHEARD_AFTER_S = 2 * POLL_TIMEOUT_S  # then its figures count as missing
_READY = Stage.READY  # read once: Python 3.11 runs a function for each `Stage.READY`


class Autoscaler:
    """Sampled, then asked, at every look. `decision` is the last one, None before the first."""

    def __init__(self, record: Record, replicas: ReplicaSet, lobby: Lobby, meter: Meter, clock: Clock) -> None:
        self.decision: Decision | None = None
        self.decided_at = 0.0
        self._record = record
        self._replicas = replicas
        self._lobby = lobby
        self._meter = meter
        self._clock = clock
        self._memory = Memory()
        self._history = LoadHistory(HISTORY_KEEP_S)
        self._forecast: Forecast | None = None  # only where the declaration asks for one
        self.idle_since = self._asked_at = self._sampled_at = clock.monotonic()
        self._sampled_requests = 0
        self._policy_of: tuple[Deployment, Policy] | None = None  # of the declaration that it was made for

    def scale_to(self, count: int) -> None:
        """Want this many replicas now; autoscaling goes on from there."""
        self.begin_idleness()
        self._memory = autoscale.scale_to(self._policy(), self._memory, count, self._clock.monotonic())

    def wake(self) -> None:
        """Want a replica if there is none."""
        woken = autoscale.wake(self._policy(), self._memory, self._clock.monotonic())
        if woken is not self._memory:
            self.begin_idleness()
        self._memory = woken

    def begin(self, count: int) -> None:
        """Go on from the count that was wanted when an earlier engine ended."""
        self._memory = autoscale.begin(self._policy(), count, self._clock.monotonic())

    def begin_idleness(self, since: float | None = None) -> None:
        """Idle time is counted from now, or from an instant before."""
        now = self._clock.monotonic()
        self.idle_since = now if since is None else min(since, now)

    def sample(self, now: float, *, arriving: bool) -> None:
        """One sample of the load, and of the speed for the charts. `arriving`: a replica is on its way, which is not
        idleness: for as long its time stands still."""
        produced = [r.take_produced() for r in self._replicas]
        prompt, generated = sum([p.prompt for p in produced]), sum([p.generated for p in produced])
        self._meter.produced(prompt, generated)
        concurrency = self._replicas.in_flight() + self._lobby.held
        computed = self._meter.computed  # one fewer as soon as a request is found in the response cache
        requests, self._sampled_requests = max(0, computed - self._sampled_requests), computed
        if concurrency or requests:
            self._asked_at = now
        if concurrency or requests:
            self.idle_since = now
        elif arriving:
            self.idle_since += now - self._sampled_at
        self._sampled_at = now
        self._history.add(LoadSample(now, float(concurrency), requests, prompt, generated))
        self._foresee(now)

    def decide(self, now: float) -> Decision:
        """The count from now on, and why."""
        self.decision, self._memory = autoscale.decide(
            self._policy(), self._memory, self._history, self._observed(now), now
        )
        self.decided_at = now
        return self.decision

    def _foresee(self, now: float) -> None:
        """Tell the forecast of the load, where one is asked for."""
        own = self._record.deployment.firedeck
        if not (own and own.forecast_floor):
            self._forecast = None
            return
        self._forecast = self._forecast or Forecast()
        demand = autoscale.demand(self._policy(), self._history, TICK_S, now)
        if demand is not None:
            self._forecast.put(demand, now)

    def _policy(self) -> Policy:
        deployment = self._record.deployment
        if self._policy_of is None or self._policy_of[0] is not deployment:
            self._policy_of = (deployment, policy_of(deployment))
        return self._policy_of[1]

    def _observed(self, now: float) -> autoscale.Observed:
        policy, short = self._policy(), shortage_of(self._replicas)
        heard = [r.report.at for r in self._replicas if r.stage == _READY]
        return autoscale.Observed(
            ready=len(heard),
            starting=self._replicas.starting(),
            running=self._replicas.in_flight(),
            held=self._lobby.held,
            last_request_at=self._asked_at,
            idle_since=self.idle_since,
            oldest_held_s=self._lobby.oldest_s(),
            missing=bool(heard) and now - min(heard) > UNHEARD_AFTER_S,
            ttft_p99_ms=None if policy.ttft_p99_ms is None else self._meter.ttft_ms(policy.average_s).p99,
            forecast=self._forecast.demand if self._forecast else None,
            unplaced=short.unplaced if short else 0,
            shortage=short.reason if short else "",
        )
