"""Which deployments are shown and in which order. Pure: rows in, rows out; `tui.core.query` has the language.

A word without a column looks at id, model, account, state, and context where there are several.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tui.core import query
from tui.core.columns import SEVERAL
from tui.core.query import View
from tui.core.snapshot import Row

FIRST = View(sort="id")


def select(rows: Iterable[Row], view: View = FIRST, *, show_deleted: bool = False) -> tuple[Row, ...]:
    """Rows that are alike in what they are sorted by stand in the order of their ids."""
    kept = sorted(
        (row for row in rows if show_deleted or not row.deleted), key=lambda row: (row.id, row.account, row.context)
    )
    if view.sort == FIRST.sort:
        return query.select(reversed(kept) if view.reverse else kept, SEVERAL, replace(view, sort=""), words)
    return query.select(kept, SEVERAL, view, words)


def words(row: Row) -> str:
    return f"{row.id} {row.model} {row.account} {row.look.word} {row.context}".lower()
