"""What the fleet page and a deployment's page share: charts and events of one deployment, the change verbs."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from client.errors import FiredeckError
from tui import screens
from tui.core import equivalents
from tui.core.placed import context_of, plain, plain_model, short
from tui.core.snapshot import Picture
from tui.screens.charted import ChartedPage
from tui.screens.page import CHOOSE_FIRST
from tui.widgets.events_log import EventsLog

if TYPE_CHECKING:
    from client.fleet_types import DeploymentStatus, Event
    from tui.core.plan import Verb

DETAILS_EVERY = timedelta(seconds=0.9)


class DeckScreen(ChartedPage):
    """A page about a deployment. Subclasses say which one is meant and draw the picture."""

    def __init__(self) -> None:
        super().__init__()
        self._asking = False
        self._asked_of: datetime | None = None  # by the clock of the pictures, which may be a recording's

    def target(self) -> DeploymentStatus | None:
        """The deployment that the user means now."""
        raise NotImplementedError

    @property
    def target_name(self) -> str | None:
        status = self.target()
        return status.deployment.name if status is not None else None

    @property
    def events_of(self) -> str | None:
        """Whose events the page shows; None for the whole fleet's."""
        return None

    def pin(self) -> None:
        """The user has begun to act on the target: from now on only the user changes what that is."""

    def draw_more(self) -> None:
        self.draw_charts()

    # History and events of the deployment that is looked at.

    def ask_details(self) -> None:
        if not self._asking and self.picture.snapshot is not None and self.picture.link.lost_at is None:
            self._asking = True
            self.run_worker(self._ask(), group="details", exit_on_error=True)

    def is_due(self, part: Picture) -> bool:
        """Pictures may come ten times a second; a curve has a point a second."""
        now = part.snapshot.time if part.snapshot is not None else None
        due = now is None or self._asked_of is None or abs(now - self._asked_of) >= DETAILS_EVERY
        if due:
            self._asked_of = now
        return due

    def ask_anew(self) -> None:
        self.ask_details()

    async def _ask(self) -> None:
        name = self.target_name
        try:
            curves, (events, note), limits = await asyncio.gather(
                self.ask_curves(name), self._ask_events(), self.ask_limits()
            )
        finally:
            self._asking = False
        if self.is_gone:
            return
        self.query_one(EventsLog).show(events, note)
        self.events, self.limits = self.events if events is None else events, limits
        if name == self.target_name:
            self.take_curves(curves)
            self.draw_charts()
        else:
            self.ask_details()

    async def _ask_events(self) -> tuple[list[Event] | None, str]:
        """The events, or None and why they did not come: the charts may have another source than they."""
        try:
            return await self.deck.source.events(self.events_of, 100), ""
        except FiredeckError as error:
            return None, error.text

    # Actions that both pages have.

    def action_timeline(self) -> None:
        self.pin()
        if self.target_name is None:
            self.notify(CHOOSE_FIRST, severity="warning")
        else:
            self.deck.show_timeline(self.target_name)

    def action_equivalents(self) -> None:
        """The same for a shell."""
        self.pin()
        status = self.target()
        if status is None:
            self.notify(CHOOSE_FIRST, severity="warning")
        else:
            name = status.deployment.name
            own = status.deployment.model_copy(update={"name": plain(name)})
            found = equivalents.lines(own, self.deck.fleets.context(context_of(name)))
            self.app.push_screen(screens.EquivalentsDialog(short(name), found), self._copy)

    def _copy(self, line: str | None) -> None:
        if line:
            self.app.copy_to_clipboard(line)
            self.notify(line, title="copied", timeout=6, markup=False)

    def action_copy_model(self) -> None:
        self.pin()
        status = self.target()
        if status is None:
            self.notify(CHOOSE_FIRST, severity="warning")
        else:
            model = plain_model(status.deployment.model_string)
            self.app.copy_to_clipboard(model)
            self.notify(model, title="copied for a request's model", timeout=4)

    def action_scale(self) -> None:
        self._begin("scale")

    def action_update(self) -> None:
        self._begin("update")

    def action_delete(self) -> None:
        self._begin("delete")

    def action_undelete(self) -> None:
        self._begin("undelete")

    def _begin(self, verb: Verb) -> None:
        self.pin()
        screens.verbs.begin(self.deck, verb, self.target())
