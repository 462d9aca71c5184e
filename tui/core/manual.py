"""The manual's table of keys, made from the table of actions: `python -m tui.core.manual` writes it anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tui.core.actions import Action
from tui.core.keys import TABLE

BEGIN, END = "<!-- keys: begin -->", "<!-- keys: end -->"
_HEAD = ("| key | `:` | command line | what it does |", "|---|---|---|---|")


def path() -> Path:
    return Path(__file__).parents[1] / "manual.md"


def row(action: Action) -> str:
    """One action as a line of the table."""
    words = f"`{action.cli}`" if action.cli else ""
    return f"| `{action.shown_keys}` | {action.name} | {words} | {action.tooltip} |"


def table(actions: Sequence[Action] = TABLE) -> str:
    return "\n".join([*_HEAD, *(row(action) for action in actions)])


def renewed(text: str) -> str:
    """The manual's text with the table of now between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    path().write_text(renewed(path().read_text(encoding="utf-8")), encoding="utf-8")
