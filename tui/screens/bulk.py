"""One change of several deployments: each with what differs, all confirmed at once, sent one after the other."""

from __future__ import annotations

from collections.abc import Sequence
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
from tui.core.plan import Plan, Verb
from tui.screens.dialog import TITLES
from tui.widgets.line_input import LineInput
from tui.widgets.paint import Piece, Text, tone

if TYPE_CHECKING:
    from tui.app import Deck


class BulkDialog(ModalScreen[bool]):
    """Dismissed with True once it is sent. What cannot be sent of one deployment is told and does not stop the rest.

    In a production context its name must be typed.
    """

    BINDINGS = [Binding("escape", "cancel", "cancel", id="bulk.cancel", tooltip="Change nothing")]
    AUTO_FOCUS = "#replica_count, #cancel"

    def __init__(self, verb: Verb, seen: Sequence[DeploymentStatus]) -> None:
        super().__init__()
        self._verb, self._seen = verb, tuple(seen)

    @property
    def deck(self) -> Deck:
        return cast("Deck", self.app)

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog", classes=f"-{self._verb}"):
            yield Label(f"{TITLES[self._verb]} {len(self._seen)} deployments", id="title")
            if self._verb == "scale":
                with Horizontal(classes="field"):
                    yield Label("replicas of each", classes="label")
                    yield LineInput(id="replica_count", compact=True)
            with VerticalScroll(id="content", can_focus=False):
                yield Text(id="plans")
            if self.deck.context.prod:
                with Horizontal(classes="field"):
                    yield Label(f"type {self.deck.context.name}", classes="label", markup=False)
                    yield LineInput(id="name", compact=True)
            with Horizontal(id="buttons"):
                yield Button("Cancel", id="cancel", compact=True)
                yield Button(
                    TITLES[self._verb], id="confirm", compact=True, disabled=True,
                    variant="error" if self._verb == "delete" else "primary",
                )  # fmt: skip

    def plans(self) -> list[tuple[Plan, DeploymentStatus]]:
        return [(self._planned(status), status) for status in self._seen]

    def _planned(self, status: DeploymentStatus) -> Plan:
        match self._verb:
            case "scale":
                return plan.scale(status, {"replica_count": self.query_one("#replica_count", Input).value})
            case "delete":
                return plan.delete(status, self.deck.clock(), None)
            case _:
                return plan.undelete(status)

    def on_mount(self) -> None:
        self.review()

    @on(Input.Changed)
    def review(self) -> None:
        found = self.plans()
        lines: list[list[Piece]] = []
        for planned, _ in found:
            lines += _lines(planned)
        self.query_one("#plans", Text).show(*lines)
        named = all(box.value == self.deck.context.name for box in self.query("#name").results(Input))
        self.query_one("#confirm", Button).disabled = not named or not any(planned.ready for planned, _ in found)

    @on(Button.Pressed, "#confirm")
    def _confirm(self) -> None:
        ready = [(planned, status) for planned, status in self.plans() if planned.ready]
        self.app.run_worker(_send(self.deck, ready), group="send")
        self.dismiss(True)

    @on(Button.Pressed, "#cancel")
    def action_cancel(self) -> None:
        self.dismiss(False)


def _lines(planned: Plan) -> list[list[Piece]]:
    """Its name with what differs, whom that touches, and what stands against it."""
    told = ", ".join(f"{change.field} {change.before} → {change.after}" for change in planned.changes) or "nothing"
    lines: list[list[Piece]] = [[(f"{planned.id}: ", "bold"), (told, tone("attention" if planned.ready else "dim"))]]
    lines += [[("  · ", tone("dim")), text] for text in planned.blast[:2]]
    lines += [[("  ✖ ", tone("failed")), (problem.text, tone("failed"))] for problem in planned.problems]
    return lines


async def _send(deck: Deck, ready: Sequence[tuple[Plan, DeploymentStatus]]) -> None:
    """A worker of the app: closing the dialog does not end it. Each is journalled; the last one can be taken back."""
    for planned, status in ready:
        try:
            deck.carried_out(await deck.executor.run(planned, status))
        except FiredeckError as error:
            deck.notify(f"{planned.id}: {error.text}", title="refused", severity="error", timeout=12, markup=False)
