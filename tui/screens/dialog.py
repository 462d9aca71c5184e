"""What every dialog that changes the fleet shares: a plan under review, the server's dry run, one sending.

Cancel and Escape always close it. What has been sent by then goes on: the app sends it, not the dialog, so that its
outcome is journalled, told and can be taken back, whatever becomes of the screen that asked for it.
"""

from __future__ import annotations

import contextlib
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.timer import Timer
from textual.widgets import Button, Input, Label, Select

from client.errors import FiredeckError
from client.fleet_types import DeploymentStatus, NodeView
from client.types import Deployment
from tui.core import cost, plan
from tui.core.form import Problem
from tui.core.placed import context_of
from tui.core.plan import Change, Plan, Verb
from tui.screens.careful import CarefulDialog
from tui.sources.base import FleetSource
from tui.widgets.line_input import NameInput
from tui.widgets.paint import Text, tone
from tui.widgets.plan_view import PlanView, label_of

if TYPE_CHECKING:
    from tui.app import Deck

NO_DRY_RUN = "the API has no dry run of this"
UNASKED = "this server has no dry run of it"
DRY_RUN_AFTER_S = 0.4  # of quiet: the server is not asked at every key
TITLES: dict[Verb, str] = {
    "scale": "Scale", "update": "Edit", "delete": "Delete", "undelete": "Bring back", "create": "Create",
    "shift": "Shift", "roll_back": "Roll back", "load": "Load", "unload": "Unload",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the server says to a plan: what it would make of it, where that is a deployment; or why it was not asked."""

    answer: Deployment | None = None
    unasked: str = ""


class PlanDialog(CarefulDialog):
    """Dismissed with True once the change was made. `asks_first`: the button works only after a dry run went well;
    `no_dry_run` says why nobody is asked where it does not; `begin_hint` what to do while nothing can be sent."""

    BINDINGS = [
        Binding("escape", "cancel", "cancel", id="dialog.cancel", tooltip="Close the dialog"),
        Binding("f1", "app.help", show=False, id="dialog.help", tooltip="What the field is"),
        Binding("pageup", "scroll_plan(-1)", show=False, id="dialog.up", tooltip="Scroll the plan up"),
        Binding("pagedown", "scroll_plan(1)", show=False, id="dialog.down", tooltip="Scroll the plan down"),
    ]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-medium")]
    asks_first = False
    no_dry_run = NO_DRY_RUN
    begin_hint = "○ nothing to send yet: just type, or tab"

    def __init__(self, seen: DeploymentStatus | None = None, context: str = "") -> None:
        """`context`: of several the one that is meant; that of `seen` where there is one."""
        super().__init__()
        self.seen = seen
        self.context = context if seen is None else context_of(seen.deployment.name)
        self.problem: Problem | None = None
        self.verdict: Verdict | None = None
        self._priced: list[NodeView] | None = None
        self._timer: Timer | None = None
        self._sending = False
        self._entered: Input | None = None  # where Enter was pressed before the button worked

    def planned(self) -> Plan:
        """The change as the form stands."""
        raise NotImplementedError

    async def dry_run(self, planned: Plan) -> Verdict:
        """What the server would make of it; only asked where `asks_first`."""
        raise NotImplementedError

    @property
    def answer(self) -> Deployment | None:
        """What the server would make of the plan as it stands, as far as it has said so."""
        return self.verdict.answer if self.verdict is not None else None

    def wanted_name(self, planned: Plan) -> str:
        """What must be typed in production: the name of what changes, of what is only made now the context's."""
        return self.deck.fleets.context(self.context).name if planned.verb == "create" else planned.named

    def named(self, planned: Plan) -> bool:
        return not self.is_prod or self.query_one(NameInput).value == self.wanted_name(planned)

    def problems(self, planned: Plan) -> tuple[Problem, ...]:
        return planned.problems

    def filled_in(self, planned: Plan) -> tuple[Change, ...]:
        """What the server's answer adds to the plan."""
        return ()

    @property
    def source(self) -> FleetSource:
        return self.deck.at(self.context)

    @property
    def is_prod(self) -> bool:
        return self.deck.fleets.context(self.context).prod

    @property
    def where(self) -> str:
        """` on eu`, for titles; nothing where there is one context alone."""
        return f" on {self.context}" if self.context else ""

    @property
    def deck(self) -> Deck:
        return cast("Deck", self.app)

    @property
    def confirm(self) -> Button:
        return self.query_one("#confirm", Button)

    def compose_foot(self, verb: Verb) -> ComposeResult:
        """The name to type, the errors, the verdict and the buttons: they keep their lines however long the plan is."""
        if self.is_prod:
            with Horizontal(classes="field -name"):
                yield Label("type the name", classes="label")
                yield NameInput(id="name", compact=True)
        with VerticalScroll(id="errors", can_focus=False):
            yield Text(id="error")
        with Horizontal(id="buttons"):
            yield Text(id="verdict")
            yield Button("Cancel", id="cancel", compact=True)
            yield Button(
                TITLES[verb], id="confirm", compact=True, variant="error" if verb == "delete" else "primary",
                disabled=True,
            )  # fmt: skip

    def on_mount(self) -> None:
        self.app.clear_notifications()  # they would lie over the dialog
        self.review()
        self.run_worker(self._ask_prices(), group="prices")

    async def _ask_prices(self) -> None:
        """Where nodes cannot be listed, by this role or by this source, the plan says that the cost is not known."""
        self._priced = []
        with contextlib.suppress(FiredeckError):
            self._priced = await self.source.nodes()
        if self.is_mounted:
            self.review()

    def cost(self, planned: Plan) -> str:
        return cost.of_plan(planned, self.seen, self._priced) if self._priced is not None else "asking for prices"

    def review(self) -> Plan:
        """Show the plan as the form stands; the button works only when it can be sent."""
        planned = self.planned()
        problems = (*self.problems(planned), *((self.problem,) if self.problem else ()))
        shown = self._dated(replace(planned, command=addressed(self.deck, planned.command, self.context)))
        self.query_one(PlanView).show_plan(shown, self.filled_in(planned), self.cost(planned))
        self.query_one("#verdict", Text).show([self._verdict(planned)])
        unasked = self.asks_first and self.verdict is None
        self.confirm.disabled = not planned.ready or unasked or self._sending or not self.named(planned)
        for box in self.query(NameInput):
            box.placeholder = self.wanted_name(planned)
        marked = {problem.field for problem in problems}
        for control in self.query(".field > Input, .field > Select"):
            control.set_class(control.id in marked, "-wrong")
        self.query_one("#error", Text).show(*_problem_lines(problems))
        return planned

    def _dated(self, planned: Plan) -> Plan:
        """While nobody answers, whom it touches is what was so when somebody last did."""
        age = self.deck.picture_of(self.context).stale_age(self.deck.clock())
        told = f"no answer: all of this is as of {age} ago"
        return replace(planned, blast=(told, *planned.blast)) if age else planned

    def _verdict(self, planned: Plan) -> str:
        if self._sending:
            return "◐ sending…"
        if self.asks_first and self.problem is not None:
            return "✖ the server refuses this"
        if not planned.ready:
            return "" if self.problems(planned) else self.begin_hint  # those are told above
        if self.asks_first and self.verdict is None:
            return "◐ asking the server…"
        if not self.named(planned):
            return "○ type the name to go on"
        unasked = self.verdict.unasked if self.verdict is not None else self.no_dry_run
        return f"○ {unasked}" if unasked else "✔ the server would accept this"

    @on(Input.Changed)
    @on(Select.Changed)
    def _edited(self, event: Input.Changed | Select.Changed) -> None:
        if isinstance(event.control, NameInput):
            self.review()
            return
        self.problem = self.verdict = self._entered = None
        planned = self.review()
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(DRY_RUN_AFTER_S, self.check) if planned.ready else None

    def check(self) -> None:
        """Ask the server for a dry run of the form as it stands."""
        planned = self.planned()
        if self.asks_first and planned.ready:
            self.run_worker(self._check(planned), group="dry-run", exclusive=True)

    async def _check(self, planned: Plan) -> None:
        verdict, refusal = None, None
        try:
            verdict = await self.dry_run(planned)
        except FiredeckError as error:
            refusal = error
        if self.planned().sent != planned.sent:
            return  # an answer to an older form says nothing about this one, which will be asked about itself
        self.verdict, self.problem = verdict, None
        if refusal is not None:
            self.refused(planned, refusal)
            return
        self.review()
        if self._entered is not None and self._entered is self.focused:
            self._go_on(planned)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        planned = self.planned()
        if planned.ready and not (self.asks_first and self.verdict is None):
            self._go_on(planned)
        else:
            self._entered = event.input
            self.check()

    def _go_on(self, planned: Plan) -> None:
        """To the name while it is not typed, then to the button."""
        (self.confirm if self.named(planned) else self.query_one(NameInput)).focus()

    def action_scroll_plan(self, direction: int) -> None:
        parent = self.query_one(PlanView).parent
        if isinstance(parent, VerticalScroll):
            parent.scroll_relative(y=direction * max(1, parent.size.height - 1), animate=False)

    @on(Button.Pressed, "#cancel")
    def action_cancel(self) -> None:
        if self._sending:
            self.notify("it was sent already; you will be told how it ends", severity="warning")
        self.dismiss(False)

    @on(Button.Pressed, "#confirm")
    def _confirm(self) -> None:
        if not self.confirm.disabled and not self._sending:
            self._sending = True
            self.app.run_worker(self._send(self.planned(), self.deck), group="send")
            self.review()

    async def _send(self, planned: Plan, deck: Deck) -> None:
        """A worker of the app: closing this dialog does not end it."""
        try:
            outcome = await deck.executor.run(planned, self.seen)
        except FiredeckError as error:
            if self in deck.screen_stack:
                self._sending = False
                self.refused(planned, error)
            else:
                deck.notify(error.text, title=f"{planned.verb} {planned.id}", severity="error", timeout=8, markup=False)
            return
        if deck.screen is self:
            self.dismiss(True)
        deck.carried_out(outcome)

    def refused(self, planned: Plan, error: FiredeckError) -> None:
        """The change was not made, here is why; the form is still there."""
        self.problem = plan.refused_by_server(error)
        self.review()


def addressed(deck: Deck, command: str, context: str) -> str:
    """Of several contexts the command says which engine it is for."""
    return f"{command} --base-url {shlex.quote(deck.fleets.context(context).base_url)}" if context else command


def _problem_lines(problems: tuple[Problem, ...]) -> list[list[tuple[str, str]]]:
    named = [(f"{label_of(p.field.replace('_', ' '))}: " if p.field else "", p.text) for p in problems]
    return [[("✖ ", tone("failed", bold=True)), (name, "bold"), (text, "")] for name, text in named]
