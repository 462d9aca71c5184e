"""A recording (`tui.core.tape`), read where it is looked at: a day of a fleet has gigabytes.

An instant is found by halves: frames are in the order of their times. A *position* is where a frame's line begins.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from mmap import mmap
from typing import Any

from client.errors import InvalidArgument
from client.fleet_types import HISTORY_SERIES, DeploymentStatus, Event, FleetSnapshot, History, NodeView
from tui.core.lines import Lines
from tui.core.peaks import TOLD_EVERY_S, lift, sample
from tui.core.tape import READABLE, Wire

MOST_SAMPLES = 720
LATE = timedelta(seconds=60)  # a recorder asks for events after they happened: at most so long after
TICK = timedelta(microseconds=1)
INSTANT = 40  # bytes of a time at most
USUAL = 16_384  # bytes of one deployment's state: seldom more


class Tape:
    """The recording of one context. `skew` is what the recorder's clock was ahead of the engine's; `first` is None of
    one that was silent all the time."""

    def __init__(self, lines: Lines, head: Wire) -> None:
        """Raises InvalidArgument for another version's."""
        if head["tape"] not in READABLE:
            readable = f"this firedeck reads {READABLE[0]} to {READABLE[-1]}"
            raise InvalidArgument(f"the recording has version {head['tape']}", hint=readable)
        self._lines = lines
        self.context: Wire = head["context"]
        self.hidden = frozenset(head.get("hidden", ()))
        self.every = timedelta(seconds=head.get("every_s", 1.0))
        whose = f'"of":{json.dumps(head["of"], ensure_ascii=False)},' if "of" in head else ""
        self._begins = f"{{{whose}".encode()
        self._sign = self._begins + b'"at":"'
        self._start, self._last = self._after(0, lines.end), self._before(lines.end)
        self.first = self.time(self._start) if self._start >= 0 else None
        self.last = self.time(self._last) if self._last >= 0 else None
        self.skew = self._skew()
        self._known: tuple[int, Wire, dict[str, Wire]] | None = None  # the frame that was looked at last
        self._events: list[Event] = []
        self._nodes: list[tuple[int, list[NodeView]]] = []
        self._minutes: dict[int, int] = {}  # since 1970: where their peaks are told
        self._noted_to = 0
        self._noting = threading.Lock()

    @classmethod
    def read(cls, data: bytes | mmap) -> dict[str, Tape]:
        """The recordings of all contexts by their names, of one alone by an empty one. Raises InvalidArgument where
        that is no recording, or has no picture at all."""
        lines = Lines(data)
        found = {str(head.get("of", "")): cls(lines, head) for head in _heads(lines)}
        if all(tape.first is None for tape in found.values()):
            raise InvalidArgument("that is no recording of a fleet", hint="make one with --record FILE")
        return found

    # Where frames are.

    def time(self, position: int) -> datetime:
        """The engine's clock at this frame."""
        part = self._lines.part(position + len(self._sign), INSTANT)
        return datetime.fromisoformat(part.partition(b'"')[0].decode())

    def _after(self, start: int, stop: int) -> int:
        """The first frame that begins after `start`; -1 where none does before `stop`."""
        found = self._lines.find(b"\n" + self._sign, start, stop)
        return found + 1 if found >= 0 else -1

    def _before(self, stop: int, start: int = 0) -> int:
        found = self._lines.rfind(b"\n" + self._sign, start, stop)
        return found + 1 if found >= 0 else -1

    def position(self, moment: datetime, low: int | None = None, high: int | None = None) -> int:
        """The frame that was the newest at `moment`, by the engine's clock; the first one for what lies before it.
        Between the frames `low` and `high`, where they are known."""
        found = first = self._start if low is None else low
        last = self._last if high is None else high
        while first < last:  # the line end before the frame that is looked for lies between them
            middle = (first + last) // 2
            frame = self._after(middle, last + len(self._sign))
            if frame >= 0 and self.time(frame) <= moment:
                found = first = frame
            else:
                last = middle
        return found

    def _skew(self) -> timedelta:
        if self.first is None:
            return timedelta(0)
        _, told, rest = self._lines.line(self._start).rpartition(b'"heard":"')
        return datetime.fromisoformat(rest.partition(b'"')[0].decode()) - self.first if told else timedelta(0)

    # What they say.

    def _frames(self, start: int, stop: int) -> Iterator[tuple[int, Wire]]:
        """Those from the frame `start` to the frame `stop`."""
        at = start
        while 0 <= at <= stop:
            if (record := _record(self._lines.line(at))) is not None:
                yield at, record
            at = self._after(at, stop + len(self._sign))

    def _whole(self, position: int) -> int:
        """The last whole picture at or before this frame."""
        at = position
        while at >= 0:
            line = self._lines.line(at)
            if b'"whole":true' in line:
                return at
            at = self._before(at, self._start - 1)
        return self._start

    def _at(self, position: int) -> tuple[Wire, dict[str, Wire]]:
        """The frame, and every deployment as it was in it: the last whole picture and the differences since."""
        start, found = self._whole(position), dict[str, Wire]()
        if self._known is not None and start <= self._known[0] <= position:
            start, _, found = self._known
        for at, frame in self._frames(start, position):
            found = _changed(found, frame)
            self._known = at, frame, found
        if self._known is None:
            raise InvalidArgument("the recording cannot be read there", hint="wind it to another instant")
        return self._known[1], found

    def deployments(self, position: int) -> dict[str, Wire]:
        return self._at(position)[1]

    def snapshot(self, position: int) -> FleetSnapshot:
        frame, found = self._at(position)
        return FleetSnapshot.model_validate(
            {"time": frame["at"], "engine": frame["engine"], "alerts": frame.get("alerts", []), "deployments": []}
        ).model_copy(update={"deployments": [DeploymentStatus.model_validate(one) for one in found.values()]})

    # Events and nodes stand between the frames: read as far as has been looked.

    def events(self, moment: datetime) -> list[Event]:
        """Those until then, oldest first."""
        self._note(self._next(self.position(moment + LATE)))
        return [event for event in self._events if event.time <= moment]

    def nodes_at(self, position: int) -> list[NodeView]:
        stop = self._next(position)
        self._note(stop)
        known = [found for at, found in self._nodes if at < stop]
        return known[-1] if known else []

    def _next(self, position: int) -> int:
        found = self._after(position, self._lines.end)
        return found if found >= 0 else self._lines.end

    def _note(self, stop: int) -> None:
        with self._noting:  # each is noted once, whoever asks
            self._read_to(stop)

    def _read_to(self, stop: int) -> None:
        for _, record in self._between(b'"events":[', self._noted_to, stop):
            self._events += [Event.model_validate(one) for one in record["events"]]
        for at, record in self._between(b'"nodes":[', self._noted_to, stop):
            self._nodes.append((at, [NodeView.model_validate(one) for one in record["nodes"]]))
        self._noted_to = max(self._noted_to, stop)

    def _between(self, kind: bytes, start: int, stop: int) -> Iterator[tuple[int, Wire]]:
        """The lines that begin with this, and are of this context."""
        sign = b"\n" + self._begins + kind
        at = max(0, start - 1)
        while (at := self._lines.find(sign, at, stop)) >= 0:
            at += 1
            if (record := _record(self._lines.line(at))) is not None:
                yield at, record

    # Curves.

    def history(self, deployment: str, position: int, seconds: int) -> History:
        """The series over the last `seconds` before this frame, in equal steps; a gap where nothing was recorded. Where
        pictures lie between the steps, their spikes are in the steps."""
        end = self.time(position)
        step = max(1.0, seconds / MOST_SAMPLES)
        samples = max(1, round(seconds / step))
        half = timedelta(seconds=step / 2)
        moments = [end - timedelta(seconds=(samples - 1 - n) * step) for n in range(samples)]
        series: dict[str, list[float | None]] = {name: [None] * samples for name in HISTORY_SERIES}
        frame, state = -1, None
        for slot, moment in enumerate(moments):
            at = self.position(moment + half, None if frame < 0 else frame, position)
            if not moment - half < self.time(at) <= moment + half:
                continue
            state = self._state(deployment, at, frame, state)
            frame = at
            for name, value in sample(state).items() if state is not None else ():
                series[name][slot] = value
        if step > self.every.total_seconds():
            first, last = moments[0].timestamp(), end.timestamp()
            for told in self._peaks(deployment, first - step / 2, last):
                lift(series, told, first, step, last)
        return History(deployment=deployment, step_s=step, times=[one.timestamp() for one in moments], series=series)

    def _peaks(self, deployment: str, first: float, last: float) -> Iterator[Wire]:
        """What was told of its peaks between these instants, minute by minute."""
        named = json.dumps(deployment, ensure_ascii=False).encode() + b":{"
        places = [self._told_at(n) for n in range(int(first // TOLD_EVERY_S), int(last // TOLD_EVERY_S) + 1)]
        for at in sorted({place for place in places if place >= 0}):
            _, known, rest = self._lines.line(at).partition(named)
            if known and (told := _object(b"{" + rest)) is not None:
                yield told

    def _told_at(self, minute: int) -> int:
        """Where the line of this minute's peaks begins, which stands between its last frame and the next one; -1 for
        none."""
        if minute not in self._minutes:
            end = datetime.fromtimestamp((minute + 1) * TOLD_EVERY_S, UTC)
            frame = self.position(end - TICK)
            found = self._lines.find(b"\n" + self._begins + b'"peaks":{', frame, self._next(frame))
            self._minutes[minute] = found + 1 if found >= 0 else -1
        return self._minutes[minute]

    def _state(self, deployment: str, position: int, before: int, then: Wire | None) -> Wire | None:
        """One deployment as it was in this frame; `then`: as it was in the frame `before`, which is below zero for
        none. The newest frame that tells of it counts."""
        named = json.dumps(deployment, ensure_ascii=False).encode()
        at = position
        while at > before:
            line = self._lines.line(at)
            _, told, rest = line.partition(named + b":{")
            if told:
                return _object(b"{" + rest)
            if b'"whole":true' in line or (b'"gone":[' in line and named in line.rpartition(b'"gone":[')[2]):
                return None
            at = self._before(at, self._start - 1)
        return then if before >= 0 else None


def _heads(lines: Lines) -> Iterator[Wire]:
    """The first lines, one of each context. Raises InvalidArgument where the very first is none."""
    at = 0
    while at < lines.end:
        line = lines.line(at)
        record = _record(line)
        if record is None or "tape" not in record:
            break
        yield record
        at += len(line) + 1


def _record(line: bytes) -> Wire | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None  # torn by a full disk
    return record if isinstance(record, dict) else None


def _object(data: bytes) -> Wire | None:
    """The JSON object that it begins with."""
    for size in (USUAL, len(data)):
        try:
            found: Any = json.JSONDecoder().raw_decode(data[:size].decode(errors="ignore"))[0]
        except ValueError:
            continue
        return found if isinstance(found, dict) else None
    return None


def _changed(before: dict[str, Wire], frame: Wire) -> dict[str, Wire]:
    if frame.get("whole"):
        return dict(frame["deployments"])
    kept = {name: one for name, one in before.items() if name not in frame.get("gone", ())}
    return {**kept, **frame["deployments"]}
