"""One change of several deployments: each with what differs, all confirmed at once, sent one after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button, Input, Label

from client.errors import FiredeckError
from client.fleet_types import DeploymentStatus, NodeView
from tui.core import cost, plan
from tui.core.form import Problem
from tui.core.placed import context_of, short
from tui.core.plan import Plan, Verb
from tui.screens.careful import CarefulDialog
from tui.screens.dialog import NO_DRY_RUN, TITLES, UNASKED, addressed
from tui.widgets.line_input import LineInput, NameInput
from tui.widgets.paint import Piece, Text, tone

if TYPE_CHECKING:
    from tui.app import Deck
    from tui.executor import Outcome


class BulkDialog(CarefulDialog):
    """Dismissed with True once it is sent. What cannot be sent of one deployment is told and does not stop the rest.

    `former`: the counts that a scale goes back to, by the deployments' names. In a production context its name must be
    typed, of several such contexts each one's.
    """

    BINDINGS = [
        Binding("escape", "cancel", "cancel", id="bulk.cancel", tooltip="Change nothing"),
        Binding("f1", "app.help", show=False, id="bulk.help", tooltip="What the field is"),
        Binding("pageup", "scroll_plans(-1)", show=False, id="bulk.up", tooltip="Scroll the plans up"),
        Binding("pagedown", "scroll_plans(1)", show=False, id="bulk.down", tooltip="Scroll the plans down"),
    ]

    def __init__(self, verb: Verb, seen: Sequence[DeploymentStatus], former: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._verb, self._seen, self._former = verb, tuple(seen), former or {}
        self._priced: dict[str, list[NodeView]] | None = None  # by the contexts' names
        self._adapters: dict[str, tuple[str, ...]] = {}  # on them, by the deployments' names
        self._asked = True  # whether the server can be asked at all
        self._refusals: dict[str, Problem | None] = {}  # what the server's dry run said, by the deployments' names

    @property
    def deck(self) -> Deck:
        return cast("Deck", self.app)

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog", classes=f"-{self._verb}"):
            yield Label(f"{TITLES[self._verb]} {self._counted}", id="title")
            if self._verb == "scale" and not self._former:
                with Horizontal(classes="field"):
                    yield Label("replicas of each", classes="label")
                    yield LineInput(id="replica_count", compact=True)
            with VerticalScroll(id="content", can_focus=False):
                yield Text(id="plans")
            for name in self._prod_names():
                with Horizontal(classes="field"):
                    yield Label(f"type {name}", classes="label", markup=False)
                    yield NameInput(id="name" if name == self._prod_names()[0] else None, classes="-name", compact=True)
            with Horizontal(id="buttons"):
                yield Text(id="verdict")
                yield Button("Cancel", id="cancel", compact=True)
                yield Button(
                    TITLES[self._verb], id="confirm", compact=True, disabled=True,
                    variant="error" if self._verb == "delete" else "primary",
                )  # fmt: skip

    @property
    def _counted(self) -> str:
        return f"{len(self._seen)} deployments" if len(self._seen) != 1 else "1 deployment"

    @property
    def _contexts(self) -> list[str]:
        """Where the deployments are, of several contexts."""
        return list(dict.fromkeys(context_of(status.deployment.name) for status in self._seen))

    def _prod_names(self) -> list[str]:
        found = [self.deck.fleets.context(name) for name in self._contexts]
        return [context.name for context in found if context.prod]

    def plans(self) -> list[tuple[Plan, DeploymentStatus]]:
        return [(self._planned(status), status) for status in self._seen]

    def _planned(self, status: DeploymentStatus) -> Plan:
        match self._verb:
            case "scale":
                former = self._former.get(status.deployment.name)
                count = self.query_one("#replica_count", Input).value if former is None else former
                return plan.scale(status, {"replica_count": count})
            case "delete":
                return plan.delete(status, self.deck.clock(), self._adapters.get(status.deployment.name, ()))
            case _:
                return plan.undelete(status)

    # What the server says.

    def on_mount(self) -> None:
        self.app.clear_notifications()  # they would lie over the dialog
        self.review()
        self.run_worker(self._ask_prices(), group="prices")
        if self._verb == "delete":
            self.run_worker(self._ask_dry_runs(), group="dry-run")

    async def _ask_prices(self) -> None:
        priced: dict[str, list[NodeView]] = {}
        for context in self._contexts:
            with contextlib.suppress(FiredeckError):
                priced[context] = await self.deck.at(context).nodes()
        self._priced = priced
        if self.is_mounted:
            self.review()

    async def _ask_dry_runs(self) -> None:
        """One after the other: a dialog must not be a burst of requests."""
        for status in self._seen:
            name = status.deployment.name
            try:
                self._adapters[name] = tuple(await self.deck.source.adapters(status.deployment))
                self._asked &= await self.deck.source.validate_delete(name)
                self._refusals[name] = None
            except FiredeckError as error:
                self._refusals[name] = self._problem(self._planned(status), error)
            if not self.is_mounted:
                return
            self.review()

    def _problem(self, planned: Plan, error: FiredeckError) -> Problem:
        if not plan.refused_as_in_use(planned, error):
            return plan.refused_by_server(error)
        return Problem("", f"{plan.in_use(planned, error).text}; it can be deleted alone")

    def _sendable(self) -> list[tuple[Plan, DeploymentStatus]]:
        """Those that nothing stands against."""
        return [(planned, status) for planned, status in self.plans() if planned.ready and not self._refused(planned)]

    def _refused(self, planned: Plan) -> Problem | None:
        return self._refusals.get(planned.target)

    @on(Input.Changed)
    def review(self) -> None:
        found = self.plans()
        price = "asking for prices" if self._priced is None else cost.of_plans(self._sendable(), self._priced)
        lines: list[list[Piece]] = []
        for planned, _ in found:
            lines += _lines(planned, self._refused(planned))
        lines += [[""], [("COST ", tone("head", bold=True)), price], *self._commands()]
        self.query_one("#plans", Text).show(*lines)
        self.query_one("#verdict", Text).show([self._verdict()])
        typed = [box.value for box in self.query(".-name").results(Input)]
        named = typed == self._prod_names()
        self.query_one("#confirm", Button).disabled = not named or self._asking or not self._sendable()

    def _commands(self) -> list[list[Piece]]:
        """What would do the same to those that can be sent."""
        found = [addressed(self.deck, planned.command, planned.context) for planned, _ in self._sendable()]
        head: list[list[Piece]] = [[""], [("THE SAME AS COMMANDS", tone("head", bold=True))]]
        return head + [[("$ ", tone("dim")), command] for command in found] if found else []

    @on(Input.Submitted)
    def _submitted(self) -> None:
        """On to the button, once it works."""
        confirm = self.query_one("#confirm", Button)
        if not confirm.disabled:
            confirm.focus()

    @property
    def _asking(self) -> bool:
        return self._verb == "delete" and len(self._refusals) < len(self._seen)

    def _verdict(self) -> str:
        if self._verb != "delete":
            return f"○ {NO_DRY_RUN}"
        if self._asking:
            return "◐ asking the server…"
        if not self._asked:
            return f"○ {UNASKED}"
        refused = sum(problem is not None for problem in self._refusals.values())
        return f"✖ the server refuses {refused} of {len(self._seen)}" if refused else "✔ the server would accept this"

    def action_scroll_plans(self, direction: int) -> None:
        content = self.query_one("#content", VerticalScroll)
        content.scroll_relative(y=direction * max(1, content.size.height - 1), animate=False)

    @on(Button.Pressed, "#confirm")
    def _confirm(self) -> None:
        self.app.run_worker(_send(self.deck, self._sendable()), group="send")
        self.dismiss(True)

    @on(Button.Pressed, "#cancel")
    def action_cancel(self) -> None:
        self.dismiss(False)


def _lines(planned: Plan, refused: Problem | None) -> list[list[Piece]]:
    """Its name with what differs, whom that touches, and what stands against it."""
    told = ", ".join(f"{change.field} {change.before} → {change.after}" for change in planned.changes) or "nothing"
    lines: list[list[Piece]] = [
        [(f"{short(planned.target)}: ", "bold"), (told, tone("attention" if planned.ready else "dim"))]
    ]
    lines += [[("  · ", tone("dim")), text] for text in planned.blast[:2]]
    problems = (*planned.problems, *((refused,) if refused else ()))
    lines += [[("  ✖ ", tone("failed")), (problem.text, tone("failed"))] for problem in problems]
    return lines


async def _send(deck: Deck, ready: Sequence[tuple[Plan, DeploymentStatus]]) -> None:
    """A worker of the app: closing the dialog does not end it. Each is journalled; all together can be taken back."""
    done: list[Outcome] = []
    for planned, status in ready:
        try:
            done.append(await deck.executor.run(planned, status))
        except FiredeckError as error:
            deck.notify(
                f"{short(planned.target)}: {error.text}", title="refused", severity="error", timeout=12, markup=False
            )
    deck.carried_out(*done)
