"""The fleet as a table: one deployment a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from rich.style import Style

from tui.core import units
from tui.core.columns import FLEET, Column
from tui.core.grouping import GROUP
from tui.core.row import Row
from tui.widgets.keyed_table import KeyedTable
from tui.widgets.paint import tone_style

FEW = 1000  # rows that were seen: more are forgotten


class FleetTable(KeyedTable[Row]):
    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__([column for column in FLEET if not column.optional], sort="id", id=id)
        self.colours: Mapping[str, str] = {}  # tones of contexts, by their names
        self.trend_of: Callable[[str], tuple[float | None, ...]] = lambda name: ()
        self._wholes: dict[str, Row] = {}

    def whole(self, row: Row) -> Row:
        """With its trend; what sums up a group has none. The last one is kept: what it has worked out with it."""
        if row.state == GROUP:
            return row
        trend, known = self.trend_of(row.name), self._wholes.get(row.name)
        if known is None or known.trend != trend or not known.of_the_same(row):
            known = self._wholes[row.name] = replace(row, trend=trend)
        return known

    def show(self, rows: tuple[Row, ...], sort: str = "", *, reverse: bool = False, stale: bool = False) -> None:
        if len(self._wholes) > FEW:
            self._wholes = {}
        super().show(rows, sort, reverse=reverse, stale=stale)

    def style_of(self, column: Column[Row], row: Row, chosen: bool) -> Style:
        """Rows of a context that is silent recede, but for the word that says so."""
        if row.stale and column.key == "context":
            return tone_style(self, "attention") + Style(bold=True)
        return tone_style(self, "dim") if row.stale else super().style_of(column, row, chosen)

    def cell_style(self, column: Column[Row], row: Row, chosen: bool) -> Style:
        if column.key == "context" and self.colours.get(row.context):
            return tone_style(self, self.colours[row.context]) + Style(bold=True)
        if column.key == "id" or row.state == GROUP:
            return Style(bold=True)
        if column.key == "trend":
            return tone_style(self, "working")
        quiet = column.key in ("model", "why", "limits") or column.cell(row) in (*units.NOTHING_KNOWN, "0")
        return tone_style(self, "dim") if quiet and not chosen else Style()
