"""What the fleet page and a deployment's page share: charts and events of one deployment, the change verbs."""

from __future__ import annotations

import asyncio

from client.errors import FiredeckError
from client.fleet_types import DeploymentStatus, Event
from tui.core import equivalents, plan
from tui.screens.change import ChangeDialog, Field
from tui.screens.charted import ChartedPage
from tui.screens.equivalents import EquivalentsDialog
from tui.widgets.events_log import EventsLog

CHOOSE_FIRST = "choose a deployment first"


class DeckScreen(ChartedPage):
    """A page about a deployment. Subclasses say which one is meant and draw the picture."""

    def __init__(self) -> None:
        super().__init__()
        self._asking = False

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
            found = equivalents.lines(status.deployment, self.deck.context)
            self.app.push_screen(EquivalentsDialog(status.deployment.id, found), self._copy)

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
            self.app.copy_to_clipboard(status.deployment.model_string)
            self.notify(status.deployment.model_string, title="copied for a request's model", timeout=4)

    def action_scale(self) -> None:
        status = self._changeable()
        if status is not None:
            desired = status.deployment.desired_replica_count
            self._ask_scale(status, "" if desired is None else str(desired))

    def _ask_scale(self, status: DeploymentStatus, count: str) -> None:
        self.app.push_screen(ChangeDialog("scale", status, (Field("replica_count", "replicas", count),)))

    def action_undo(self) -> None:
        """The dialog of the change that takes the last one back; it is reviewed and confirmed like any other."""
        undo = self.deck.undo
        status = self.picture.status(undo.target) if undo is not None else None
        if self.deck.refuse_if_locked():
            return
        if undo is None or status is None:
            self.notify("nothing to undo", severity="warning")
        elif undo.verb == "undelete":
            self.app.push_screen(ChangeDialog("undelete", status))
        else:
            self._ask_scale(status, str(undo.replica_count))

    def action_update(self) -> None:
        status = self._changeable()
        if status is not None:
            self.app.push_screen(ChangeDialog("update", status, update_fields(status)))

    def action_delete(self) -> None:
        status = self._changeable()
        if status is not None:
            self.app.push_screen(ChangeDialog("delete", status))

    def action_undelete(self) -> None:
        status = self._changeable(deleted=True)
        if status is not None:
            self.app.push_screen(ChangeDialog("undelete", status))

    def _changeable(self, *, deleted: bool = False) -> DeploymentStatus | None:
        """The target, if a change of this kind makes sense for it; otherwise says why not."""
        self.pin()
        if self.deck.refuse_if_locked():
            return None
        status = self.target()
        if status is None:
            self.notify(CHOOSE_FIRST, severity="warning")
            return None
        if (status.deployment.state == "DELETED") != deleted:
            state = "not deleted" if deleted else "deleted; bring it back with u"
            self.notify(f"{status.deployment.id} is {state}", severity="warning")
            return None
        return status


def update_fields(status: DeploymentStatus) -> tuple[Field, ...]:
    now = plan.flat(status.deployment)
    name, _, value = now.get("load_targets", "").partition(", ")[0].partition("=")
    known = {**now, "load_target": name, "load_target_value": value}
    labels = {
        "min_replica_count": "min replicas", "max_replica_count": "max replicas", "scale_up_window": "scale-up window",
        "scale_down_window": "scale-down window", "scale_to_zero_window": "scale-to-zero window",
        "load_target": "load target", "load_target_value": "target a replica",
    }  # fmt: skip
    return tuple(Field(key, label, known.get(key, "")) for key, label in labels.items())
