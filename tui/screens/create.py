"""Create a deployment: a form, the plan as it stands, and the server's dry run before the button works."""

from __future__ import annotations

from collections.abc import Mapping

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Input, Label, Select

from client.errors import FiredeckError
from client.types import LOAD_TARGETS, DeploymentSpec, Model
from tui.core import plan, precisions
from tui.core.form import Problem
from tui.core.model_page import fetched_first
from tui.core.plan import Change, Plan
from tui.screens.dialog import PlanDialog, Verdict
from tui.widgets.line_input import LineInput
from tui.widgets.paint import Text, tone
from tui.widgets.plan_view import PlanView

_CHOSEN = ("load_target", "cold_policy", "precision")
COLD = (("hold requests until ready", "hold"), ("reject with 503", "reject"))


class CreateDialog(PlanDialog):
    CSS_PATH = "create.tcss"
    asks_first = True
    begin_hint = "○ tab to the model, or type the id"

    def __init__(self, given: Mapping[str, str] | None = None, context: str = "") -> None:
        """`given`: what the form starts with, by the fields' names."""
        super().__init__(context=context)
        self._given = dict(given or {})
        self._models: dict[str, Model] = {}

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Label(f"Create a deployment{self.where}", id="title", markup=False)
            with Horizontal(id="columns"):
                with VerticalScroll(id="form", can_focus=False):
                    yield from self._form()
                with VerticalScroll(id="preview", can_focus=False):
                    yield PlanView(id="plan")
            yield from self.compose_foot("create")

    def _form(self) -> ComposeResult:
        targets = [(name.replace("_", " "), name) for name in LOAD_TARGETS]
        yield from _row("model", Select[str]((), id="base_model", prompt="loading models", compact=True))
        yield from _row("precision", Select[str]((), id="precision", prompt="the model's own", compact=True))
        yield Text(id="precision-note")
        yield from _row("id", _box("deployment_id", "by the server"))
        yield from _row("min replicas", _box("min_replica_count", "0"))
        yield from _row("max replicas", _box("max_replica_count", "1, or min"))
        yield from _row("scale-up window", _box("scale_up_window", "30s"))
        yield from _row("scale-down window", _box("scale_down_window", "10m"))
        yield from _row("to-zero window", _box("scale_to_zero_window", "1h"))
        yield from _row("load target", Select(targets, id="load_target", prompt="default", compact=True))
        yield from _row("target a replica", _box("load_target_value", "0.8"))
        yield from _row("when at zero", Select(COLD, id="cold_policy", prompt="hold", compact=True))

    def on_mount(self) -> None:
        for key, value in self._given.items():
            if key not in ("base_model", "precision"):
                self._fill(key, value)
        self.run_worker(self._load_models(), group="models")

    def _fill(self, key: str, value: str) -> None:
        if key in _CHOSEN:
            self.query_one(f"#{key}", Select).value = value
        else:
            self.query_one(f"#{key}", Input).value = value

    async def _load_models(self) -> None:
        box = self.query_one("#base_model", Select)
        try:
            models = await self.source.models()
        except FiredeckError as error:
            self.problem = Problem("base_model", f"the models could not be listed: {error.text}")
            self.review()
            return
        self._models = {model.name: model for model in models}
        box.set_options([(model.id, model.name) for model in models])
        box.prompt = "choose a model" if models else "the engine has no models"
        if (wanted := self._given.get("base_model")) in [model.name for model in models]:
            box.value = wanted
        elif wanted:
            self.problem = Problem("base_model", f"there is no model {wanted}")
            self.review()

    @on(Select.Changed, "#base_model")
    def _model_chosen(self, event: Select.Changed) -> None:
        """The precisions that this model is there in, how others are made, and whether its file is here at all."""
        model = self._models.get(str(event.value))
        offered = precisions.choices(model)
        self.query_one("#precision", Select).set_options(offered)
        if (wanted := self._given.get("precision")) in [value for _, value in offered]:
            self._fill("precision", str(wanted))
        fetch = fetched_first(model) if model is not None else ""
        missing = (f"the file is not here yet: {fetch}", tone("attention")) if fetch else None
        notes = [note for note in (missing, (precisions.how(model), tone("dim"))) if note and note[0]]
        line = self.query_one("#precision-note", Text)
        line.display = bool(notes)
        line.show(*([note] for note in notes))

    def form(self) -> dict[str, str]:
        found = {str(box.id): box.value for box in self.query(".field > Input").results(Input)}
        for box in self.query(".field > Select").results(Select):
            found[str(box.id)] = box.value if isinstance(box.value, str) else ""
        return found

    def planned(self) -> Plan:
        there = [row.name for row in self.deck.picture.rows]
        return plan.create(self.form(), there, self.deck.fleets.context(self.context).account, self.context)

    def problems(self, planned: Plan) -> tuple[Problem, ...]:
        """Without "choose a model" while the form is untouched."""
        return tuple(p for p in planned.problems if p.field != "base_model" or len(planned.changes) > 1)

    def filled_in(self, planned: Plan) -> tuple[Change, ...]:
        return plan.filled_in(planned, self.answer) if self.answer is not None else ()

    async def dry_run(self, planned: Plan) -> Verdict:
        return Verdict(await self.source.validate_create(planned.spec or DeploymentSpec(), planned.id or None))


def _box(key: str, hint: str) -> Input:
    return LineInput(id=key, placeholder=hint, compact=True)


def _row(label: str, control: Input | Select[str]) -> ComposeResult:
    with Horizontal(classes="field"):
        yield Label(label, classes="label")
        yield control
