"""The playground: a chat with any deployment or adapter, what each answer took, and two of them side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import datetime, timedelta

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from client.addon_types import DeployedModel
from client.errors import FiredeckError
from tui.core import playground
from tui.core.actions import Place
from tui.core.playground import Choice, Seat
from tui.keymap import bindings
from tui.screens.page import Page
from tui.widgets.key_bar import KeyBar
from tui.widgets.line_input import LineInput
from tui.widgets.paint import Piece, Text, tone
from tui.widgets.seat_view import SeatView
from tui.widgets.status_bar import Banner, StatusBar

DRAW_EVERY = timedelta(milliseconds=50)  # while tokens come
LOADED_EVERY_S = 10.0
SIDES = ("left", "right")
ALONE = Choice("", "(nothing beside)")


class PlaygroundScreen(Page):
    """`first`: the full name of the deployment to begin with. Two sides that share replicas are asked in turn, so that
    neither slows the other."""

    CSS_PATH = "playground.tcss"
    place: Place = "playground"
    BINDINGS = bindings("playground")
    AUTO_FOCUS = "#prompt"

    def __init__(self, first: str, seats: list[Seat]) -> None:
        """`seats` are changed: what was said is there again when the page is opened the next time."""
        super().__init__()
        if seats and first not in ("", seats[0].deployment) and not any(seat.asked or seat.said for seat in seats):
            seats.clear()  # nothing was said yet: whom the cursor is on is meant
        self.seats = seats
        self._first = first
        self._loaded: list[DeployedModel] = []
        self._asked_at: datetime | None = None
        self._drawn_at: datetime | None = None

    def compose(self) -> ComposeResult:
        yield StatusBar(id="status")
        yield Banner(id="banner")
        yield Text(id="summary")
        with Horizontal(id="seats"):
            for side in SIDES:
                yield SeatView(id=side)
        yield LineInput(placeholder="a prompt; enter sends it", id="prompt", compact=True)
        yield KeyBar("playground")

    @property
    def prompt(self) -> LineInput:
        return self.query_one("#prompt", LineInput)

    @property
    def busy(self) -> bool:
        return any(seat.busy for seat in self.seats)

    def choices(self) -> tuple[Choice, ...]:
        found = self.deck.picture.snapshot.deployments if self.deck.picture.snapshot else []  # of all contexts
        return playground.choices(found, self._loaded)

    # Drawing.

    def draw(self) -> None:
        if not self.seats and (offered := self.choices()):
            first = next((one for one in offered if one.model.endswith(f"#{self._first}")), offered[0])
            self.seats.append(Seat(first))
        self._drawn_at = self.deck.clock()
        self.query_one("#summary", Text).show(self._summary())
        for number, side in enumerate(SIDES):
            self.query_one(f"#{side}", SeatView).show_seat(self.seats[number] if number < len(self.seats) else None)

    def _summary(self) -> list[Piece]:
        pieces: list[Piece] = [(" playground ", "bold $background on $tone-working"), " "]
        if not self.seats:
            return [*pieces, ("no deployment can be asked", tone("dim"))]
        if playground.in_turn(self.seats):
            pieces.append(("both sides are on the same replicas: asked one after the other", tone("dim")))
        if any(one.simulated for one in (self.picture.snapshot.deployments if self.picture.snapshot else [])):
            pieces.append(("  SIMULATED: no model answers", tone("attention", bold=True)))
        return pieces

    # Who can be asked.

    def ask_details(self) -> None:
        now = self.deck.clock()
        due = self._asked_at is None or (now - self._asked_at).total_seconds() >= LOADED_EVERY_S
        if due and self.picture.snapshot is not None and self.picture.link.lost_at is None:
            self._asked_at = now
            self.run_worker(self._ask_loaded(), group="details", exit_on_error=True)

    async def _ask_loaded(self) -> None:
        """Of all contexts that answer. Where adapters cannot be listed, deployments can be asked all the same."""
        loaded: list[DeployedModel] = []
        for name, source in self.deck.fleets.members.items():
            if self.deck.picture_of(name).link.lost_at is None:
                with suppress(FiredeckError):
                    loaded += await source.deployed_models()
        self._loaded = loaded

    # Asking.

    @on(Input.Submitted, "#prompt")
    def _submitted(self, event: Input.Submitted) -> None:
        prompt = event.value.strip()
        if self.busy:
            self.notify("an answer is on its way; escape stops it", severity="warning")
        elif prompt and self.seats:
            self.prompt.value = ""
            self.run_worker(self._ask(prompt), group="talk", exit_on_error=True)

    async def _ask(self, prompt: str) -> None:
        sides = range(len(self.seats))
        try:
            if playground.in_turn(self.seats):
                for side in sides:
                    await self._answer(side, prompt)
            else:
                await asyncio.gather(*(self._answer(side, prompt) for side in sides))
        finally:
            self.seats[:] = [self._stopped(seat) for seat in self.seats]
            if not self.is_gone:
                self.draw()

    async def _answer(self, side: int, prompt: str) -> None:
        seat = self._put(side, self.seats[side].begun(prompt, self.deck.clock()))
        answer = seat.answer
        if answer is None:
            return
        try:
            async with aclosing(self.deck.source.chat(seat.body())) as chunks:
                async for chunk in chunks:
                    answer = answer.grown(chunk, self.deck.clock())
                    self._put(side, replace(seat, answer=answer))
        except FiredeckError as error:
            answer = answer.failed(error.text)
        self._put(side, replace(seat, answer=answer.ended()))

    def _put(self, side: int, seat: Seat) -> Seat:
        """The seat as it is now, on the screen once in a while."""
        self.seats[side] = seat
        now = self.deck.clock()
        if not self.is_gone and (self._drawn_at is None or now - self._drawn_at >= DRAW_EVERY or not seat.busy):
            self.draw()
        return seat

    @staticmethod
    def _stopped(seat: Seat) -> Seat:
        """An answer that was cut off is told as such."""
        return replace(seat, answer=seat.answer.failed("stopped")) if seat.answer and seat.busy else seat

    # What the user does.

    def action_write(self) -> None:
        self.prompt.focus()

    def action_choose(self, side: int) -> None:
        if self.busy:
            self.notify("an answer is on its way; escape stops it", severity="warning")
            return
        offered = [*([ALONE] if side and len(self.seats) > 1 else []), *self.choices()]
        self.app.push_screen(ChoiceDialog(offered, SIDES[side]), lambda choice: self._chosen(side, choice))

    def _chosen(self, side: int, choice: Choice | None) -> None:
        if choice is None:
            return
        if choice is ALONE:
            del self.seats[1:]
        else:
            self.seats[side : side + 1] = [Seat(choice)]
        self.draw()

    def action_drafts(self) -> None:
        """The same beside, without drafts; with another beside: that one with or without."""
        if self.busy or not self.seats:
            return
        if len(self.seats) == 1:
            self.seats.append(Seat(self.seats[0].choice, drafts=False))
        else:
            self.seats[1] = replace(self.seats[1], drafts=not self.seats[1].drafts)
        self.draw()

    def action_anew(self) -> None:
        """The same sides, an empty conversation."""
        if not self.busy:
            self.seats[:] = [Seat(seat.choice, seat.drafts) for seat in self.seats]
            self.draw()

    def action_back(self) -> None:
        """Stops what is on its way; out of the prompt; then to the page before."""
        if self.busy:
            self.workers.cancel_group(self, "talk")
        elif self.prompt.has_focus:
            self.query_one("#left .seat-talk").focus()
        else:
            self.app.pop_screen()


class ChoiceDialog(ModalScreen[Choice]):
    """Dismissed with whom to ask; with None for nobody else."""

    BINDINGS = [
        Binding("escape", "close", "close", id="choice.close", tooltip="Leave it as it is"),
        Binding("f1", "app.help", show=False, id="choice.help", tooltip="What this is"),
    ]
    AUTO_FOCUS = "OptionList"

    def __init__(self, offered: Sequence[Choice], side: str) -> None:
        super().__init__()
        self._offered, self._side = tuple(offered), side

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Label(f"Who is asked on the {self._side}?", id="title")
            options = (Option(Content(f"{one.label:<30} {one.model}")) for one in self._offered)
            yield OptionList(*options, id="choices")

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._offered[event.option_index])

    def action_close(self) -> None:
        self.dismiss(None)
