"""The fleet as those who watch it get it: one snapshot, written once, for all watchers of an account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from engine.fleet import views
from engine.fleet.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Frame:
    """A server-sent event, and when it was made (monotonic)."""

    event: bytes
    made_at: float


class Frames:
    """The last frame of each account; None is the key of all accounts together."""

    def __init__(self) -> None:
        self._frames: dict[str | None, Frame] = {}

    def latest(self, fleet: Fleet, started_at: datetime, account: str | None, max_age_s: float) -> bytes:
        """A FleetSnapshot as an event, made no longer ago than `max_age_s`."""
        clock, frame = fleet.rooms.clock, self._frames.get(account)
        if frame is None or clock.monotonic() - frame.made_at > max_age_s:
            shown = views.snapshot(fleet, started_at, account)
            text = shown.model_dump_json(by_alias=True, exclude_none=True)
            frame = self._frames[account] = Frame(f"data: {text}\n\n".encode(), clock.monotonic())
        return frame.event
