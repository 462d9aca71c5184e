"""How far a roll-out is, and which settings to go back to when those declared do not start. Pure.

What to do about it is `engine.control.reconcile`'s; this is what is remembered between two looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.control.backoff import STEADY_AFTER_S, Backoff, Starts
from engine.control.reconcile import SERVING, Declared, Fallback, Observed, Stage, standing, stopped

ROOM_LOST_AFTER_S = 60.0  # then a place that nobody has taken is no longer counted on


@dataclass(frozen=True, slots=True)
class Trial:
    """Settings `generation` had served for `served_s` seconds, in however many pieces, when they were looked at last
    (`at`, monotonic); a failure begins them anew."""

    generation: str = ""
    served_s: float = 0.0
    at: float = 0.0

    def after(self, generation: str, *, serves: bool, failed: bool, now: float) -> Trial:
        if failed or generation != self.generation:
            return Trial(generation, 0.0, now)
        return Trial(generation, self.served_s + (now - self.at if serves else 0.0), now)


@dataclass(frozen=True, slots=True)
class Progress:
    """`served`: the settings to go back to, None while none have served. `rolling`: former ones still serve;
    `stopped_since`: those declared do not start and were given up then (monotonic), None where they were not. `places`:
    how many replicas this roll-out has seen stand at once, at `places_at` (monotonic) last. `trial`: for how long the
    declared settings have served so far without a failure."""

    served: str | None = None
    rolling: bool = False
    stopped_since: float | None = None
    places: int = 0
    places_at: float = 0.0
    trial: Trial = Trial()

    @property
    def stopped(self) -> bool:
        return self.stopped_since is not None

    def declare(self, generation: str, desired: int, starts: Starts, *, deleted: bool) -> Declared:
        """What is wanted now, as the reconciler takes it."""
        fallback = None
        if self.served is not None and self.served != generation:
            fallback = Fallback(self.served, starts.of(self.served))
        return Declared(desired, generation, deleted, fallback, self.places)

    def starts_now(self, generation: str, starts: Starts) -> Backoff:
        """How starts of the settings go that would be started now, with `generation` declared."""
        return starts.of((self.served if self.stopped else None) or generation)

    def after(self, declared: Declared, observed: Sequence[Observed], starts: Starts, now: float) -> Progress:
        """The progress after a look at which the replicas were `observed` before anything was done."""
        old = any(r.generation != declared.generation and r.alive and r.stage in SERVING for r in observed)
        rolling = old and not declared.deleted
        served, serves = self.served, _serves(declared.generation, observed)
        failed = starts.of(declared.generation).failures > 0
        trial = self.trial.after(declared.generation, serves=serves, failed=failed, now=now)
        if served != declared.generation and serves:
            # The first settings that ever served, else those that have served alone for as long as a crash loop is
            # looked for: settings that crash every few minutes are no settings to go back to.
            alone = not rolling and trial.served_s >= STEADY_AFTER_S
            served = declared.generation if served is None or alone else served
        given_up = stopped(declared, observed, starts.of(declared.generation))
        since = now if self.stopped_since is None else self.stopped_since
        places, places_at = self._room(rolling, observed, now)
        return Progress(served, rolling, since if given_up else None, places, places_at, trial)

    def _room(self, rolling: bool, observed: Sequence[Observed], now: float) -> tuple[int, float]:
        """A place stays counted while it passes from an old replica to a new one, and no longer where somebody else
        took it, or its node is gone."""
        if not rolling:
            return 0, now
        seen = standing(observed)
        if seen < self.places and now - self.places_at <= ROOM_LOST_AFTER_S:
            return self.places, self.places_at
        return seen, now


def _serves(generation: str, observed: Sequence[Observed]) -> bool:
    return any(r.generation == generation and r.stage == Stage.READY for r in observed)
