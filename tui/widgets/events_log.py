"""The last events, newest first; warnings are marked with a sign, not by colour alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.core import units
from tui.core.placed import short
from tui.widgets.paint import TONE_CLASSES, drawn, tone_style, within

if TYPE_CHECKING:
    from client.fleet_types import Event


class EventsLog(ScrollView, can_focus=True, inherit_bindings=False):
    COMPONENT_CLASSES = set(TONE_CLASSES)
    BINDINGS = [
        Binding("up,k", "scroll_up", "up", show=False, id="events.up", tooltip="Newer events"),
        Binding("down,j", "scroll_down", "down", show=False, id="events.down", tooltip="Older events"),
        Binding("pageup", "page_up", "page up", show=False, id="events.page_up", tooltip="A page of newer events"),
        Binding("pagedown", "page_down", "page down", show=False, id="events.page_down", tooltip="Older events"),
    ]

    def __init__(self, *, id: str | None = None, of_one: bool = False) -> None:  # noqa: A002
        super().__init__(id=id)
        self.border_title = "events"
        self._of_one = of_one
        self._events: tuple[Event, ...] = ()
        self._note = "asking"

    def show(self, events: list[Event] | None, note: str = "") -> None:
        """None keeps what is there; `note` says why it could not be renewed."""
        newest_first = self._events if events is None else tuple(reversed(events))
        self.border_title = drawn(self, f"events, not renewed: {note}" if note and newest_first else "events")
        if (newest_first, note) != (self._events, self._note):
            self._events, self._note = newest_first, note
            self.virtual_size = Size(self.size.width, len(newest_first))
            self.refresh()

    def render_line(self, y: int) -> Strip:
        base, width = self.rich_style, self.size.width
        index = y + self.scroll_offset.y
        room = self.scrollable_content_region.width  # what the scroll bar leaves
        empty = (self._note or "no events yet") if index == 0 else ""
        segments = [Segment(drawn(self, empty), base + tone_style(self, "dim"))]
        if index < len(self._events):
            segments = self._event_line(self._events[index], base)
        return within(segments, room).adjust_cell_length(width, base)

    def _event_line(self, event: Event, base: Style) -> list[Segment]:
        warns = event.kind == "Warning"
        tone = base + tone_style(self, "attention" if warns else "healthy")
        dim = base + tone_style(self, "dim")
        who = "" if self._of_one else units.fitted(short(event.deployment), 14) + " "
        return [
            Segment(f"{units.clock(event.time)} ", dim),
            Segment(drawn(self, "⚠ " if warns else "· "), tone),
            Segment(who, base + Style(bold=True)),
            Segment(units.fitted(event.reason, 17) + " ", tone),
            Segment(drawn(self, event.message), base),
        ]
