"""A recording of a fleet: one JSON object a line, appended; whole pictures now and then, differences between them.

    {"tape": 2, "context": {...}, "hidden": [figures], "every_s": S}   the first line
    {"at": T, "whole": true, "heard": T, "engine": {...}, "deployments": {name: status}, "alerts": [...]}
    {"at": T, "engine": {...}, "deployments": {only those that differ}, "gone": [names], "alerts": [...]}
    {"events": [...]}  {"nodes": [...]}  {"peaks": {...}}

Of several contexts each has a first line, and every line says whose it is: {"of": "eu", ...}. `at` is the engine's
clock, `heard` the recorder's, by which contexts are laid beside each other. A torn last line, as a killed recorder
leaves it, is left out. Instants are RFC 3339. `tui.core.peaks` says what peaks are, `tui.core.played` reads all of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from client.config import Context
from tui.core.peaks import TOLD_EVERY_S, Peaks

if TYPE_CHECKING:
    from client.fleet_types import DeploymentStatus, Event, FleetSnapshot, NodeView

VERSION = 2
READABLE = (1, 2)  # 1: of one context, without `heard`
WHOLE_EVERY = 60  # differences between two whole pictures: a jump reads at most so many
Wire = dict[str, Any]


class Writer:
    """Makes the lines of a recording. `of`: the context's name among several, empty where there is one alone."""

    def __init__(self, of: str = "") -> None:
        self._of = of
        self._before: dict[str, Wire] = {}
        self._since_whole = WHOLE_EVERY
        self._last_event = 0
        self._nodes: list[Wire] = []
        self._peaks = Peaks()
        self._seen_at = 0.0

    def head(self, context: Context, hidden: Iterable[str] = (), every_s: float = 1.0) -> str:
        """The first line; `hidden` are the figures that are not exposed by what is recorded, `every_s` how long after a
        picture the next one is due."""
        named = {"name": context.name, "account": context.account, "base_url": context.base_url}
        return self._line({"tape": VERSION, "context": named, "hidden": sorted(hidden), "every_s": every_s})

    def frame(self, snapshot: FleetSnapshot, heard: datetime | None = None) -> str:
        """The line of one picture, which came at the instant `heard` by the clock of this machine; before the first
        of a minute that of the peaks since the last."""
        wire = snapshot.to_wire()
        now = {status.deployment.name: _status(status) for status in snapshot.deployments}
        whole = self._since_whole >= WHOLE_EVERY
        self._since_whole = 1 if whole else self._since_whole + 1
        changed = {name: one for name, one in now.items() if self._before.get(name) != one}
        peaks = self._seen(snapshot.time.timestamp(), changed)
        gone = [] if whole else [name for name in self._before if name not in now]
        self._before = now
        told = now if whole else changed
        frame = {"at": wire["time"], "engine": wire["engine"], "deployments": told, "alerts": wire.get("alerts", [])}
        of_whole = {"whole": True} | ({"heard": heard.isoformat()} if heard else {})
        return peaks + self._line(frame | (of_whole if whole else {}) | ({"gone": gone} if gone else {}))

    def _seen(self, at: float, changed: dict[str, Wire]) -> str:
        """Look for peaks in what has changed; in the first picture of a minute the line of those of the last one."""
        line = self.peaks() if at // TOLD_EVERY_S != self._seen_at // TOLD_EVERY_S else ""
        for name, one in changed.items():
            self._peaks.see(name, self._seen_at, self._before.get(name), at, one)
        self._seen_at = at
        return line

    def peaks(self) -> str:
        """The line of those that were not written yet; empty for none."""
        found = self._peaks.taken()
        return self._line({"peaks": found}) if found else ""

    def events(self, found: list[Event]) -> str:
        """The line of those that were not written yet; empty for none."""
        new = [event for event in found if event.seq > self._last_event]
        self._last_event = max([self._last_event, *(event.seq for event in new)])
        return self._line({"events": [event.to_wire() for event in new]}) if new else ""

    def nodes(self, found: list[NodeView]) -> str:
        """The line of the machines, where they differ from what was written last; else empty."""
        wire = [node.to_wire() for node in found]
        if wire == self._nodes:
            return ""
        self._nodes = wire
        return self._line({"nodes": wire})

    def _line(self, record: Wire) -> str:
        whose = {"of": self._of} if self._of else {}
        return json.dumps(whose | record, ensure_ascii=False, separators=(",", ":")) + "\n"


def _status(status: DeploymentStatus) -> Wire:
    """With those figures alone that the source has sent: what it did not send is not known, in the recording too."""
    wire: Wire = status.to_wire()
    wire["stats"] = status.stats.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    return wire
