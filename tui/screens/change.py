"""One dialog for every change of a deployment that exists: scale, edit, delete, undelete.

It shows what will differ, whom that touches and the same as a command. The target is held by name: what is sent is what
was shown, and the executor checks that the deployment is still the one that was seen.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button, Input, Label

from client.errors import FiredeckError
from client.fleet_types import DeploymentStatus
from client.types import DeploymentSpec
from tui.core import plan
from tui.core.form import Problem
from tui.core.plan import Plan, Verb
from tui.screens.dialog import TITLES, UNASKED, PlanDialog, Verdict
from tui.widgets.line_input import LineInput
from tui.widgets.plan_view import PlanView


@dataclass(frozen=True, slots=True)
class Field:
    """An input: `key` is the form field's name, `value` what it starts with."""

    key: str
    label: str
    value: str = ""


class ChangeDialog(PlanDialog):
    def __init__(self, verb: Verb, seen: DeploymentStatus, fields: tuple[Field, ...] = ()) -> None:
        super().__init__(seen)
        self.verb: Verb = verb
        self.shown = seen
        self.fields = fields
        self.asks_first = verb in ("update", "delete")
        self._in_use: Problem | None = None
        self._adapters: tuple[str, ...] | None = None
        self._ignore_checks = False  # set once the server has said what stands against it, and the user has read it

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog", classes=f"-{self.verb}"):
            yield Label(f"{TITLES[self.verb]} {self.shown.deployment.id}{self.where}", id="title", markup=False)
            with VerticalScroll(id="content", can_focus=False):
                for field in self.fields:
                    with Horizontal(classes="field"):
                        yield Label(field.label, classes="label")
                        yield LineInput(field.value, id=field.key, compact=True)
                yield PlanView(id="plan")
            yield from self.compose_foot(self.verb)

    def problems(self, planned: Plan) -> tuple[Problem, ...]:
        return (*planned.problems, *((self._in_use,) if self._in_use else ()))

    def planned(self) -> Plan:
        form = {field.key: self.query_one(f"#{field.key}", Input).value for field in self.fields}
        match self.verb:
            case "scale":
                return plan.scale(self.shown, form)
            case "update":
                return plan.update(self.shown, form)
            case "delete":
                now = self.deck.clock()
                return plan.delete(self.shown, now, self._adapters, ignore_checks=self._ignore_checks)
            case _:
                return plan.undelete(self.shown)

    def on_mount(self) -> None:
        if self.verb == "delete":
            self.run_worker(self._ask_adapters(), group="adapters")
            self.check()

    async def _ask_adapters(self) -> None:
        """What goes with the deployment; where that cannot be told, the plan goes on saying so."""
        with contextlib.suppress(FiredeckError):
            self._adapters = tuple(await self.source.adapters(self.shown.deployment))
            self.review()

    async def dry_run(self, planned: Plan) -> Verdict:
        source = self.source
        if self.verb == "update":
            return Verdict(await source.validate_update(planned.target, planned.spec or DeploymentSpec()))
        asked = await source.validate_delete(planned.target, ignore_checks=planned.ignore_checks)
        return Verdict() if asked else Verdict(unasked=UNASKED)

    def refused(self, planned: Plan, error: FiredeckError) -> None:
        if plan.refused_as_in_use(planned, error):
            self._ignore_checks = True
            confirm = self.query_one("#confirm", Button)
            confirm.label = "Delete anyway"
            confirm.refresh(layout=True)  # the label is wider than the former
            self.query_one("#cancel", Button).focus()
            self._in_use = plan.in_use(planned, error)
            self.review()
            self.check()
        else:
            super().refused(planned, error)
