"""Several deployments at once: marks on the rows of the fleet's table, and the changes that are made of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui import screens
from tui.core.placed import context_of
from tui.screens.base import DeckScreen
from tui.widgets.fleet_table import FleetTable

if TYPE_CHECKING:
    from client.fleet_types import DeploymentStatus
    from tui.core.plan import Verb


class MarkingScreen(DeckScreen):
    """While there are marks, scale, delete and undelete mean them."""

    @property
    def table(self) -> FleetTable:
        return self.query_one(FleetTable)

    def action_mark(self) -> None:
        """Mark the chosen one, or take its mark away; then one down."""
        if self.target_name is not None:
            self.table.mark(self.table.marked ^ {self.target_name})
            self.table.action_move(1)
            self.draw()

    def marked(self) -> list[DeploymentStatus]:
        """Those with a mark that are still there, whether the filter shows them or not."""
        found = [self.picture.status(name) for name in sorted(self.table.marked)]
        return [status for status in found if status is not None]

    def _bulk(self, verb: Verb) -> bool:
        """Whether marks are meant: then the dialog for all of them is there, or it was said why not."""
        if not self.table.marked:
            return False
        found = self.marked()
        if not any(self.deck.refuses(verb, context) for context in dict.fromkeys(map(_of, found))):
            self.app.push_screen(screens.BulkDialog(verb, found), self._bulk_done)
        return True

    def _bulk_done(self, sent: bool | None) -> None:
        if sent:
            self.table.mark(frozenset())

    def action_scale(self) -> None:
        if not self._bulk("scale"):
            super().action_scale()

    def action_delete(self) -> None:
        if not self._bulk("delete"):
            super().action_delete()

    def action_undelete(self) -> None:
        if not self._bulk("undelete"):
            super().action_undelete()


def _of(status: DeploymentStatus) -> str:
    return context_of(status.deployment.name)
