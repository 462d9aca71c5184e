"""What the fleet costs: by deployment, accelerator, tag, user, key, model or adapter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from client.usage_tokens_types import TokenUsage
from client.usage_types import DEPLOYMENT, Usage
from tui.core import cost_page
from tui.core.actions import Place
from tui.core.cost_page import Books, Cost
from tui.core.lists import Entry
from tui.keymap import bindings
from tui.screens.listing import ListScreen


class CostsScreen(ListScreen):
    BINDINGS = bindings("costs")

    def __init__(self, page: str) -> None:
        super().__init__(page)
        self.place: Place = "costs"
        self.by = DEPLOYMENT
        self._books: Books = {}

    async def ask_rows(self) -> Sequence[Entry[Any]]:
        by, now = self.by, self.picture.engine_now(self.deck.clock()).astimezone(UTC)
        spans = cost_page.spans(now)
        asked = await asyncio.gather(*(self._ask_book(by, *span) for span in spans.values()))
        if by != self.by:  # an answer to a former question
            return self.entries or ()
        self._books = dict(zip(spans, asked, strict=True))
        return cost_page.rows(self._books)

    async def _ask_book(self, by: str, start: datetime, end: datetime) -> Usage | TokenUsage:
        source = self.deck.source
        if by in cost_page.REPLICAS:
            return await source.usage(start, end, by)
        return await source.token_usage(start, end, by)

    def counted(self, count: int, now: datetime) -> str:
        kind = "time of replicas" if self.by in cost_page.REPLICAS else "tokens of requests"
        return f"{kind} by {cost_page.WORDS.get(self.by, self.by)}"

    def detail(self, row: Entry[Cost], now: datetime) -> tuple[str, ...]:
        return cost_page.totals(self._books, now.astimezone(UTC)) if self._books else ()

    def action_by(self) -> None:
        self.by, self.entries, self._books = cost_page.next_grouping(self.by), None, {}
        self.ask_anew()
