"""What has the focus, all keys, searchable, from the table of actions; and what the signs mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input, Label

from tui.core import actions, units
from tui.core.help_text import PAGES, TEXTS
from tui.screens.page import Page
from tui.widgets.line_input import LineInput
from tui.widgets.paint import Piece, Text, tone

if TYPE_CHECKING:
    from tui.app import Deck

_SIGNS: tuple[tuple[str, str, str], ...] = (
    ("● READY", "healthy", "every wanted replica answers"),
    ("▲ SCALE 1→2", "attention", "replicas are being added (▼ removed)"),
    ("▲ WAKING 0→1", "working", "a request arrived at zero replicas"),
    ("◌ ZERO", "idle", "no replica, no cost; the next request wakes it"),
    ("✖ FAILED", "failed", "cannot serve; the reason is on its page"),
    (units.UNKNOWN, "dim", "no data yet, or none just now: not zero"),
    (units.NOT_EXPOSED, "dim", "not exposed: this source has no such number"),
    ("▲ 42s ago", "attention", "stale: so it was then; what is dim may be otherwise now"),
)


def about(widget: Widget | None) -> str:
    """What there is to say about this widget: by its page where it is the page's table, by its id, else by what kind it
    is; nothing for none."""
    if widget is None:
        return ""
    if widget.id == "list" and isinstance(widget.screen, Page):
        return PAGES.get(widget.screen.topic, TEXTS["KeyedTable"])
    names = [widget.id or "", *(kind.__name__ for kind in type(widget).__mro__)]
    return next((TEXTS[name] for name in names if name in TEXTS), "")


class HelpDialog(ModalScreen[None]):
    """`focused`: what had the focus when help was asked for; the help begins with it."""

    CSS_PATH = "help.tcss"
    BINDINGS = [
        Binding("f1", "dismiss", show=False, id="help.toggle", tooltip="Close the help"),
        Binding("escape", "dismiss", "close", id="help.close", tooltip="Close the help"),
        Binding("up,pageup", "scroll(-1)", show=False, id="help.up", tooltip="Scroll up"),
        Binding("down,pagedown", "scroll(1)", show=False, id="help.down", tooltip="Scroll down"),
    ]
    AUTO_FOCUS = "#search"

    def __init__(self, focused: Widget | None = None) -> None:
        super().__init__()
        self._focused = focused

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Label("Keys", id="title")
            yield LineInput(placeholder="search the keys", id="search", compact=True)
            with VerticalScroll(id="content", can_focus=False):
                yield Text(id="keys-found")

    def on_mount(self) -> None:
        self.app.clear_notifications()  # they would lie over the text
        self._find()

    @on(Input.Changed)
    def _find(self) -> None:
        words = self.query_one(Input).value
        if words == "?":  # the box takes every character: the key that opened the help closes it while it is empty
            self.dismiss()
            return
        deck = cast("Deck", self.app)
        found = actions.search(words, deck.actions)
        here = about(self._focused)
        lines: list[list[Piece]] = [[("HERE", tone("head", bold=True))], [here]] if here and not words else []
        group = ""
        for action in found:
            if action.group != group:
                group = action.group
                lines += [[""]] if lines else []
                lines.append([(group.upper(), tone("head", bold=True))])
            key, label = units.fitted(action.shown_keys, 7), units.fitted(action.label, 12)
            if lacking := deck.lacking(action.name):
                lines.append([(f"{key}{label}not here: {lacking}", tone("dim"))])
            else:
                lines.append([(key, tone("healthy", bold=True)), (label, "bold"), action.tooltip])
        if not found:
            lines.append([f"nothing matches {words!r}"])
        self.query_one("#keys-found", Text).show(*lines, *(_signs() if not words else ()))

    def action_scroll(self, direction: int) -> None:
        content = self.query_one("#content")
        content.scroll_relative(y=direction * max(1, content.size.height // 2), animate=False)


def _signs() -> list[list[Piece]]:
    head: list[list[Piece]] = [[""], [("SIGNS", tone("head", bold=True))]]
    rows: list[list[Piece]] = [
        [(units.fitted(sign, 18), tone(colour, bold=True)), text] for sign, colour, text in _SIGNS
    ]
    return [*head, *rows]
