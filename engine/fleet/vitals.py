"""Signs of life of one replica: what it reports, beside what can be seen from here.

A replica that answers `/health` may be wedged all the same, and one that has made no token for a while may be reading
a long prompt. So a stall must show twice: in the age of the last progress that the replica reports, and in its count
of evaluated tokens, which stands still from here. And a request that waits in a replica which says it has nothing to
do has been lost there.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple


class Ages(NamedTuple):
    """Seconds, as `control.reconcile.Observed` has them: since it last answered (0 before it first did: many that start
    at once take their time), how long there has been work and no progress by both signs, how long the oldest request
    without an answer has waited while the replica claimed to be idle."""

    silent_s: float
    stalled_s: float
    unanswered_s: float


class Vitals:
    """Instants are seconds on the caller's monotonic axis; ages are zero while nothing is wrong."""

    def __init__(self, now: float) -> None:
        self.call_s = 0.0  # what one call of the model takes at most, as the replica measured
        self.heard = False  # it has answered, be it to an engine before
        self._heard_at = now
        self._spared_at = now
        self._reported_age_s = 0.0
        self._tokens: int | None = None
        self.moved_at = now  # when it was last seen to make progress, or to have nothing to do
        self._idle_since: float | None = None
        self._unanswered: dict[int, float] = {}
        self._entries = itertools.count()

    def take(self, body: dict[str, Any], now: float) -> None:
        """One answer of `/health` or `/stats`."""
        self.heard, self._heard_at = True, now
        self._reported_age_s = float(body.get("last_progress_age_s", 0.0))
        self.call_s = float(body.get("longest_call_ms", self.call_s * 1000)) / 1000
        tokens = body.get("progress_tokens")
        if tokens != self._tokens or not self._reported_age_s:
            self._tokens, self.moved_at = tokens, now
        busy = bool(body.get("running") or body.get("waiting"))
        self._idle_since = None if busy else (now if self._idle_since is None else self._idle_since)

    def spare(self, now: float) -> None:
        """Nobody looked until now (this process slept, or the replica is new): what was not seen proves nothing."""
        self._spared_at = now

    def asked(self, now: float) -> int:
        """A request was sent; the entry to name when its answer begins."""
        entry = next(self._entries)
        self._unanswered[entry] = now
        return entry

    def answered(self, entry: int) -> None:
        self._unanswered.pop(entry, None)

    def ages(self, now: float) -> Ages:
        heard_at = self._heard_at if self._heard_at > self._spared_at else self._spared_at
        silent_s = now - heard_at if self.heard else 0.0
        if not self._reported_age_s and not self._unanswered:
            return Ages(silent_s, 0.0, 0.0)  # as nearly always: every look asks it of every replica
        stalled_s = unanswered_s = 0.0
        if self._reported_age_s:
            stalled_s = min(self._reported_age_s, now - max(self.moved_at, self._spared_at))
        if self._unanswered and self._idle_since is not None:
            oldest = next(iter(self._unanswered.values()))
            unanswered_s = now - max(self._idle_since, oldest, self._spared_at)
        return Ages(silent_s, stalled_s, unanswered_s)
