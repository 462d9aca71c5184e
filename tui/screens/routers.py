"""The routers: what each target gets, the shift that goes on with its verdicts; shifts are begun and rolled back."""

from __future__ import annotations

from datetime import datetime

from client.router_types import Router
from tui.core import router_page
from tui.core.actions import Place
from tui.core.lists import Entry
from tui.keymap import bindings
from tui.screens.listing import ListScreen
from tui.screens.shifts import RouterDialog, ShiftDialog


class RoutersScreen(ListScreen):
    BINDINGS = bindings("routers")

    def __init__(self, page: str) -> None:
        super().__init__(page)
        self.place: Place = "routers"

    def detail(self, row: Entry[Router], now: datetime) -> tuple[str, ...]:
        return router_page.detail(row.what, now, max(40, self.size.width - 2))

    def action_roll_back(self) -> None:
        row = self.chosen()
        if self.deck.refuses("roll_back"):
            return
        if row is None:
            self.notify("choose a router first", severity="warning")
        elif not router_page.roll_back(row.what).ready:
            self.notify(f"nothing is shifted on {row.what.id}: there is nothing to roll back", severity="warning")
        else:
            self.table.pin()
            self.app.push_screen(RouterDialog(router_page.roll_back(row.what)))

    def action_shift(self) -> None:
        row = self.chosen()
        if self.deck.refuses("shift"):
            return
        if row is None:
            self.notify("choose a router first", severity="warning")
        else:
            self.table.pin()
            self.app.push_screen(ShiftDialog(row.what))
