"""The newest requests, and one of them explained."""

from __future__ import annotations

from datetime import datetime

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from client.errors import FiredeckError
from client.trace_types import RequestTrace
from tui.core import request_page
from tui.core.actions import Place
from tui.keymap import bindings
from tui.screens.listing import ListScreen
from tui.screens.page import Page
from tui.widgets.key_bar import KeyBar
from tui.widgets.keyed_table import KeyedTable
from tui.widgets.paint import Piece, Text, tone
from tui.widgets.status_bar import Banner, StatusBar

ASK_EVERY_S = 2.0  # while the request is under way


class RequestsScreen(ListScreen):
    BINDINGS = bindings("requests")

    def __init__(self, page: str) -> None:
        super().__init__(page)
        self.place: Place = "requests"

    @on(KeyedTable.Opened)
    def action_open(self) -> None:
        row = self.chosen()
        if row is not None:
            self.app.push_screen(ExplainScreen(row.what.request_id, self.context))

    def action_copy_id(self) -> None:
        row = self.chosen()
        if row is not None:
            self.app.copy_to_clipboard(row.what.request_id)
            self.notify(f"firedeck explain {row.what.request_id}", title="copied the request's id", timeout=4)


class ExplainScreen(Page):
    """One request: what `firedeck explain` tells, asked again until the request has ended."""

    CSS_PATH = "listing.tcss"
    place: Place = "request"
    BINDINGS = bindings("request")
    AUTO_FOCUS = "#told"

    turns = False

    def __init__(self, request_id: str, context: str = "") -> None:
        """`context`: of several the one that it was asked of."""
        super().__init__()
        self.request_id = request_id
        self._asked_of = context
        self.trace: RequestTrace | None = None
        self._note = "asking"
        self._asked_at: datetime | None = None
        self._asking = False

    def compose(self) -> ComposeResult:
        yield StatusBar(id="status")
        yield Banner(id="banner")
        yield Text(id="facts")
        with VerticalScroll(id="told"):
            yield Text(id="sentences")
            yield Text(id="spans")
        yield KeyBar("request")

    def draw(self) -> None:
        head: list[Piece] = [(f" {self.request_id} ", "bold $background on $tone-working"), " "]
        found = self.trace
        if found is None:
            self.query_one("#facts", Text).show([*head, (self._note, tone("attention"))])
            return
        now, width = self.picture.engine_now(self.deck.clock()), self.size.width
        told: list[Piece] = [(f"{found.request.model or ''}", "")]
        if found.simulated:
            told.append(("  SIMULATED", tone("attention", bold=True)))
        if self._note:
            told.append((f"  ▲ not renewed: {self._note}", tone("attention")))
        second: list[Piece] = [" "]
        for label, value in request_page.facts(found, now):
            width -= len(label) + len(value) + 3
            if width > 0:
                second += [(f"{label} ", tone("dim")), (value, "bold"), "  "]
        self.query_one("#facts", Text).show([*head, *told], second)
        self._draw_trace(found, self.size.width)

    def _draw_trace(self, found: RequestTrace, width: int) -> None:
        lines: list[list[Piece]] = [[(line, "")] for line in request_page.sentences(found, width - 4)]
        self.query_one("#sentences", Text).show([("what happened", tone("head", bold=True))], *lines)
        rows: list[list[Piece]] = [
            [(line, tone("failed") if failed else "")] for line, failed in request_page.spans(found, width - 4)
        ]
        head: list[Piece] = [("spans: begins, takes", tone("head", bold=True))]
        self.query_one("#spans", Text).show(head, *(rows or [[("no spans were kept of it", tone("dim"))]]))

    @property
    def context(self) -> str:
        return self._asked_of

    def ask_details(self) -> None:
        now, ended = self.deck.clock(), self.trace is not None and self.trace.request.status is not None
        due = self._asked_at is None or (now - self._asked_at).total_seconds() >= ASK_EVERY_S
        if due and not ended and not self._asking and self.picture.link.lost_at is None:
            self._asking, self._asked_at = True, now
            self.run_worker(self._ask(), group="details", exit_on_error=True)

    async def _ask(self) -> None:
        try:
            self.trace, self._note = await self.source.explain(self.request_id), ""
        except FiredeckError as error:
            self._note = error.text
        finally:
            self._asking = False
        if not self.is_gone:
            self.draw()

    def action_copy_id(self) -> None:
        self.app.copy_to_clipboard(self.request_id)
        self.notify(f"firedeck explain {self.request_id}", title="copied the request's id", timeout=4)

    def action_back(self) -> None:
        self.app.pop_screen()
