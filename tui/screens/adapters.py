"""The dialogs that load an adapter and take one off, and the one that takes either back."""

from __future__ import annotations

from collections.abc import Mapping

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Input, Label

from client.fleet_types import DeploymentStatus
from tui.core import adapter_plan
from tui.core.matrix_page import Adapter
from tui.core.model_page import short
from tui.core.placed import plain
from tui.core.plan import Plan
from tui.screens.dialog import TITLES, PlanDialog
from tui.widgets.line_input import LineInput
from tui.widgets.plan_view import PlanView


class AdapterDialog(PlanDialog):
    """Of a plan that is made already."""

    no_dry_run = "no dry run: checked when it is sent"

    def __init__(self, plan: Plan, context: str = "") -> None:
        super().__init__(context=plan.context or context)
        self._plan = plan

    def compose(self) -> ComposeResult:
        verb = self._plan.verb
        with Vertical(id="dialog", classes=f"-{'delete' if verb == 'unload' else verb}"):
            yield Label(f"{TITLES[verb]} {short(self._plan.model)}{self.where}", id="title", markup=False)
            with VerticalScroll(id="content", can_focus=False):
                yield from self.compose_fields()
                yield PlanView(id="plan")
            yield from self.compose_foot(verb)

    def compose_fields(self) -> ComposeResult:
        yield from ()

    def planned(self) -> Plan:
        return self._plan

    def cost(self, planned: Plan) -> str:
        return ""  # an adapter has no price


class _PlacedDialog(AdapterDialog):
    """With a field for the deployment that is meant."""

    def __init__(self, plan: Plan, wanted: str, context: str = "") -> None:
        super().__init__(plan, context)
        self._wanted = wanted

    def compose_fields(self) -> ComposeResult:
        with Horizontal(classes="field"):
            yield Label("deployment", classes="label")
            yield LineInput(self._wanted, id="deployment", compact=True)

    @property
    def typed(self) -> str:
        return self.query_one("#deployment", Input).value.strip()


class LoadDialog(_PlacedDialog):
    def __init__(self, adapter: Adapter, wanted: str, context: str = "") -> None:
        super().__init__(Plan("load", "", (), "", model=adapter.name), wanted, context)
        self._adapter = adapter

    def planned(self) -> Plan:
        return adapter_plan.load(self._adapter, self.typed, self._statuses())

    def _statuses(self) -> Mapping[str, DeploymentStatus]:
        """Those of its context by their ids; of two accounts' the own account's."""
        snapshot = self.deck.picture_of(self.context).snapshot
        own = f"accounts/{self.deck.fleets.context(self.context).account}/"
        found = [one for one in (snapshot.deployments if snapshot else []) if one.deployment.state != "DELETED"]
        found.sort(key=lambda one: plain(one.deployment.name).startswith(own))
        return {one.deployment.id: one for one in found}


class UnloadDialog(_PlacedDialog):
    """`plans` by the ids of the deployments that have it."""

    def __init__(self, plans: Mapping[str, Plan]) -> None:
        first = next(iter(plans))
        super().__init__(plans[first], first)
        self._plans = plans

    def planned(self) -> Plan:
        known = self._plans.get(self.typed)
        if known is None:
            return Plan("unload", "", (), self._plan.command, model=self._plan.model)
        return known
