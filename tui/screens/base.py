"""What the fleet page and a deployment's page share: status lines, the 1 Hz tick, details, the change verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.screen import Screen

from client.errors import FiredeckError
from client.fleet_types import DeploymentStatus, Event, History
from tui.core import plan, series
from tui.core.actions import Place
from tui.core.snapshot import Picture
from tui.screens.change import ChangeDialog, Field
from tui.widgets.chart import ChartView
from tui.widgets.key_bar import KeyBar
from tui.widgets.status_bar import Banner, StatusBar

if TYPE_CHECKING:
    from tui.app import Deck

TICK_S = 1.0
SPANS_S = (120, 300, 900, 3600)
YOUNG_S = 240


class DeckScreen(Screen[None]):
    """A page of the dashboard. Subclasses say which deployment is meant and draw the picture."""

    place: Place = "fleet"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-medium"), (160, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-mid"), (48, "-tall")]

    def __init__(self) -> None:
        super().__init__()
        self._span_s: int | None = None
        self._asking = False

    @property
    def deck(self) -> Deck:
        return cast("Deck", self.app)

    @property
    def picture(self) -> Picture:
        return self.deck.picture

    @property
    def span_s(self) -> int:
        """What the charts cover: the user's choice, or 5 minutes; 2 while the engine is too young to fill those."""
        if self._span_s is not None:
            return self._span_s
        snapshot = self.picture.snapshot
        young = snapshot is not None and (snapshot.time - snapshot.engine.started_at).total_seconds() < YOUNG_S
        return SPANS_S[0] if young else SPANS_S[1]

    def target(self) -> DeploymentStatus | None:
        """The deployment that the user means now."""
        raise NotImplementedError

    def draw(self) -> None:
        """Put the app's picture on the screen."""
        raise NotImplementedError

    def show_details(self, history: History | None, events: list[Event] | None, note: str) -> None:
        """Details of the target arrived; None where asking failed, `note` says why."""
        raise NotImplementedError

    def on_mount(self) -> None:
        self.watch(self.app, "picture", self._on_picture)
        self.watch(self.app, "locked", self._tick)
        self.set_interval(TICK_S, self._tick)

    def on_resize(self) -> None:
        self.call_after_refresh(self._tick)

    def on_screen_resume(self) -> None:
        self._on_picture()

    def _on_picture(self) -> None:
        if self.is_visible:
            self._tick()
            self.ask_details()

    @property
    def is_visible(self) -> bool:
        """It is on top, or behind dialogs only: then it goes on living."""
        stack = self.app.screen_stack
        return self in stack and all(screen.is_modal for screen in stack[stack.index(self) + 1 :])

    def _tick(self) -> None:
        """Ages and countdowns move with the local clock, between two snapshots too."""
        if not self.is_visible:
            return
        now = self.deck.clock()
        with self.app.batch_update():
            self.query_one(StatusBar).show_state(self.picture, self.deck.context, now, locked=self.deck.locked)
            self.query_one(Banner).show_link(self.picture, now)
            self.query_one(KeyBar).show_keys(locked=self.deck.locked)
            self.draw()

    # History and events of the deployment that is looked at.

    def ask_details(self) -> None:
        if not self._asking and self.picture.snapshot is not None and self.picture.link.lost_at is None:
            self._asking = True
            self.run_worker(self._ask(), group="details", exit_on_error=True)

    async def _ask(self) -> None:
        status, source = self.target(), self.deck.source
        name = status.deployment.name if status is not None else None
        history, events, note = None, None, ""
        try:
            if name is not None:
                history = await source.history(name, self.span_s)
            events = await source.events(name if self.place == "deployment" else None, 100)
        except FiredeckError as error:
            note = error.text
        finally:
            self._asking = False
        if not (self.is_attached and self.children):
            return  # closed while it was asking: a screen that goes loses its widgets first
        now = self.target()
        if name == (now.deployment.name if now is not None else None):
            self.show_details(history, events, note)
        else:
            self.ask_details()

    def show_charts(self, history: History | None, note: str) -> None:
        for kind in series.CHARTS:
            self.query_one(f"#chart-{kind.key}", ChartView).show(series.chart(kind, history, self.span_s), note)

    # Actions that both pages have.

    def action_span(self) -> None:
        self._span_s = SPANS_S[(SPANS_S.index(self.span_s) + 1) % len(SPANS_S)]
        self.notify(f"charts: the last {series.short_span(self.span_s)}", timeout=2)
        self.ask_details()

    def action_copy_model(self) -> None:
        status = self.target()
        if status is not None:
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
        if self.deck.refuse_if_locked():
            return None
        status = self.target()
        if status is None:
            self.notify("no deployment is selected", severity="warning")
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
