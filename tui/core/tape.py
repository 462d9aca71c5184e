"""A recording of a fleet: one JSON object a line, appended; whole pictures now and then, differences between them.

    {"tape": 2, "context": {...}, "hidden": [figures], "every_s": S}   the first line
    {"at": T, "whole": true, "heard": T, "engine": {...}, "deployments": {name: status}, "alerts": [...]}
    {"at": T, "engine": {...}, "deployments": {only those that differ}, "gone": [names], "alerts": [...]}
    {"events": [...]}  {"nodes": [...]}

Of several contexts each has a first line, and every line says whose it is: {"of": "eu", ...}. `at` is the engine's
clock, `heard` the recorder's, by which contexts are laid beside each other. A torn last line, as a killed recorder
leaves it, is left out. Instants are RFC 3339.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from client.config import Context
from client.errors import InvalidArgument
from client.fleet_types import HISTORY_SERIES, DeploymentStatus, Event, FleetSnapshot, History, NodeView

VERSION = 2
READABLE = (1, 2)  # 1: of one context, without `heard`
WHOLE_EVERY = 60  # differences between two whole pictures: a jump reads at most so many
MOST_SAMPLES = 720
_STATS = {
    "ttft_p50_ms": "ttftP50Ms", "ttft_p95_ms": "ttftP95Ms", "ttft_p99_ms": "ttftP99Ms",
    "tokens_per_second": "tokensPerSecond", "requests_per_second": "requestsPerSecond", "queue": "queue",
    "concurrency": "running",
}  # fmt: skip
Wire = dict[str, Any]


class Writer:
    """Makes the lines of a recording. `of`: the context's name among several, empty where there is one alone."""

    def __init__(self, of: str = "") -> None:
        self._of = of
        self._before: dict[str, Wire] = {}
        self._since_whole = WHOLE_EVERY
        self._last_event = 0
        self._nodes: list[Wire] = []

    def head(self, context: Context, hidden: Iterable[str] = (), every_s: float = 1.0) -> str:
        """The first line; `hidden` are the figures that are not exposed by what is recorded, `every_s` how long after a
        picture the next one is due."""
        named = {"name": context.name, "account": context.account, "base_url": context.base_url}
        return self._line({"tape": VERSION, "context": named, "hidden": sorted(hidden), "every_s": every_s})

    def frame(self, snapshot: FleetSnapshot, heard: datetime | None = None) -> str:
        """The line of one picture, which came at the instant `heard` by the clock of this machine."""
        wire = snapshot.to_wire()
        now = {status.deployment.name: _status(status) for status in snapshot.deployments}
        whole = self._since_whole >= WHOLE_EVERY
        self._since_whole = 1 if whole else self._since_whole + 1
        changed = now if whole else {name: one for name, one in now.items() if self._before.get(name) != one}
        gone = [] if whole else [name for name in self._before if name not in now]
        self._before = now
        frame = {"at": wire["time"], "engine": wire["engine"], "deployments": changed, "alerts": wire.get("alerts", [])}
        of_whole = {"whole": True} | ({"heard": heard.isoformat()} if heard else {})
        return self._line(frame | (of_whole if whole else {}) | ({"gone": gone} if gone else {}))

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


