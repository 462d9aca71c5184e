"""The dashboard's App: one picture of the fleet, the screens that show it, the executor that changes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from textual.app import App, SystemCommand
from textual.filter import LineFilter
from textual.reactive import reactive
from textual.screen import Screen

from client.config import Context
from tui import theme
from tui.core.actions import ACTIONS
from tui.core.follow import news
from tui.core.inbox import Alert, Inbox
from tui.core.inbox_file import InboxFile
from tui.core.journal import Journal, default_path
from tui.core.plan import Plan, Verb
from tui.core.query import View
from tui.core.series import Symbols
from tui.core.snapshot import Picture
from tui.executor import Executor, Outcome
from tui.messages import AccountSeen, FleetLost, FleetSeen
from tui.poller import AccountPoller, Poller
from tui.screens.alerts import AlertsScreen
from tui.screens.costs import CostsScreen
from tui.screens.deployment import DeploymentScreen
from tui.screens.fleet import FleetScreen
from tui.screens.help import HelpDialog
from tui.screens.listing import ListScreen
from tui.screens.page import Page
from tui.screens.palette import Palette, PrefixCommands
from tui.screens.requests import RequestsScreen
from tui.screens.routers import RoutersScreen
from tui.screens.timeline import TimelineScreen
from tui.screens.unlock import UnlockDialog
from tui.sources.base import FleetSource
from tui.widgets.ascii_filter import AsciiFilter

PAGES: dict[str, type[ListScreen]] = {  # those that do more than list
    "alerts": AlertsScreen, "requests": RequestsScreen, "routers": RoutersScreen, "costs": CostsScreen,
}  # fmt: skip


def _now() -> datetime:
    return datetime.now(UTC)


class Deck(App[None]):
    """Owns the picture. Screens watch `picture` and `locked`; nothing but the poller writes the former."""

    TITLE = "firedeck"
    CSS_PATH = [
        "app.tcss", "screens/fleet.tcss", "screens/deployment.tcss", "screens/dialogs.tcss", "screens/create.tcss",
        "screens/help.tcss", "screens/listing.tcss",
    ]  # fmt: skip
    MODES = {"fleet": FleetScreen}
    DEFAULT_MODE = "fleet"
    COMMANDS = {PrefixCommands}
    COMMAND_PALETTE_BINDING = "colon"

    picture: reactive[Picture] = reactive(Picture())
    locked: reactive[bool] = reactive(False)

    def __init__(
        self,
        source: FleetSource,
        *,
        clock: Callable[[], datetime] = _now,
        journal: Journal | None = None,
        readonly: bool = False,
        deployment: str | None = None,
        symbols: Symbols = "block",
    ) -> None:
        super().__init__()
        self.source = source
        self.context: Context = source.context
        self.clock = clock
        self.readonly = readonly
        self.set_reactive(Deck.locked, readonly or self.context.prod)
        journal = journal if journal is not None else Journal(default_path())
        self.executor = Executor(source, journal, clock, lambda: self.locked)
        self._first_page = deployment
        self.undo: Plan | None = None
        self.exports = Path.cwd()  # where reports are written
        self.views: dict[str, View] = {}  # of the side pages, by their names
        path = journal.path.with_name("inbox.json") if journal.path is not None else None
        self.inbox_file = InboxFile(path, f"{self.context.name} {self.context.base_url}")
        self.inbox: Inbox = self.inbox_file.read()
        self._followed: dict[str, tuple[Verb, datetime]] = {}
        self.set_class(symbols == "ascii", "-ascii")
        self.set_class(symbols == "braille", "-braille")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return theme.tones(self.current_theme.dark)

    def get_line_filters(self) -> Sequence[LineFilter]:
        ours = (AsciiFilter(),) if self.has_class("-ascii") else ()
        return [*super().get_line_filters(), *ours]

    def on_mount(self) -> None:
        self.register_theme(theme.FIREDECK)
        self.theme = theme.FIREDECK.name
        self.run_worker(Poller(self.source, self.post_message, self.clock).run(), group="poller")
        self.run_worker(AccountPoller(self.source, self.post_message).run(), group="poller")
        if self._first_page is not None:
            self.push_screen(DeploymentScreen(self._first_page))

    async def on_unmount(self) -> None:
        self.workers.cancel_all()
        await self.source.close()

    # The picture.

    def on_fleet_seen(self, message: FleetSeen) -> None:
        now = self.clock()
        first = self.picture.snapshot is None
        self.inbox, unheard = self.inbox.taken(message.snapshot, now)
        self.picture = self.picture.seen(message.snapshot, now)
        if unheard and not first:  # those of the first picture are counted in the top line
            self._ring(unheard)
        for name, (verb, since) in list(self._followed.items()):
            if told := news(self.picture.row(name), verb, now - since):
                del self._followed[name]
                self.notify(told.text, title=name.rpartition("/")[2], severity=told.severity, markup=False)

    def _ring(self, alerts: Sequence[Alert]) -> None:
        self.bell()
        for alert in alerts[:3]:
            told = f"{alert.deployment.rpartition('/')[2]}: {alert.text}"
            self.notify(told, title=alert.name, severity="warning", timeout=10, markup=False)

    def keep_inbox(self, inbox: Inbox) -> None:
        """The user has dealt with an alert."""
        self.inbox = inbox
        if problem := self.inbox_file.write(inbox):
            self.notify(problem, severity="warning")

    def on_fleet_lost(self, message: FleetLost) -> None:
        self.picture = self.picture.lost(message.reason, self.clock(), message.retry_at, message.attempt)

    def on_account_seen(self, message: AccountSeen) -> None:
        self.picture = self.picture.account(message.account.suspend_state)

    # Changes.

    def refuse_if_locked(self) -> bool:
        """True, and said so, while changes are not allowed."""
        if self.locked:
            self.notify("changes are locked; unlock them with R", title="read-only", severity="warning")
        return self.locked

    def carried_out(self, outcome: Outcome) -> None:
        """A change was made: say so, and offer the way back where there is one. One without keeps the former way."""
        hint = ""
        if outcome.undo is not None and outcome.undo.changes:
            self.undo = outcome.undo
            hint = f"\nU takes it back: {self.undo.command}"
        elif self.undo is not None and (outcome.verb, outcome.name) == (self.undo.verb, self.undo.target):
            self.undo = None  # this was it
        self.notify(f"{outcome.text}{hint}", title="done", timeout=8, markup=False)
        if outcome.follow:
            self._followed[outcome.name] = (outcome.verb, self.clock())
        if outcome.verb == "create":
            for screen in self.screen_stack:
                if isinstance(screen, FleetScreen):
                    screen.expect(outcome.name)
        if outcome.warning:
            self.notify(outcome.warning, severity="warning", timeout=8, markup=False)

    def action_read_only(self) -> None:
        if not self.locked:
            self.locked = True
        elif self.readonly:
            self.notify("started with --readonly: start again without it to make changes", severity="warning")
        elif self.context.prod:
            self.push_screen(UnlockDialog(self.context.name), self._unlocked)
        else:
            self.locked = False

    def _unlocked(self, typed: bool | None) -> None:
        if typed:
            self.locked = False

    # Pages.

    def visit(self, page: str) -> None:
        """Put this page on top of the fleet's; `fleet` is what lies below all others."""
        while len(self.screen_stack) > 1 and isinstance(self.screen, Page) and not isinstance(self.screen, FleetScreen):
            self.pop_screen()
        if page != "fleet":
            self.push_screen(PAGES.get(page, ListScreen)(page))

    def show_timeline(self, deployment: str, around: datetime | None = None) -> None:
        """What happened to the deployment; with `around` in the middle of the charts."""
        self.push_screen(TimelineScreen(deployment, around))

    # Help and commands.

    def action_help(self) -> None:
        self.push_screen(HelpDialog())

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The actions of the page below, then Textual's own commands that make sense here."""
        if isinstance(screen, Page):
            for action in ACTIONS:
                if screen.place in action.places and action.id not in ("command_palette", "back"):
                    owner = "app" if action.group == "App" else "screen"
                    yield SystemCommand(action.label, action.tooltip, self._runner(f"{owner}.{action.id}"))
        yield SystemCommand("theme", "Change colours", self.action_change_theme)
        yield SystemCommand("screenshot", "Save an SVG of this screen", self.deliver_screenshot)

    def _runner(self, action: str) -> Callable[[], None]:
        def run() -> None:
            self.call_later(self.run_action, action)

        return run
