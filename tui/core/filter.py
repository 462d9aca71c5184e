"""Which rows are shown and in which order. Pure: rows in, rows out.

A filter is words, all of which must match: `chat` looks at id, model, account and state; `state:ready`,
`model:smol`, `id:chat` at one of them; `!word` turns a word around. Case does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tui.core.snapshot import Row

SortKey = Callable[[Row], tuple[object, ...]]
_FIELDS = ("id", "model", "account", "state")


def _known(value: float | None) -> tuple[bool, float]:
    """Descending by value, the unknown last."""
    return (value is None, -(value or 0.0))


SORTS: dict[str, SortKey] = {
    "id": lambda row: (row.id, row.account),
    "state": lambda row: (row.look.rank, row.id),
    "replicas": lambda row: (_known(row.ready), row.id),
    "rps": lambda row: (_known(row.rps), row.id),
    "queue": lambda row: (_known(row.queue), row.id),
    "ttft": lambda row: (_known(row.ttft_p95_ms), row.id),
    "tps": lambda row: (_known(row.tps), row.id),
}


def next_sort(current: str) -> str:
    names = list(SORTS)
    return names[(names.index(current) + 1) % len(names)]


def select(rows: Iterable[Row], text: str = "", sort: str = "id", *, show_deleted: bool = False) -> tuple[Row, ...]:
    kept = [row for row in rows if (show_deleted or not row.deleted) and matches(row, text)]
    return tuple(sorted(kept, key=SORTS[sort]))


def matches(row: Row, text: str) -> bool:
    return all(_word_matches(row, word) for word in text.lower().split())


def _word_matches(row: Row, word: str) -> bool:
    if word.startswith("!"):
        return len(word) == 1 or not _word_matches(row, word[1:])
    field, colon, wanted = word.partition(":")
    fields = (field,) if colon and field in _FIELDS else _FIELDS
    wanted = wanted if colon and field in _FIELDS else word
    haystack = {"id": row.id, "model": row.model, "account": row.account, "state": row.look.word}
    return any(wanted in haystack[name].lower() for name in fields)
