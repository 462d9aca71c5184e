"""Which deployments are shown and in which order. Pure: rows in, rows out; `tui.core.query` has the language.

A word without a column looks at id, model, account and state.
"""

from __future__ import annotations

from collections.abc import Iterable

from tui.core import query
from tui.core.columns import FLEET, Column
from tui.core.query import View
from tui.core.snapshot import Row

FIRST = View(sort="id")
_ACCOUNT: Column[Row] = Column("account", "ACCOUNT", lambda row: row.account, 9, 8, 20, "left")
FIELDS = (*FLEET, _ACCOUNT)


def select(rows: Iterable[Row], view: View = FIRST, *, show_deleted: bool = False) -> tuple[Row, ...]:
    """Rows that are alike in what they are sorted by stand in the order of their ids."""
    kept = sorted((row for row in rows if show_deleted or not row.deleted), key=lambda row: (row.id, row.account))
    return query.select(kept, FIELDS, view, words)


def words(row: Row) -> str:
    return f"{row.id} {row.model} {row.account} {row.look.word}".lower()
