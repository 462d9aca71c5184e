"""Adapters by deployments; an adapter is loaded onto a deployment from here, and taken off."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from client.types import Deployment
from client.usage_tokens_types import TokenRow
from tui.core import adapter_plan, matrix_page
from tui.core.actions import Place
from tui.core.lists import Entry
from tui.core.matrix_page import Adapter
from tui.keymap import bindings
from tui.screens.adapters import LoadDialog, UnloadDialog
from tui.screens.listing import ListScreen
from tui.sources.base import FleetSource


class MatrixScreen(ListScreen):
    """Its columns are the deployments that take adapters: they come and go with them."""

    BINDINGS = bindings("matrix")

    def __init__(self, page: str) -> None:
        super().__init__(page)
        self.place: Place = "matrix"
        self._deployments: tuple[Deployment, ...] = ()

    async def ask_rows(self) -> Sequence[Entry[Any]]:
        source, context, now = self.source, self.context, self.picture.engine_now(self.deck.clock())
        models, loaded, (asked, seconds) = await asyncio.gather(
            source.models(), source.deployed_models(), self._asked(source, now)
        )
        if context != self.context:  # its columns would be another's
            return ()
        adapters = matrix_page.placed(self.picture, loaded)
        self.take_besides(matrix_page.takers(self.picture, adapters))
        return matrix_page.rows(models, adapters, asked, seconds, self._deployments)

    def besides(self) -> tuple[Deployment, ...]:
        return self._deployments

    def take_besides(self, kept: tuple[Deployment, ...]) -> None:
        """The columns are theirs."""
        self._deployments = kept
        self.side = replace(self.side, listing=matrix_page.listing(kept))

    async def _asked(self, source: FleetSource, now: datetime) -> tuple[list[TokenRow], float]:
        """What was asked of each adapter lately, and in how many seconds; in none where nobody counts that."""
        if "costs" in source.facts.lacks:
            return [], 0.0
        usage = await source.token_usage(now - matrix_page.OVER, now, "deployment,adapter")
        return usage.rows, (usage.end_time - usage.start_time).total_seconds()

    def counted(self, count: int, now: datetime) -> str:
        return matrix_page.told(count, len(self._deployments))

    def action_load(self) -> None:
        """Where it is loaded is asked in the dialog; the first deployment that could have it is offered."""
        if (adapter := self._meant("load")) is not None:
            may = [name for name, cell in adapter.cells.items() if cell.one is None and cell.may]
            self.app.push_screen(LoadDialog(adapter, may[0].rpartition("/")[2] if may else "", self.context))

    def action_unload(self) -> None:
        """Of several deployments that have it the dialog asks which."""
        if (adapter := self._meant("unload")) is None:
            return
        there = {
            name.rpartition("/")[2]: adapter_plan.unload(cell.one, cell.rate)
            for name, cell in adapter.cells.items()
            if cell.one is not None
        }
        if there:
            self.app.push_screen(UnloadDialog(there))
        else:
            self.notify("it is on no deployment", severity="warning")

    def _meant(self, verb: str) -> Adapter | None:
        row = self.chosen()
        if self.deck.refuses(verb):
            return None
        if row is None:
            self.notify("choose an adapter first", severity="warning")
            return None
        self.table.pin()
        adapter: Adapter = row.what
        return adapter
