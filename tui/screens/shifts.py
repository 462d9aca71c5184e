"""The dialogs that begin a router's shift and end it, and the one that takes either back."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Input, Label

from client.router_types import Router, RouterShiftSpec
from tui.core import shift_plan
from tui.core.placed import context_of
from tui.core.plan import Plan
from tui.screens.dialog import TITLES, PlanDialog, Verdict
from tui.widgets.line_input import LineInput
from tui.widgets.plan_view import PlanView

_LABELS = {"to": "to deployment", "over": "over", "step_percent": "per cent a step"}


class RouterDialog(PlanDialog):
    """Of a plan that is made already; it is sent only while the router's last shift is the one that was looked at."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(context=context_of(plan.target))
        self._plan = plan
        self.asks_first = plan.verb == "shift"

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Label(f"{TITLES[self._plan.verb]} {self._plan.id}{self.where}", id="title", markup=False)
            with VerticalScroll(id="content", can_focus=False):
                yield from self.compose_fields()
                yield PlanView(id="plan")
            yield from self.compose_foot(self._plan.verb)

    def compose_fields(self) -> ComposeResult:
        yield from ()

    def on_mount(self) -> None:
        self.check()

    def planned(self) -> Plan:
        return self._plan

    async def dry_run(self, planned: Plan) -> Verdict:
        await self.source.shift(planned.target, planned.shift or RouterShiftSpec(), validate_only=True)
        return Verdict()

    def cost(self, planned: Plan) -> str:
        return ""  # weights have no price


class ShiftDialog(RouterDialog):
    """With fields for where to, and how fast."""

    def __init__(self, router: Router) -> None:
        super().__init__(shift_plan.shift(router, shift_plan.offered(router)))
        self._router = router

    def compose_fields(self) -> ComposeResult:
        offered = shift_plan.offered(self._router)
        for key, label in _LABELS.items():
            with Horizontal(classes="field"):
                yield Label(label, classes="label")
                yield LineInput(offered[key], id=key, compact=True)

    def planned(self) -> Plan:
        return shift_plan.shift(self._router, {key: self.query_one(f"#{key}", Input).value for key in _LABELS})
