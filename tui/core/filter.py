"""Which deployments are shown and in which order. Pure: rows in, rows out; `tui.core.query` has the language.

A word without a column looks at id, model, account, state, and context where there are several.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tui.core import query
from tui.core.columns import SEVERAL
from tui.core.query import View
from tui.core.row import Row
from tui.core.snapshot import changed

FIRST = View(sort="id")


class Ordered:
    """Rows by their ids, sorted anew only when others came or went: figures change far more often."""

    def __init__(self) -> None:
        self._rows: Sequence[Row] = ()
        self._places: list[int] = []
        self._deleted = False

    def take(self, rows: Sequence[Row], *, show_deleted: bool) -> list[Row]:
        if self._deleted != show_deleted or not _same_ones(self._rows, rows):
            kept = (n for n, row in enumerate(rows) if show_deleted or not row.deleted)
            self._places = sorted(kept, key=lambda n: (rows[n].id, rows[n].account, rows[n].context))
        self._rows, self._deleted = rows, show_deleted
        return list(map(rows.__getitem__, self._places))


def _same_ones(before: Sequence[Row], after: Sequence[Row]) -> bool:
    if len(before) != len(after):
        return False
    return all(before[n].same_one(after[n]) for n in changed(before, after))


def select(
    rows: Iterable[Row], view: View = FIRST, *, show_deleted: bool = False, ordered: Ordered | None = None
) -> tuple[Row, ...]:
    """Rows that are alike in what they are sorted by stand in the order of their ids. `ordered` is kept by who asks
    again and again."""
    kept = (ordered or Ordered()).take(rows if isinstance(rows, tuple) else tuple(rows), show_deleted=show_deleted)
    if view.sort == FIRST.sort:
        return query.select(reversed(kept) if view.reverse else kept, SEVERAL, replace(view, sort=""), words)
    return query.select(kept, SEVERAL, view, words)


def words(row: Row) -> str:
    return f"{row.id} {row.model} {row.account} {row.look.word} {row.context}".lower()
