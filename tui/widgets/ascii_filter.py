"""`--ascii`: the last step of drawing, so that what Textual draws itself (frames, arrows, ellipses) is ASCII too."""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from tui.core import units


class AsciiFilter(LineFilter):
    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment
            if segment.text.isascii()
            else Segment(units.only_ascii(segment.text), segment.style, segment.control)
            for segment in segments
        ]
