"""A plan, readable: a table of what differs, whom it touches, and the same as a command."""

from __future__ import annotations

from tui.core import units
from tui.core.plan import Change, Plan
from tui.widgets.paint import Piece, Text, tone

FIELD_CELLS, BEFORE_CELLS = 22, 14


class PlanView(Text):
    def show_plan(self, plan: Plan, more: tuple[Change, ...] = (), checked: str = "") -> None:
        """`more` are changes that the server adds; `checked` is the state of its dry run, in words."""
        lines: list[list[Piece]] = [[("WHAT WILL CHANGE", tone("head", bold=True))]]
        lines += [_change(change, "attention") for change in plan.changes]
        lines += [_change(change, "dim") for change in more]
        if not plan.changes:
            lines.append([("nothing", tone("dim"))])
        if plan.blast:
            lines += [[""], [("WHOM IT TOUCHES", tone("head", bold=True))]]
            lines += [[("· ", tone("attention")), text] for text in plan.blast]
        lines += [[""], [("THE SAME AS A COMMAND", tone("head", bold=True))], [("$ ", tone("dim")), plan.command]]
        if checked:
            lines += [[""], [checked]]
        self.show(*lines)


def _change(change: Change, colour: str) -> list[Piece]:
    if not change.before:
        return [units.fitted(change.field, FIELD_CELLS), (change.after, tone(colour, bold=colour != "dim"))]
    before = change.before.rjust(BEFORE_CELLS)  # never cut: it may hold a number
    field = units.fitted(change.field, FIELD_CELLS)
    return [field, (before, tone("dim")), (" → ", tone("dim")), (change.after, tone(colour, bold=colour != "dim"))]
