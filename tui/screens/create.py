"""Create a deployment: a form, the plan as it stands, and the server's dry run before the button works."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Button, Input, Label, Select

from client.errors import FiredeckError
from client.types import LOAD_TARGETS, Deployment, DeploymentSpec
from tui.core import plan
from tui.core.form import Problem
from tui.core.plan import Plan
from tui.screens.change import problem_lines
from tui.widgets.paint import Text
from tui.widgets.plan_view import PlanView

if TYPE_CHECKING:
    from tui.app import Deck

DRY_RUN_AFTER_S = 0.4  # of quiet: the server is not asked at every key
INPUTS = (
    ("deployment_id", "id", "chosen by the server"),
    ("min_replica_count", "min replicas", "0"),
    ("max_replica_count", "max replicas", "1, or the minimum"),
    ("scale_up_window", "scale-up window", "30s"),
    ("scale_down_window", "scale-down window", "10m"),
    ("scale_to_zero_window", "to-zero window", "1h, at least 5m"),
    ("load_target_value", "target a replica", "0.8"),
    ("draft_model", "draft model", "none"),
    ("draft_token_count", "draft tokens", "with either kind"),
    ("ngram_speculation_length", "n-gram length", "none"),
)
COLD = (("hold requests until ready", "hold"), ("reject with 503", "reject"))


class CreateDialog(ModalScreen[bool]):
    BINDINGS = [Binding("escape", "cancel", "cancel", id="create.cancel", tooltip="Close; nothing is sent")]
    AUTO_FOCUS = "#base_model"

    def __init__(self) -> None:
        super().__init__()
        self.problem: Problem | None = None
        self.answer: Deployment | None = None
        self._timer: Timer | None = None
        self._sending = False

    @property
    def deck(self) -> Deck:
        return cast("Deck", self.app)

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Label("Create a deployment", id="title")
            with Horizontal(id="columns"):
                with VerticalScroll(id="form", can_focus=False):
                    yield from self._form()
                with VerticalScroll(id="preview", can_focus=False):
                    yield PlanView(id="plan")
            yield Text(id="error")
            with Horizontal(id="buttons"):
                yield Button("Cancel", id="cancel", compact=True)
                yield Button("Create", id="confirm", variant="primary", compact=True, disabled=True)

    def _form(self) -> ComposeResult:
        yield from self._row("model", Select[str]((), id="base_model", prompt="loading models", compact=True))
        for key, label, hint in INPUTS:
            if key == "load_target_value":
                targets = [(name.replace("_", " "), name) for name in LOAD_TARGETS]
                yield from self._row("load target", Select(targets, id="load_target", prompt="default", compact=True))
            if key == "draft_model":
                yield from self._row("when at zero", Select(COLD, id="cold_policy", prompt="hold", compact=True))
            yield from self._row(label, Input(id=key, placeholder=hint, compact=True))

    def _row(self, label: str, control: Input | Select[str]) -> ComposeResult:
        with Horizontal(classes="field"):
            yield Label(label, classes="label")
            yield control

    def on_mount(self) -> None:
        self.app.clear_notifications()  # they would lie over the dialog
        self.run_worker(self._load_models(), group="models")
        self._review()

    async def _load_models(self) -> None:
        box = self.query_one("#base_model", Select)
        try:
            models = await self.deck.source.models()
        except FiredeckError as error:
            self.problem = Problem("base_model", f"the models could not be listed: {error.text}")
            self._review()
            return
        box.set_options([(model.id, model.name) for model in models])
        box.prompt = "choose a model" if models else "the engine has no models"

    def form(self) -> dict[str, str]:
        found = {key: self.query_one(f"#{key}", Input).value for key, *_ in INPUTS}
        for key in ("base_model", "load_target", "cold_policy"):
            value = self.query_one(f"#{key}", Select).value
            found[key] = value if isinstance(value, str) else ""
        return found

    def planned(self) -> Plan:
        return plan.create(self.form(), [row.name for row in self.deck.picture.rows], self.deck.context.account)

    @on(Input.Changed)
    @on(Select.Changed)
    def _edited(self) -> None:
        self.problem = self.answer = None
        planned = self._review()
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(DRY_RUN_AFTER_S, self.check) if planned.ready else None

    def _review(self) -> Plan:
        planned = self.planned()
        touched = [p for p in planned.problems if p.field != "base_model" or len(planned.changes) > 1]
        problems = (*touched, *((self.problem,) if self.problem else ()))
        more = plan.filled_in(planned, self.answer) if self.answer else ()
        self.query_one(PlanView).show_plan(planned, more, self._verdict(planned))
        self.query_one("#confirm", Button).disabled = self.answer is None or not planned.ready or self._sending
        marked = {problem.field for problem in problems}
        for control in self.query(".field > Input, .field > Select"):
            control.set_class(control.id in marked, "-wrong")
        self.query_one("#error", Text).show(*problem_lines(problems))
        return planned

    def _verdict(self, planned: Plan) -> str:
        if self.answer is not None:
            return "✔ the server would accept this"
        if self.problem is not None:
            return "✖ the server refuses this"
        return "◐ asking the server…" if planned.ready else "○ not complete yet"

    def check(self) -> None:
        """Ask the server for a dry run of the form as it stands."""
        planned = self.planned()
        if planned.ready:
            self.run_worker(self._dry_run(planned), group="dry-run", exclusive=True)

    async def _dry_run(self, planned: Plan) -> None:
        try:
            answer = await self.deck.source.validate_create(planned.spec or DeploymentSpec(), planned.id or None)
        except FiredeckError as error:
            self.problem = plan.refused_by_server(error)
        else:
            self.answer = answer if self.planned() == planned else None
        self._review()

    @on(Button.Pressed, "#cancel")
    def action_cancel(self) -> None:
        self.dismiss(False)

    @on(Button.Pressed, "#confirm")
    def _confirm(self) -> None:
        if not self._sending and self.answer is not None:
            self._sending = True
            self.query_one("#confirm", Button).disabled = True
            self.run_worker(self._send(self.planned()), group="send")

    async def _send(self, planned: Plan) -> None:
        try:
            outcome = await self.deck.executor.run(planned)
        except FiredeckError as error:
            self._sending, self.answer = False, None
            self.problem = plan.refused_by_server(error)
            self._review()
            return
        self.dismiss(True)
        self.deck.carried_out(outcome)