@dataclass
class Tape:
    """The recording of one context, in memory: what every frame says, and where the whole ones are. `skew` is what the
    recorder's clock was ahead of the engine's."""

    context: Wire = field(default_factory=dict)
    frames: list[Wire] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    nodes: list[tuple[int, list[NodeView]]] = field(default_factory=list)
    hidden: frozenset[str] = frozenset()
    every: timedelta = timedelta(seconds=1)
    skew: timedelta = timedelta(0)

    @classmethod
    def read(cls, lines: Iterable[str]) -> dict[str, Tape]:
        """The recordings of all contexts by their names, of one alone by an empty one; one that was silent all the time
        has no frames. Raises InvalidArgument where that is no recording, or has no picture at all."""
        found: dict[str, Tape] = {}
        for record in _records(lines):
            found.setdefault(str(record.get("of", "")), cls())._take(record)
        if not any(tape.frames for tape in found.values()) or not all(tape.context for tape in found.values()):
            raise InvalidArgument("that is no recording of a fleet", hint="make one with --record FILE")
        return found

    def _take(self, record: Wire) -> None:
        if "tape" in record:
            self._begin(record)
        elif "at" in record:
            self._frame(record)
        elif "events" in record:
            self.events += [Event.model_validate(one) for one in record["events"]]
        elif "nodes" in record:
            self.nodes.append((len(self.frames), [NodeView.model_validate(one) for one in record["nodes"]]))

    def _begin(self, record: Wire) -> None:
        if record["tape"] not in READABLE:
            readable = f"this firedeck reads {READABLE[0]} to {READABLE[-1]}"
            raise InvalidArgument(f"the recording has version {record['tape']}", hint=readable)
        self.context, self.hidden = record["context"], frozenset(record.get("hidden", ()))
        self.every = timedelta(seconds=record.get("every_s", 1.0))

    def _frame(self, record: Wire) -> None:
        at = datetime.fromisoformat(record["at"])
        if not self.frames and "heard" in record:
            self.skew = datetime.fromisoformat(record["heard"]) - at
        self.frames.append(record)
        self.times.append(at)

    def index(self, moment: datetime) -> int:
        """The frame that was the newest at `moment`, by the engine's clock; the first one for what lies before it."""
        return max(0, bisect_right(self.times, moment) - 1)

    def deployments(self, index: int) -> dict[str, Wire]:
        """Every deployment as it was in frame `index`: the last whole picture and the differences since."""
        first = next((n for n in range(index, -1, -1) if self.frames[n].get("whole")), 0)
        found: dict[str, Wire] = {}
        for frame in self.frames[first : index + 1]:
            found = _after(found, frame)
        return found

    def snapshot(self, index: int) -> FleetSnapshot:
        frame = self.frames[index]
        found = [DeploymentStatus.model_validate(one) for one in self.deployments(index).values()]
        return FleetSnapshot.model_validate(
            {"time": frame["at"], "engine": frame["engine"], "alerts": frame.get("alerts", []), "deployments": []}
        ).model_copy(update={"deployments": found})

    def nodes_at(self, index: int) -> list[NodeView]:
        known = [found for frame, found in self.nodes if frame <= index + 1]
        return known[-1] if known else []

    def history(self, deployment: str, index: int, seconds: int) -> History:
        """The series over the last `seconds` before frame `index`, in equal steps; a gap where nothing was recorded."""
        end = self.times[index].timestamp()
        step = max(1.0, seconds / MOST_SAMPLES)
        samples = max(1, round(seconds / step))
        times = [end - (samples - 1 - n) * step for n in range(samples)]
        series: dict[str, list[float | None]] = {name: [None] * samples for name in HISTORY_SERIES}
        for at, one in self._of(deployment, index, end - seconds):
            slot = samples - 1 - round((end - at) / step)
            if 0 <= slot < samples:
                for name, value in _sample(one).items():
                    series[name][slot] = value
        return History(deployment=deployment, step_s=step, times=times, series=series)

    def _of(self, deployment: str, index: int, since: float) -> Iterator[tuple[float, Wire]]:
        """The instants and states of one deployment, oldest first."""
        first = next((n for n in range(index + 1) if self.times[n].timestamp() > since), index)
        state = self.deployments(first).get(deployment)
        for n in range(first, index + 1):
            frame = self.frames[n]
            state = frame["deployments"].get(deployment, None if deployment in frame.get("gone", ()) else state)
            if state is not None:
                yield self.times[n].timestamp(), state


def _after(before: dict[str, Wire], frame: Wire) -> dict[str, Wire]:
    if frame.get("whole"):
        return dict(frame["deployments"])
    kept = {name: one for name, one in before.items() if name not in frame.get("gone", ())}
    return {**kept, **frame["deployments"]}


def _sample(one: Wire) -> dict[str, float | None]:
    stats, deployment = one["stats"], one["deployment"]
    found: dict[str, float | None] = {name: stats.get(key) for name, key in _STATS.items()}
    found["ready"] = (deployment.get("replicaStats") or {}).get("readyReplicaCount", deployment.get("replicaCount"))
    found["desired"] = deployment.get("desiredReplicaCount")
    return found


def _records(lines: Iterable[str]) -> Iterator[Wire]:
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue  # torn by the recorder's end
        if isinstance(record, dict):
            yield record
