"""What the dashboard knows: the picture of every context, their locks and the one that is meant, the alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from textual.reactive import reactive

from client import collector
from client.config import Context
from client.errors import FiredeckError
from tui.cells import Sparing
from tui.core import contexts, prices
from tui.core.follow import news, progress
from tui.core.inbox import Alert, Inbox
from tui.core.inbox_file import InboxFile
from tui.core.placed import context_of, short
from tui.core.row import Row
from tui.core.snapshot import Picture
from tui.fleets import Fleets
from tui.messages import AccountSeen, FleetLost, FleetSeen, NodesSeen
from tui.screens.page import Page
from tui.sources.base import FleetSource

if TYPE_CHECKING:
    from tui.core.lists import Answer
    from tui.core.plan import Verb
    from tui.screens.charted import Curves

CURVES = 8  # deployments
ANSWERS = 64  # pages
SETTLED_S = 2.0
FULL_EVERY = 1000  # collections of the younger: one that looks through 5,000 deployments is a tenth of a second
K = TypeVar("K")
V = TypeVar("V")


def _keep(known: dict[K, V], key: K, value: V, most: int) -> None:
    """The `most` that were had last."""
    known.pop(key, None)
    known[key] = value
    if len(known) > most:
        del known[next(iter(known))]


class Watched(Sparing[FiredeckError], inherit_bindings=False):
    """Owns the picture, of several contexts that of all. Screens watch `picture` and `locked`; nothing but the pollers
    writes the former. `focus` is the context that is meant, empty of one alone; `locked` is its lock."""

    picture: reactive[Picture] = reactive(Picture(), repaint=False)  # pages paint what of it is another
    locked: reactive[bool] = reactive(False)
    focus: reactive[str] = reactive("")

    def __init__(
        self,
        source: FleetSource,
        clock: Callable[[], datetime],
        inbox: Path | None,
        *,
        readonly: bool,
        patient: bool = True,
    ) -> None:
        """`inbox`: the file that alerts are kept in, None for none. `patient`: False ends the run with the error where
        nobody answers from the start on."""
        super().__init__()
        self._patient, self.answered = patient, False  # whether there was a picture
        self._refused: dict[str, FiredeckError] = {}  # who has not answered yet, by contexts
        self.source, self.clock, self.readonly = source, clock, readonly
        self.fleets = Fleets(source, readonly=readonly)
        first = self.fleets.first
        self.set_reactive(Watched.focus, first)
        self.set_reactive(Watched.picture, Picture() if self.fleets.several else self.fleets.pictures[first])
        self.set_reactive(Watched.locked, self.fleets.locks[first])
        self.inbox_file = InboxFile(inbox, self.fleets.known_as)
        self.inbox: Inbox = self.inbox_file.read()
        self._followed: dict[str, tuple[Verb, datetime]] = {}
        self.curves: dict[str, tuple[Curves, datetime]] = {}  # what charts have had last, by deployments
        self.answers: dict[tuple[str, str], Answer] = {}  # what lists have had last, by pages and contexts

    def keep_curves(self, curves: Curves) -> None:
        """For pages that are opened while nobody answers; of a day each may take megabytes."""
        name = curves.deployment or ""
        _keep(self.curves, name, (curves, self.clock()), CURVES)

    def keep_answer(self, page: tuple[str, str], answer: Answer) -> None:
        _keep(self.answers, page, answer, ANSWERS)

    def at(self, context: str) -> FleetSource:
        """The source of this context alone."""
        return self.fleets.members[context]

    @property
    def context(self) -> Context:
        """The one that is meant."""
        return self.fleets.context(self.focus)

    def picture_of(self, context: str) -> Picture:
        return self.fleets.pictures[context] if self.fleets.several else self.picture

    def rows(self) -> tuple[Row, ...]:
        """All of them, with the age of those whose context is silent among others."""
        return contexts.aged(self.fleets.pictures, self.clock()) if self.fleets.several else self.picture.rows

    def look_at(self, context: str) -> None:
        """From now on this one is meant: its lock, and the pages of its engine."""
        if context != self.focus and context in self.fleets.members:
            self.focus = context
            self.locked = self.fleets.locks[context]
            if isinstance(self.screen, Page) and not self.screen.is_gone:
                self.screen.turned()

    def is_locked(self, context: str) -> bool:
        return self.locked if context == self.focus else self.fleets.locks[context]

    def unlock(self, context: str) -> None:
        if context == self.focus:
            self.locked = False
        else:
            self.fleets.locks[context] = False

    def watch_locked(self, locked: bool) -> None:
        self.fleets.locks[self.focus] = locked

    # The picture.

    def on_fleet_seen(self, message: FleetSeen) -> None:
        now, before = self.clock(), self.picture_of(message.context)
        self.answered = True
        self.inbox, unheard = self.inbox.taken(message.snapshot, now, message.context)
        part = before.seen(message.snapshot, now, self.at(message.context).facts.hidden)
        picture = self.fleets.whole(message.context, part, now)
        # First: what has come about is no longer in the bottom line of this picture.
        self._settle(message.context, picture, now)
        self.picture = picture
        if before.snapshot is None and not self.is_headless:  # in a process of its own
            # Most of what is kept is there by then. To look through it once takes a third of a second with 5,000.
            self.set_timer(SETTLED_S, partial(collector.spare, look_once=False, full_every=FULL_EVERY))
        if unheard and before.snapshot is not None:  # those of the first picture are counted in the top line
            self._ring(unheard)

    def _settle(self, context: str, picture: Picture, now: datetime) -> None:
        """Tell of the changes that have come about in this context, whose picture has come."""
        for name, (verb, since) in list(self._followed.items()):
            if context_of(name) == context and (told := news(picture.row(name), verb, now - since)):
                del self._followed[name]
                self.notify(told.text, title=short(name), severity=told.severity, markup=False)

    def follow_no_more(self, names: Iterable[str]) -> None:
        """Other changes of these are sent: the former ones do not come about any more."""
        for name in names:
            self._followed.pop(name, None)

    @property
    def following(self) -> str:
        """How far the oldest change under way has got; empty when none is."""
        for name, (verb, since) in self._followed.items():
            return progress(self.picture.row(name), name, verb, self.clock() - since)
        return ""

    def _ring(self, alerts: Sequence[Alert]) -> None:
        self.bell()
        for alert in alerts[:3]:
            told = f"{short(alert.deployment)}: {alert.text}"
            self.notify(told, title=alert.name, severity="warning", timeout=10, markup=False)

    def keep_inbox(self, inbox: Inbox) -> None:
        """The user has dealt with an alert."""
        self.inbox = inbox
        if problem := self.inbox_file.write(inbox):
            self.notify(problem, severity="warning")

    def on_fleet_lost(self, message: FleetLost) -> None:
        part = self.picture_of(message.context)
        self._show(message.context, part.lost(message.error.text, self.clock(), message.retry_at, message.attempt))
        self._refused[message.context] = message.error
        if not (self._patient or self.answered) and len(self._refused) == len(self.fleets.members):
            self.exit(contexts.refusal(self._refused))

    def on_account_seen(self, message: AccountSeen) -> None:
        self._show(message.context, self.picture_of(message.context).account(message.account.suspend_state))

    def on_nodes_seen(self, message: NodesSeen) -> None:
        self._show(message.context, self.picture_of(message.context).priced(prices.by_node(message.nodes)))

    def _show(self, context: str, part: Picture) -> None:
        self.picture = self.fleets.whole(context, part, self.clock())
