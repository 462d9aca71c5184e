"""`/firedeck/v1/accounts/{account}/usage:tokens`: what requests used, by any of what they are attributed by."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from client.access_types import ADMIN
from client.errors import InvalidArgument
from client.usage_tokens_types import DIMENSIONS, TAG, TokenRow, TokenSums, TokenUsage
from client.usage_types import TIMES
from engine.api.common import Caller, HouseDep, shown
from engine.api.filtering import compiled
from engine.api.span import EndTime, Span, StartTime, check_times, moment, span_ms, span_of
from engine.control.price import TOKEN_UNITS
from engine.control.tokens import Payer, Spent, grouped
from engine.keys import Principal

router = APIRouter(tags=["firedeck"])

DEFAULT_GROUPING = "deployment"
GROUPINGS_MAX = 8
_TAG_NAME = re.compile(r"[A-Za-z(][A-Za-z0-9_.()-]{0,31}", re.ASCII)
_WORDS = {
    "requests": "requests", "failed": "failed_requests", "prompt": "prompt_tokens", "cached": "cached_prompt_tokens",
    "generated": "generated_tokens", "accepted": "accepted_draft_tokens", "rejected": "rejected_draft_tokens",
    "unpriced": "unpriced_requests",
}  # fmt: skip
_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}

Key = tuple[tuple[str, str], ...]  # (dimension, value)


@router.get("/firedeck/v1/accounts/{account}/usage:tokens", response_model=TokenUsage, responses=_CSV)
async def usage_tokens(
    account: str,
    house: HouseDep,
    caller: Caller,
    start: StartTime = None,
    end: EndTime = None,
    group_by: Annotated[
        str,
        Query(
            alias="groupBy",
            description=f"joined by commas: {', '.join(DIMENSIONS)}, tag:NAME, and one of {', '.join(TIMES)};"
            " nothing: no rows",
        ),
    ] = DEFAULT_GROUPING,
    filter_text: Annotated[
        str, Query(alias="filter", description='AIP-160, as: deployment="*/chat" AND tags.team=search')
    ] = "",
    form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
) -> Response:
    """Requests, tokens and their cost. Tags are those of the requests' `metadata`: the first eight names by the
    alphabet, of letters, digits, `_`, `.` and `-`, at most 32 long; values are words of at most 64 characters, others
    are told as `(other)`, as are all tags beyond a thousand combinations a month."""
    by, wanted = _dimensions(group_by), compiled(filter_text, TokenRow)
    now_ms = house.ledger.now_ms()
    asked = span_of(start, end, now_ms, end_default_ms=now_ms + 1)  # with a minute that begins just now
    span = Span(*map(house.tally.whole, asked))
    per_ms = span_ms(by)
    sums = await house.tally.usage(account, *span, per_ms)
    seen = [(at, _as_seen(payer, caller), spent) for at, payer, spent in sums]
    every = (*DIMENSIONS, *by)
    taken = [
        (_key(at, payer, by), spent)
        for at, payer, spent in seen
        if wanted is None or wanted(_row(_key(at, payer, every)))
    ]
    groups = grouped(taken)
    rows = [_row(key, spent) for key, spent in sorted(groups.items())] if by else []
    total = TokenSums(**_wire(grouped((0, spent) for _, spent in taken).get(0, Spent())))
    if form == "csv":
        return Response(_csv(by, groups), media_type="text/csv")
    ended = asked.end if end is None and span.start_ms <= asked.end_ms else span.end
    return shown(TokenUsage(start_time=span.start, end_time=ended, group_by=list(by), rows=rows, total=total))


def _dimensions(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in (*DIMENSIONS, *TIMES) and not (
            name.startswith(TAG) and _TAG_NAME.fullmatch(name.removeprefix(TAG))
        ):
            known = ", ".join((*DIMENSIONS, *TIMES, f"{TAG}NAME"))
            raise InvalidArgument(f"usage has no dimension {name[:40]!r}", field="groupBy", hint=f"there are {known}")
    if len(names) > GROUPINGS_MAX:
        raise InvalidArgument(f"usage is grouped by at most {GROUPINGS_MAX}", field="groupBy", hint="name fewer")
    check_times(names)
    return tuple(dict.fromkeys(names))


def _as_seen(payer: Payer, caller: Principal) -> Payer:
    """Ids of keys are their users' and the admins' to see."""
    return payer if caller.role == ADMIN or payer.user == caller.user else replace(payer, key="")


def _key(at_ms: int, payer: Payer, by: tuple[str, ...]) -> Key:
    tags = json.loads(payer.tags) if payer.tags and any(name.startswith("tag") for name in by) else {}

    def value(name: str) -> str:
        if name in TIMES:
            return f"{moment(at_ms):%Y-%m-%dT%H:%M:%SZ}"
        return tags.get(name.removeprefix(TAG), "") if name.startswith(TAG) else str(getattr(payer, name))

    values = {name: value(name) for name in by}
    return (*values.items(), *((("simulated", "true"),) if payer.simulated else ()))


def _row(key: Key, spent: Spent | None = None) -> TokenRow:
    named: dict[str, Any] = {
        "time" if name in TIMES else name: value for name, value in key if value and not name.startswith("tag")
    }
    tags = {name.removeprefix(TAG): value for name, value in key if value and name.startswith(TAG)}
    tags |= json.loads(dict(key).get("tags") or "{}")
    return TokenRow(**named, tags=tags or None, **(_wire(spent) if spent else {}))


def _wire(spent: Spent) -> dict[str, Any]:
    priced = spent.requests > spent.unpriced
    cost = round(spent.charge / TOKEN_UNITS, 10) if priced else None
    return {word: getattr(spent, name) for name, word in _WORDS.items()} | {"cost_usd": cost}


def _csv(by: tuple[str, ...], groups: dict[Key, Spent]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([*by, "simulated", *_WORDS.values(), "cost_usd"])
    for key, spent in sorted(groups.items()):
        values, wire = dict(key), _wire(spent)
        cost = wire.pop("cost_usd")
        writer.writerow(
            [*(values[name] for name in by), values.get("simulated", "false"), *wire.values(),
             "" if cost is None else f"{cost:.10f}"]
        )  # fmt: skip
    return out.getvalue()
