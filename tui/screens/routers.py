"""The routers: what each target gets, the shift that is going on with its verdicts, and the way back."""

from __future__ import annotations

from datetime import datetime

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Label

from client.router_types import Router
from tui.core import router_page
from tui.core.actions import Place
from tui.core.lists import Entry
from tui.core.placed import context_of
from tui.core.plan import Plan
from tui.keymap import bindings
from tui.screens.dialog import TITLES, PlanDialog
from tui.screens.listing import ListScreen
from tui.widgets.plan_view import PlanView


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
            self.app.push_screen(RollBackDialog(row.what))


class RollBackDialog(PlanDialog):
    """What a shift's abort does; sent only while it is still the shift that was looked at."""

    def __init__(self, router: Router) -> None:
        super().__init__(context=context_of(router.name))
        self._router = router

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Label(f"{TITLES['roll_back']} {self._router.id}{self.where}", id="title", markup=False)
            with VerticalScroll(id="content", can_focus=False):
                yield PlanView(id="plan")
            yield from self.compose_foot("roll_back")

    def planned(self) -> Plan:
        return router_page.roll_back(self._router)

    def cost(self, planned: Plan) -> str:
        return ""  # weights have no price
