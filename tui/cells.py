"""What the terminal shows, cell by cell: of a picture only the cells that are another than before are sent.

Textual sends every line of what was marked as changed, blanks and borders too; over SSH that is most of the traffic.
It has no way to be told otherwise: `Sparing` stands where it hands an update to the driver, as the release that the
project pins does it. A repaint of the whole screen is sent as it is, so that it mends whatever a terminal shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import repeat
from typing import TypeVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.app import App
from textual.screen import Screen
from textual.strip import Strip

NEAR = 6  # cells: to move over fewer takes more bytes than to send them once more
Cell = tuple[str, Style | None] | tuple[str, Style | None, int]  # one of a text with wide signs: its n-th cell
T = TypeVar("T")
Piece = tuple[int, int, Strip]  # line, column, what begins there


class Cells:
    """The cells of a screen as they were sent last; one that is not known is None."""

    def __init__(self) -> None:
        self._lines: dict[int, list[Cell | None]] = {}
        self._repainted: dict[int, list[Piece]] = {}  # lines of the last whole picture, read when they change

    def forget(self) -> None:
        """The terminal may show anything."""
        self._lines, self._repainted = {}, {}

    def repainted(self, update: LayoutUpdate) -> None:
        """All of the screen was sent."""
        self.forget()
        for y, strips in enumerate(update.strips, update.region.y):
            self._repainted[y] = list(_placed(y, update.region.x, strips))

    def changes(self, pieces: Iterable[Piece]) -> Iterator[tuple[int, int, Sequence[Cell]]]:
        """Line, column and cells of each run that is another than what was sent; from now on it was."""
        for y, x, strip in pieces:
            line, new = self._line(y), cells(strip)
            line += repeat(None, x + len(new) - len(line))
            for start, end in runs(line[x : x + len(new)], new):
                yield y, x + start, new[start:end]
            line[x : x + len(new)] = new

    def _line(self, y: int) -> list[Cell | None]:
        if y not in self._lines:
            line = self._lines[y] = []
            for _, x, strip in self._repainted.pop(y, ()):
                line += repeat(None, x - len(line))
                line += cells(strip)
        return self._lines[y]


def _placed(y: int, x: int, strips: Iterable[Strip]) -> Iterator[Piece]:
    for strip in strips:
        yield y, x, strip
        x += strip.cell_length


def pieces_of(update: ChopsUpdate) -> Iterator[Piece]:
    """What of each line is to be shown anew."""
    for y, left, right in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is not None and x < right and end > left:
                yield y, x, strip if end <= right else strip.crop(0, right - x)


def cells(strip: Strip) -> list[Cell]:
    found: list[Cell] = []
    for text, style, _ in strip:
        if one_cell_each(text):
            found += zip(text, repeat(style))
        else:
            found += [(text, style, n) for n in range(cell_len(text))]
    return found


@lru_cache(maxsize=4096)
def one_cell_each(text: str) -> bool:
    return text.isascii() or all(cell_len(sign) == 1 for sign in text)


def runs(old: Sequence[Cell | None], new: Sequence[Cell]) -> list[tuple[int, int]]:
    """Where `new` differs, from and up to; what lies between two of them is sent with them where it is short."""
    found: list[tuple[int, int]] = []
    for n, (before, after) in enumerate(zip(old, new, strict=True)):
        if before == after:
            continue
        start, end = _whole(new, n)
        if found and start - found[-1][1] <= NEAR:
            start, end = min(found[-1][0], start), max(found.pop()[1], end)
        found.append((start, end))
    return found


def _whole(line: Sequence[Cell], at: int) -> tuple[int, int]:
    """A text with wide signs is sent as one: nobody knows which of its signs stands in which cell."""
    cell = line[at]
    if len(cell) == 2:
        return at, at + 1
    return at - cell[2], at - cell[2] + cell_len(cell[0])


def rendered(changes: Iterable[tuple[int, int, Sequence[Cell]]], console: Console) -> str:
    """The bytes of these runs; a style is told once for all cells that follow each other in it, wherever they are."""
    segments: list[tuple[list[str], Style | None]] = []
    for y, x, run in changes:
        move = f"\x1b[{y + 1};{x + 1}H"
        for cell in run:
            if len(cell) == 3 and cell[2]:
                continue
            if not segments or segments[-1][1] != cell[1]:
                segments.append(([], cell[1]))
            segments[-1][0].append(move + cell[0])
            move = ""
    return Strip([Segment("".join(texts), style) for texts, style in segments]).render(console)


class Spared(CompositorUpdate):
    """An update of which only the cells that changed are sent."""

    def __init__(self, update: ChopsUpdate | LayoutUpdate, shown: Cells) -> None:
        self._update, self._shown = update, shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._update

    def render_segments(self, console: Console) -> str:
        if isinstance(self._update, LayoutUpdate):
            self._shown.repainted(self._update)
            return self._update.render_segments(console)
        return rendered(self._shown.changes(pieces_of(self._update)), console)


class Sparing(App[T], inherit_bindings=False):
    """An app that sends the cells that changed."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = Cells()

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        if isinstance(renderable, ChopsUpdate | LayoutUpdate):
            renderable = Spared(renderable, self.shown)
        super()._display(screen, renderable)
