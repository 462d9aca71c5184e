"""A plan, readable: a table of what differs, what it costs, whom it touches, and the same as a command."""

from __future__ import annotations

from tui.core import units
from tui.core.plan import Change, Plan
from tui.widgets.paint import Piece, Text, tone

BEFORE_CELLS = 14
# Long names as the forms call them: what is left of the line belongs to the value.
_NAMES = {
    "min replica count": "min replicas", "max replica count": "max replicas", "scale up window": "scale-up window",
    "scale down window": "scale-down window", "scale to zero window": "to-zero window", "load targets": "load target",
    "cold policy": "when at zero", "base model": "model", "deployment id": "id",
    "load target value": "target a replica",
}  # fmt: skip
FIELD_CELLS = max(map(len, _NAMES.values())) + 1


def label_of(field: str) -> str:
    """What the forms call it."""
    return _NAMES.get(field, field)


class PlanView(Text):
    def show_plan(self, plan: Plan, more: tuple[Change, ...] = (), cost: str = "") -> None:
        """`more` are changes that the server adds, `cost` what the change costs, in words."""
        what = "WHAT WILL GO" if plan.verb == "delete" else "WHAT WILL CHANGE"
        lines: list[list[Piece]] = [[(what, tone("head", bold=True))]]
        lines += [_change(change, "attention") for change in plan.changes]
        lines += [_change(change, "dim") for change in more]
        if not plan.changes:
            lines.append([("nothing", tone("dim"))])
        if cost:
            lines += [[""], [("COST ", tone("head", bold=True)), cost]]
        if plan.blast:
            lines += [[""], [("WHOM IT TOUCHES", tone("head", bold=True))]]
            lines += [[("· ", tone("attention")), text] for text in plan.blast]
        lines += [[""], [("THE SAME AS A COMMAND", tone("head", bold=True))], [("$ ", tone("dim")), plan.command]]
        self.show(*lines)


def _change(change: Change, colour: str) -> list[Piece]:
    label = label_of(change.field)
    if not change.before:
        field = units.fitted(label, FIELD_CELLS - 1) + " "  # else the text would stand close to it
        return [field, (change.after, tone(colour, bold=colour != "dim"))]
    field = units.fitted(label, FIELD_CELLS)
    before = change.before.rjust(BEFORE_CELLS)  # never cut: it may hold a number
    return [field, (before, tone("dim")), (" → ", tone("dim")), (change.after, tone(colour, bold=colour != "dim"))]
