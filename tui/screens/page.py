"""What every page shares: its place in the keymap, status lines, the 1 Hz tick, the ways to the other pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual import events, on
from textual.screen import Screen

from tui.core.actions import Place
from tui.core.snapshot import Picture
from tui.sources.base import FleetSource
from tui.widgets.key_bar import KeyBar
from tui.widgets.status_bar import Banner, StatusBar

if TYPE_CHECKING:
    from tui.app import Deck

CHOOSE_FIRST = "choose a deployment first"
TICK_S = 1.0


class Page(Screen[None]):
    """A page of the dashboard. Subclasses draw the picture, and ask for what it does not have."""

    place: Place = "fleet"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-medium"), (160, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-mid"), (48, "-tall")]
    turns = True  # it may show another context; False of what belongs to one

    def __init__(self) -> None:
        super().__init__()
        self._last_part: Picture | None = None

    @property
    def topic(self) -> str:
        """What the help calls it."""
        return self.listed or self.place

    @property
    def listed(self) -> str:
        """What list it is, by its action; empty of a page that is none."""
        return ""

    @property
    def shown_deployment(self) -> str:
        """The one that the page is of, by its full name; empty of a page of many."""
        return ""

    @property
    def deck(self) -> Deck:
        return cast("Deck", self.app)

    @property
    def context(self) -> str:
        """Of several contexts the one that the page is of."""
        return self.deck.focus

    @property
    def source(self) -> FleetSource:
        """That context's alone."""
        return self.deck.at(self.context)

    @property
    def part(self) -> Picture:
        """That context's picture."""
        return self.deck.picture_of(self.context)

    @property
    def picture(self) -> Picture:
        """What the page draws."""
        return self.part

    def draw(self) -> None:
        """Put the app's picture on the screen."""
        raise NotImplementedError

    def draw_more(self) -> None:
        """What is drawn after the picture."""

    def ask_details(self) -> None:
        """Ask the source for what the picture does not have; the answer is drawn when it comes."""

    def on_mount(self) -> None:
        self.watch(self.app, "picture", self._on_picture)
        self.watch(self.app, "locked", self.tick)
        self.set_interval(TICK_S, self.tick)

    @on(events.DescendantFocus)
    @on(events.DescendantBlur)
    def _keys_changed(self) -> None:
        """An input takes the letters for itself."""
        if self.is_visible:
            self.query_one(KeyBar).show_keys(locked=self.deck.is_locked(self.context))

    def on_resize(self) -> None:
        self.call_after_refresh(self.tick)

    def on_screen_resume(self) -> None:
        self._last_part = None
        if self.app.screen is self:  # on the way to another page it only lies open for a moment
            self.deck.look_at(self.context)
        self._on_picture()

    def _on_picture(self) -> None:
        if not self.is_visible:
            return
        part, last = self.part, self._last_part
        self._last_part = part
        self.tick()
        silent = part.snapshot is None or part.link.lost_at is not None
        if silent or last is None or (part is not last and self.is_due(part)):  # nothing for other contexts' pictures
            self.ask_details()

    def is_due(self, part: Picture) -> bool:
        """Whether what the picture does not have is asked for again."""
        return True

    def turned(self) -> None:
        """Another context is meant."""
        self._last_part = None
        self._on_picture()

    @property
    def is_visible(self) -> bool:
        """It is on top, or behind dialogs only: then it goes on living."""
        stack = self.app.screen_stack
        return self in stack and all(screen.is_modal for screen in stack[stack.index(self) + 1 :])

    def tick(self) -> None:
        """Ages and countdowns move with the local clock, between two snapshots too; stale data stands still."""
        if not self.is_visible:
            return
        deck, now = self.deck, self.deck.clock()
        context = deck.fleets.context(self.context)
        standings = deck.fleets.standings(now, deck.config)
        with self.app.batch_update():
            self.query_one(StatusBar).show_state(
                self.part,
                context,
                now,
                locked=deck.is_locked(self.context),
                alerts=len(deck.inbox.new(deck.picture.engine_now(now))),
                facts=self.source.facts,
                colour=deck.config.tone_of(context),
                others=[one for one in standings if one.name != self.context],
            )
            self.query_one(Banner).show_troubles(self.troubled(), now)
            self.query_one(KeyBar).show_keys(locked=deck.is_locked(self.context))
            self.set_class(bool(self.part.stale_age(now)), "-stale")
            self.draw()
            self.draw_more()

    def troubled(self) -> dict[str, tuple[str, Picture]]:
        """The contexts whose losses the page tells of, by their names: the account there, and the picture."""
        return {self.context: (self.deck.fleets.context(self.context).account, self.part)}

    @property
    def is_gone(self) -> bool:
        """Closed, or closing: an answer that comes now has no widgets to go to."""
        return self not in self.app.screen_stack or not (self.is_attached and self.children)

    def action_visit(self, page: str) -> None:
        self.deck.visit(page)

    def action_undo(self) -> None:
        """The dialog of the change that takes the last one back; it is reviewed and confirmed like any other."""
        self.deck.begin_undo()
