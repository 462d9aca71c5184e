"""What requests used, by whom they were made and for what: the sums that the tally of requests keeps. Pure.

    data   Payer      one combination of account, user, key, deployment, model, adapter, tags and guard
           Spent      sums over its requests; a charge is whole units of 1e-10 US dollars, so that sums are exact
    verbs  tags_of    the tags of a request's `metadata`, within bounds
           charge     what tokens cost at a price
           grouped    sums of groups
    near   `engine.telemetry.tally` keeps the sums, `engine.api.usage_tokens` shows them

Tags are short names for attribution and are kept; prose has no place in them. Of a request's `metadata` the first eight
names count, in alphabetical order; a value that is no such word is told as OTHER, and so are all tags of a
request that would be one combination too many.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, fields
from typing import TypeVar

from engine.control.price import TokenPrice

TAGS_MAX = 8  # of one request
COMBINATIONS_MAX = 1000  # of tags, of one account in a month
OTHER = "(other)"
MANY = json.dumps({OTHER: OTHER})  # the tags of a request whose combination is one too many
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}", re.ASCII)
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@+-]{0,63}", re.ASCII)

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Payer:
    """Whose requests, and to what; names in full, "" for none. `tags`: JSON of a map, in alphabetical order; `guard`: a
    guard's own requests to its model, made for somebody's request, whose user, key and tags these have."""

    account: str
    user: str
    key: str
    deployment: str
    model: str
    adapter: str = ""
    tags: str = ""
    simulated: bool = False
    guard: str = ""


@dataclass(slots=True)
class Spent:
    """Sums over requests. `failed`: those that were refused or ended by an error; `accepted` and `rejected` are tokens
    that were drafted; `unpriced` requests have no price for their tokens."""

    requests: int = 0
    failed: int = 0
    prompt: int = 0
    cached: int = 0
    generated: int = 0
    accepted: int = 0
    rejected: int = 0
    unpriced: int = 0
    charge: int = 0

    def add(self, other: Spent) -> None:
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


SUMS = tuple(field.name for field in fields(Spent))


def tags_of(metadata: object) -> str:
    """The tags of a request's `metadata` as `Payer.tags`; what is no map has none."""
    if not isinstance(metadata, dict) or not metadata:
        return ""
    names = sorted(name for name in metadata if isinstance(name, str) and _NAME.fullmatch(name))[:TAGS_MAX]
    tags = {name: _value(metadata[name]) for name in names}
    return json.dumps(tags) if tags else ""


def _value(given: object) -> str:
    return given if isinstance(given, str) and _VALUE.fullmatch(given) else OTHER


def charge(price: TokenPrice | None, prompt: int, cached: int, generated: int) -> int:
    """Units of 1e-10 US dollars; no more tokens are cached than the prompt has."""
    if price is None:
        return 0
    cached = min(cached, prompt)
    return (prompt - cached) * price.prompt + cached * price.cached + generated * price.generated


def grouped(found: Iterable[tuple[K, Spent]]) -> dict[K, Spent]:
    """The sums of each group."""
    groups: dict[K, Spent] = {}
    for key, spent in found:
        groups.setdefault(key, Spent()).add(spent)
    return groups
