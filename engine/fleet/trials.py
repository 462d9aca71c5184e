"""Where requests under which a replica died are tried again: on each replica one at a time, so that a death has one
culprit, and on all replicas at once, so that none stands idle meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Set

NOBODY: frozenset[str] = frozenset()


class Trials:
    """The replicas of a deployment, by id, that have a suspect each. `room` is called when one may have another."""

    def __init__(self, room: Callable[[], None]) -> None:
        self.busy: set[str] = set()
        self._room = room

    def end(self, replica: str) -> None:
        self.busy.discard(replica)
        self._room()


class Trial:
    """One request's, at one replica at a time. `suspected` is asked again each time: a request may become a suspect,
    or be cleared, while it waits. `over()` as soon as it is known to be harmless, again does no harm."""

    def __init__(self, trials: Trials, suspected: Callable[[], bool]) -> None:
        self._trials = trials
        self._suspected = suspected
        self._replica: str | None = None

    def barred(self) -> Set[str]:
        """Replicas that it may not go to now."""
        return self._trials.busy if self._suspected() else NOBODY

    def begin(self, replica: str) -> None:
        """It goes there now."""
        if self._suspected():
            self._trials.busy.add(replica)
            self._replica = replica

    def over(self) -> None:
        replica, self._replica = self._replica, None
        if replica is not None:
            self._trials.end(replica)

    def handed_over(self) -> Trial:
        """What is left of it, for somebody else to end."""
        rest = Trial(self._trials, self._suspected)
        rest._replica, self._replica = self._replica, None
        return rest
