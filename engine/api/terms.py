"""The filters of lists that the database answers: `field = value`, `!=`, and `:` (contains), joined by AND. Pure.

A part of what `engine.api.filtering` understands, so that every term is one condition of a query.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from client.errors import InvalidArgument

_TERM = re.compile(r'([A-Za-z_.]+)\s*(!=|=|:)\s*(?:"([^"]*)"|([^\s"()=]+))')
_UNSERVED = re.compile(r"(?:AND\s+)?(?:(?:OR|NOT)\b|[-(])")
_EXAMPLE = 'write field="value" AND ...'
_AND = re.compile(r"\s+AND\s+")


@dataclass(frozen=True, slots=True)
class Term:
    """`operator` is `=`, `!=` or `:`."""

    field: str
    operator: str
    value: str


def parse(filter_text: str) -> list[Term]:
    """The terms of a filter; InvalidArgument for one that cannot be read."""
    text, position = filter_text.strip(), 0
    terms: list[Term] = []
    while position < len(text):
        joint = _AND.match(text, position) if terms else None
        match = _TERM.match(text, joint.end() if joint else position)
        if match is None or (terms and joint is None):
            rest = text[position:].lstrip()
            if _UNSERVED.match(rest):
                raise InvalidArgument(
                    f"filter {rest[:80]!r} cannot be read: only AND is supported here", field="filter",
                    hint="ask once for each alternative",
                )  # fmt: skip
            raise InvalidArgument(f"filter {rest[:80]!r} cannot be read", field="filter", hint=_EXAMPLE)
        terms.append(Term(match[1], match[2], match[3] if match[3] is not None else match[4]))
        position = match.end()
    return terms
