"""What is sent to the terminal: the cells that changed, and the screen that comes of them is the one that was meant."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from tui.cells import Cells, Piece, rendered

WIDTH = 24
STYLES = [None, Style(color="red"), Style(bold=True), Style(color="red", link="https://example.com")]
CONSOLE = Console(force_terminal=True, color_system="standard")
_SENT = re.compile(r"\x1b\[(\d+);(\d+)H|\x1b\[([\d;]*)m|\x1b\]8;[^\x1b]*\x1b\\|([^\x1b])")

TEXTS = st.text(alphabet="ab ─▄é漢字👍", max_size=8)
STRIPS = st.lists(st.tuples(TEXTS, st.sampled_from(STYLES)), max_size=5).map(
    lambda found: Strip([Segment(text, style) for text, style in found]).adjust_cell_length(WIDTH)
)
PIECES = st.tuples(st.integers(0, 2), st.integers(0, WIDTH - 1), STRIPS).map(
    lambda one: (one[0], one[1], one[2].crop(0, WIDTH - one[1]))
)


class Screen:
    """A terminal, as far as these bytes go: a sign and its colours in each cell."""

    def __init__(self) -> None:
        self.cells = {(y, x): (" ", "") for y in range(3) for x in range(WIDTH)}
        self._at, self._colours = (0, 0), ""

    def take(self, sent: str) -> None:
        for row, column, colours, sign in _SENT.findall(sent):
            if row:
                self._at = int(row) - 1, int(column) - 1
            elif sign:
                self._put(sign)
            elif colours:
                self._colours = colours.removeprefix("0")

    def _put(self, sign: str) -> None:
        (y, x), wide = self._at, cell_len(sign)
        for n in range(wide):
            self.cells[y, x + n] = (sign if not n else "", self._colours)
        self._at = y, x + wide


def _shown(pieces: list[Piece]) -> Screen:
    """All of them sent whole, one after the other."""
    screen = Screen()
    for y, x, strip in pieces:
        screen.take(f"\x1b[{y + 1};{x + 1}H" + strip.render(CONSOLE))
    return screen


@given(st.lists(STRIPS, min_size=3, max_size=3), st.lists(st.lists(PIECES, max_size=4), max_size=4))
def test_the_screen_is_the_same_as_if_every_line_had_been_sent_whole(
    first: list[Strip], updates: list[list[Piece]]
) -> None:
    shown, screen = Cells(), Screen()
    layout = LayoutUpdate([[strip] for strip in first], Region(0, 0, WIDTH, 3))
    shown.repainted(layout)
    screen.take(layout.render_segments(CONSOLE).replace("\n", ""))
    meant = [(y, 0, strip) for y, strip in enumerate(first)]
    for update in updates:
        screen.take(rendered(shown.changes(update), CONSOLE))
        meant += update
    assert screen.cells == _shown(meant).cells


def test_nothing_is_sent_of_a_line_that_is_as_it_was() -> None:
    shown, line = Cells(), Strip([Segment("12 requests", STYLES[1]), Segment("漢字")])
    assert rendered(shown.changes([(0, 0, line)]), CONSOLE)
    assert rendered(shown.changes([(0, 0, line)]), CONSOLE) == ""


def test_of_a_changed_line_the_cells_that_changed_are_sent_alone() -> None:
    shown = Cells()
    list(shown.changes([(4, 10, Strip([Segment("requests  12 a second")]))]))
    changes = shown.changes([(4, 10, Strip([Segment("requests  15 a second")]))])
    assert rendered(changes, CONSOLE) == "\x1b[5;22H5"


def test_a_style_is_told_once_for_cells_in_two_places() -> None:
    shown = Cells()
    sent = rendered(shown.changes([(n, 0, Strip([Segment("12", STYLES[1])])) for n in range(2)]), CONSOLE)
    assert sent == "\x1b[31m\x1b[1;1H12\x1b[2;1H12\x1b[0m"


def test_after_a_terminal_was_given_back_all_that_is_drawn_is_sent_again() -> None:
    shown, line = Cells(), Strip([Segment("12 requests")])
    list(shown.changes([(0, 0, line)]))
    shown.forget()
    assert "12 requests" in rendered(shown.changes([(0, 0, line)]), CONSOLE)
