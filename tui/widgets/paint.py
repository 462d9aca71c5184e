"""How tones become styles: for widgets that draw lines themselves, and for those made of text pieces."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from tui.core import units
from tui.core.series import Symbols
from tui.core.states import TONES, Tone

TONE_CLASSES = frozenset(f"tone--{name}" for name in (*TONES, "dim", "head", "cursor", "rule"))
SERIES_TONES: tuple[Tone, ...] = ("healthy", "attention", "working", "neutral")

Piece = str | tuple[str, str]


def tone(name: str, *, bold: bool = False) -> str:
    """A tone as a style of text pieces."""
    return f"{'bold ' if bold else ''}$tone-{name}"


def as_of(moment: datetime | None, age: str) -> list[Piece]:
    """`▲ as of 12:00:05, 8s ago`, of rows that are not renewed; nothing while `age` is empty."""
    seen = units.clock(moment) if moment else ""
    return [(f"  ▲ as of {seen}, {age} ago", tone("attention", bold=True))] if age else []


def is_ascii(widget: Widget) -> bool:
    return widget.app.has_class("-ascii")


def symbols(widget: Widget) -> Symbols:
    """What curves are drawn with: blocks are in every font, braille is finer, ASCII for the rest."""
    return "ascii" if is_ascii(widget) else "braille" if widget.app.has_class("-braille") else "block"


def drawn(widget: Widget, text: str) -> str:
    """`text` as this terminal may show it."""
    return units.to_ascii(text) if is_ascii(widget) else text


def tone_style(widget: Widget, name: str) -> Style:
    """The foreground of a tone, for `render_line`; the widget must list TONE_CLASSES among its component classes."""
    return widget.get_component_rich_style(f"tone--{name}", partial=True)


def within(segments: Iterable[Segment], width: int) -> Strip:
    """One line of at most `width` cells, for `render_line`: what has no room in it ends in an ellipsis."""
    whole = Strip(segments)
    if not whole.crop(width).text.strip():
        return whole.crop(0, width)
    kept = list(whole.crop(0, width - 1))
    return Strip([*kept, Segment("…", kept[-1].style if kept else None)])


class Text(Static):
    """Lines of pieces; redraws only when they differ."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__("", id=id, classes=classes, markup=False)
        self._pieces: tuple[tuple[Piece, ...], ...] = ()

    def show(self, *lines: Iterable[Piece]) -> None:
        pieces = tuple(tuple(line) for line in lines)
        if pieces != self._pieces:
            self._pieces = pieces
            before = self._wanted()
            self.update(Content("\n").join([self._line(line) for line in pieces]), layout=False)
            if before is None or self._wanted() != before:
                self.refresh(layout=True)  # all of the screen is placed and painted anew: not for every new figure

    def _wanted(self) -> int | None:
        """How many lines it would fill; None while it has no room of its own, or as much as its words take."""
        wide = self.styles.width
        if not self.size.width or (wide is not None and wide.is_auto):
            return None
        return self.visual.get_height(self.styles.get_rules(), self.size.width)

    def render_line(self, y: int) -> Strip:
        """As Textual draws it; where there are more lines than rows the last row ends in an ellipsis."""
        strip, (width, height) = super().render_line(y), self.size
        if y != height - 1 or not width or self.visual.get_height(self.styles.get_rules(), width) <= height:
            return strip
        at = min(units.width(strip.text.rstrip()), width - 1)  # behind its last word, or in its last cell
        style = next(iter(strip.crop(at, at + 1)), Segment("")).style
        return Strip([*strip.crop(0, at), Segment("…", style), *strip.crop(at + 1)])

    def _line(self, pieces: tuple[Piece, ...]) -> Content:
        return Content.assemble(*(drawn(self, p) if isinstance(p, str) else (drawn(self, p[0]), p[1]) for p in pieces))
