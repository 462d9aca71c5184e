"""One dialog for every change of a deployment that exists: scale, edit, delete, undelete.

It shows what will differ, whom that touches and the same as a command; Cancel has the focus. The target is held by
name: what is sent is what was shown, and the executor checks that the deployment is still the one that was seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label

from client.errors import FiredeckError
from client.fleet_types import DeploymentStatus
from tui.core import plan
from tui.core.form import Problem
from tui.core.plan import Plan, Verb
from tui.widgets.paint import Text, tone
from tui.widgets.plan_view import PlanView

if TYPE_CHECKING:
    from tui.app import Deck

_TITLES = {"scale": "Scale", "update": "Edit", "delete": "Delete", "undelete": "Bring back", "create": "Create"}


@dataclass(frozen=True, slots=True)
class Field:
    """An input: `key` is the form field's name, `value` what it starts with."""

    key: str
    label: str
    value: str = ""


class ChangeDialog(ModalScreen[bool]):
    """Dismissed with True once the change was made."""

    BINDINGS = [Binding("escape", "cancel", "cancel", id="change.cancel", tooltip="Close; nothing is sent")]
    AUTO_FOCUS = "#cancel"

    def __init__(self, verb: Verb, seen: DeploymentStatus, fields: tuple[Field, ...] = ()) -> None:
        super().__init__()
        self.verb: Verb = verb
        self.seen = seen
        self.fields = fields
        self.problem: Problem | None = None
        self._sending = False
        self._ignore_checks = False  # set once the server has said what stands against it, and the user has read it

    @property
    def deck(self) -> Deck:
        return cast("Deck", self.app)

    def compose(self) -> ComposeResult:
        deployment = self.seen.deployment
        with Vertical(id="dialog", classes=f"-{self.verb}"):
            yield Label(f"{_TITLES[self.verb]} {deployment.id}", id="title", markup=False)
            with VerticalScroll(id="content", can_focus=False):
                for field in self.fields:
                    with Horizontal(classes="field"):
                        yield Label(field.label, classes="label")
                        yield Input(field.value, id=field.key, compact=True)
                yield PlanView(id="plan")
            yield Text(id="error")
            with Horizontal(id="buttons"):
                yield Button("Cancel", id="cancel", compact=True)
                yield Button(
                    _TITLES[self.verb], id="confirm", compact=True,
                    variant="error" if self.verb == "delete" else "primary",
                )  # fmt: skip

    def on_mount(self) -> None:
        self.app.clear_notifications()  # they would lie over the dialog
        self._review()

    def planned(self) -> Plan:
        form = {field.key: self.query_one(f"#{field.key}", Input).value for field in self.fields}
        match self.verb:
            case "scale":
                return plan.scale(self.seen, form)
            case "update":
                return plan.update(self.seen, form)
            case "delete":
                return plan.delete(self.seen, ignore_checks=self._ignore_checks)
            case _:
                return plan.undelete(self.seen)

    @on(Input.Changed)
    def _edited(self) -> None:
        self.problem = None
        self._review()

    def _review(self) -> None:
        """Show the plan as the form stands; the button works only when it can be sent."""
        planned = self.planned()
        problems = (*planned.problems, *((self.problem,) if self.problem else ()))
        self.query_one(PlanView).show_plan(planned)
        self.query_one("#confirm", Button).disabled = not planned.ready or self._sending
        marked = {problem.field for problem in problems}
        for field in self.fields:
            self.query_one(f"#{field.key}").set_class(field.key in marked, "-wrong")
        self.query_one("#error", Text).show(*problem_lines(problems))

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.query_one("#confirm", Button).focus()

    @on(Button.Pressed, "#cancel")
    def action_cancel(self) -> None:
        self.dismiss(False)

    @on(Button.Pressed, "#confirm")
    def _confirm(self) -> None:
        if not self._sending:
            self._sending = True
            self.query_one("#confirm", Button).disabled = True
            self.run_worker(self._send(self.planned()), group="send")

    async def _send(self, planned: Plan) -> None:
        try:
            outcome = await self.deck.executor.run(planned, self.seen)
        except FiredeckError as error:
            self._sending = False
            self.problem = plan.refused_by_server(error)
            if plan.refused_as_in_use(planned, error):
                self._ignore_checks = True
                confirm = self.query_one("#confirm", Button)
                confirm.label = "Delete anyway"
                confirm.refresh(layout=True)  # the label is wider than the former
                self.query_one("#cancel", Button).focus()
            self._review()
            return
        self.dismiss(True)
        self.deck.carried_out(outcome)


def problem_lines(problems: tuple[Problem, ...]) -> list[list[tuple[str, str]]]:
    return [
        [("✖ ", tone("failed", bold=True)), (f"{p.field.replace('_', ' ')}: " if p.field else "", "bold"), (p.text, "")]
        for p in problems
    ]
