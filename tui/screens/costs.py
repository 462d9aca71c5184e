"""What the fleet costs: by deployment, accelerator, tag, user, key, model or adapter, and by hour or day."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from client.usage_tokens_types import TokenUsage
from client.usage_types import DEPLOYMENT, TIMES, Usage
from tui.core import cost_page, spending_page
from tui.core.actions import Place
from tui.core.cost_page import Books
from tui.core.lists import Entry
from tui.keymap import bindings
from tui.screens.listing import ListScreen
from tui.screens.sides import SIDES
from tui.sources.base import FleetSource


class CostsScreen(ListScreen):
    BINDINGS = bindings("costs")

    def __init__(self, page: str) -> None:
        super().__init__(page)
        self.place: Place = "costs"
        self.by = DEPLOYMENT
        self._books: Books = {}

    @property
    def _by_time(self) -> bool:
        return self.by in TIMES

    async def ask_rows(self) -> Sequence[Entry[Any]]:
        source, by, now = self.source, self.by, self.picture.engine_now(self.deck.clock()).astimezone(UTC)
        if by in TIMES:
            found = await self._ask_times(source, by, now)
            return found if by == self.by else self.entries or ()
        spans = cost_page.spans(now)
        asked = await asyncio.gather(*(self._ask_book(source, by, *span) for span in spans.values()))
        if (by, source) != (self.by, self.source):  # an answer to a former question
            return self.entries or ()
        self._books = dict(zip(spans, asked, strict=True))
        return cost_page.rows(self._books)

    async def _ask_times(self, source: FleetSource, by: str, now: datetime) -> Sequence[Entry[Any]]:
        first = spending_page.starts(by, now)[-1]
        used, asked = await asyncio.gather(source.usage(first, now, by), source.token_usage(first, now, by))
        return spending_page.rows(by, used.rows, asked.rows, now)

    async def _ask_book(self, source: FleetSource, by: str, start: datetime, end: datetime) -> Usage | TokenUsage:
        if by in cost_page.REPLICAS:
            return await source.usage(start, end, by)
        return await source.token_usage(start, end, by)

    @property
    def keeps(self) -> bool:
        return self.by == DEPLOYMENT

    def besides(self) -> Books:
        return self._books

    def take_besides(self, kept: Books) -> None:
        self._books = kept

    def counted(self, count: int, now: datetime) -> str:
        if self._by_time:
            return f"time of replicas and tokens of requests by {self.by}"
        kind = "time of replicas" if self.by in cost_page.REPLICAS else "tokens of requests"
        return f"{kind} by {cost_page.WORDS.get(self.by, self.by)}"

    def detail(self, row: Entry[Any], now: datetime) -> tuple[str, ...]:
        if self._by_time:
            return super().detail(row, now)
        return cost_page.totals(self._books, now.astimezone(UTC)) if self._books else ()

    def action_by(self) -> None:
        self.by, self.entries, self._books = cost_page.next_grouping(self.by), None, {}
        self.side = SIDES["spending" if self._by_time else "costs"]
        self.filter_box.value = self.view.text
        self.ask_anew()
