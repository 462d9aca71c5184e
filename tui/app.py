"""The dashboard's App: one picture of the fleet, the screens that show it, the executor that changes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.filter import LineFilter
from textual.reactive import reactive
from textual.screen import Screen

from client.config import Context
from tui import theme
from tui.core import cost, keys
from tui.core.config import Config
from tui.core.follow import news, progress
from tui.core.inbox import Alert, Inbox
from tui.core.inbox_file import InboxFile
from tui.core.journal import Journal, default_path
from tui.core.last_view import LastView, LastViews
from tui.core.plan import Plan, Verb
from tui.core.playground import Seat
from tui.core.query import View
from tui.core.series import Symbols
from tui.core.snapshot import Picture
from tui.executor import Executor, Outcome
from tui.messages import AccountSeen, FleetLost, FleetSeen, NodesSeen
from tui.poller import AccountPoller, Poller
from tui.screens import aftermath, obey
from tui.screens.alerts import AlertsScreen
from tui.screens.costs import CostsScreen
from tui.screens.deployment import DeploymentScreen
from tui.screens.fleet import FleetScreen
from tui.screens.help import HelpDialog
from tui.screens.listing import ListScreen
from tui.screens.matrix import MatrixScreen
from tui.screens.page import Page
from tui.screens.palette import Palette, PrefixCommands
from tui.screens.playground import PlaygroundScreen
from tui.screens.requests import RequestsScreen
from tui.screens.routers import RoutersScreen
from tui.screens.timeline import TimelineScreen
from tui.screens.unlock import UnlockDialog
from tui.sources.base import FleetSource, Windable
from tui.widgets.ascii_filter import AsciiFilter

PAGES: dict[str, type[ListScreen]] = {  # those that do more than list
    "alerts": AlertsScreen, "requests": RequestsScreen, "routers": RoutersScreen, "costs": CostsScreen,
    "matrix": MatrixScreen,
}  # fmt: skip


PAGE_NAMES = {action.name for action in keys.TABLE if action.group == "Pages"}


def _now() -> datetime:
    return datetime.now(UTC)


def _known_as(context: Context) -> str:
    return f"{context.name} {context.base_url} {context.account}"


class Deck(App[None], inherit_bindings=False):
    """Owns the picture. Screens watch `picture` and `locked`; nothing but the poller writes the former."""

    TITLE = "firedeck"
    CSS_PATH = [
        "app.tcss", "screens/fleet.tcss", "screens/deployment.tcss", "screens/dialogs.tcss", "screens/create.tcss",
        "screens/help.tcss", "screens/listing.tcss", "screens/playground.tcss",
    ]  # fmt: skip
    MODES = {"fleet": FleetScreen}
    DEFAULT_MODE = "fleet"
    COMMANDS = {PrefixCommands}
    # Textual's own would end the dashboard at ctrl+q, which terminals take for themselves.
    BINDINGS = [
        Binding("colon", "command_palette", "commands", id="command_palette", show=False),
        Binding("ctrl+c", "help_quit", id="app.help_quit", show=False, system=True),
    ]

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
        config: Config | None = None,
        last_views: LastViews | None = None,
    ) -> None:
        super().__init__()
        self.config = config or Config()
        self._last_views = last_views
        self.last_view = last_views.of(_known_as(source.context)) if last_views is not None else LastView()
        self.actions = keys.remapped(self.config.keys)
        self.set_keymap(keys.keymap(self.actions))
        self.source = source
        self.context: Context = source.context
        self.clock = clock
        self.readonly = readonly
        self.set_reactive(Deck.picture, Picture(stale_after=source.facts.stale_after))
        self.set_reactive(Deck.locked, readonly or self.context.prod)
        journal = journal if journal is not None else Journal(default_path())
        self.executor = Executor(source, journal, clock, lambda: self.locked)
        self._first_page = deployment
        self.undo: tuple[Plan, ...] = ()
        self.talk: list[Seat] = []  # what was said in the playground
        self.exports = Path.cwd()  # where reports are written
        self.views: dict[str, View] = dict(self.last_view.tables)  # of all tables, by their pages' names
        kept = journal.path is not None and source.facts.kind != "recording"  # its alerts were dealt with then
        path = journal.path.with_name("inbox.json") if journal.path is not None and kept else None
        self.inbox_file = InboxFile(path, f"{self.context.name} {self.context.base_url}")
        self.inbox: Inbox = self.inbox_file.read()
        self._followed: dict[str, tuple[Verb, datetime]] = {}
        self.set_class(symbols == "ascii", "-ascii")
        self.set_class(symbols == "braille", "-braille")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return theme.tones(self.current_theme)

    def get_line_filters(self) -> Sequence[LineFilter]:
        ours = (AsciiFilter(),) if self.has_class("-ascii") else ()
        return [*super().get_line_filters(), *ours]

    def on_mount(self) -> None:
        for one in theme.THEMES:
            self.register_theme(one)
        wanted = (self.last_view.theme, self.config.theme, theme.FIREDECK.name)
        self.theme = next(name for name in wanted if name in self.available_themes)
        if self.config.theme and self.config.theme not in self.available_themes:
            self.notify(f"there is no theme {self.config.theme}", severity="warning", markup=False)
        self.run_worker(Poller(self.source, self.post_message, self.clock).run(), group="poller")
        self.run_worker(AccountPoller(self.source, self.post_message).run(), group="poller")
        if first := self._first_page or self.last_view.deployment:
            self.push_screen(DeploymentScreen(first))
        elif self.last_view.page in PAGE_NAMES and not self.lacking(self.last_view.page):
            self.visit(self.last_view.page)

    def now_shown(self) -> LastView:
        """What is looked at: for the next run."""
        pages = [screen for screen in self.screen_stack if isinstance(screen, Page)]
        fleet = next((page for page in pages if isinstance(page, FleetScreen)), None)
        top = pages[-1] if pages else None
        return LastView(
            page=top.side.listing.id if isinstance(top, ListScreen) and top.side.listing.id in PAGE_NAMES else "",
            deployment=top.deployment if isinstance(top, DeploymentScreen) else "",
            show_deleted=fleet.show_deleted if fleet is not None else False,
            theme=self.theme if self.theme != (self.config.theme or theme.FIREDECK.name) else "",
            tables=self.views | ({"fleet": fleet.view} if fleet is not None else {}),
        )

    def exit(self, *args: Any, **options: Any) -> None:
        """The view is kept while the screens still stand."""
        if self._last_views is not None:
            self._last_views.keep(_known_as(self.context), self.now_shown())
        super().exit(*args, **options)

    async def on_unmount(self) -> None:
        self.workers.cancel_all()
        await self.source.close()

    # The picture.

    def on_fleet_seen(self, message: FleetSeen) -> None:
        now = self.clock()
        first = self.picture.snapshot is None
        self.inbox, unheard = self.inbox.taken(message.snapshot, now)
        picture = self.picture.seen(message.snapshot, now, self.source.facts.hidden)
        self._settle(picture, now)  # first: what has come about is no longer in the bottom line of this picture
        self.picture = picture
        if unheard and not first:  # those of the first picture are counted in the top line
            self._ring(unheard)

    def _settle(self, picture: Picture, now: datetime) -> None:
        """Tell of the changes that have come about."""
        for name, (verb, since) in list(self._followed.items()):
            if told := news(picture.row(name), verb, now - since):
                del self._followed[name]
                self.notify(told.text, title=name.rpartition("/")[2], severity=told.severity, markup=False)

    @property
    def following(self) -> str:
        """How far the oldest change under way has got; empty when none is."""
        for name, (verb, since) in self._followed.items():
            return progress(self.picture.row(name), name, verb, self.clock() - since)
        return ""

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

    def on_nodes_seen(self, message: NodesSeen) -> None:
        self.picture = self.picture.priced(cost.by_node(message.nodes))

    # Changes.

    def lacking(self, action: str) -> str:
        """Why the source does not have the action of this name; empty where it has."""
        return self.source.facts.lacks.get(action, "")

    def refuses(self, action: str) -> bool:
        """True, and said so, where the source lacks the change of this name or changes are locked."""
        if reason := self.lacking(action):
            self.notify(reason, title=f"{action} is not possible here", severity="warning", markup=False)
            return True
        return self.refuse_if_locked()

    def action_wind(self, seconds: int) -> None:
        """Wind a recording; 0 stops it or lets it go on."""
        if reason := self.lacking("pause"):
            self.notify(reason, severity="warning")
        elif seconds:
            cast(Windable, self.source).wind(seconds)
        else:
            cast(Windable, self.source).pause()

    def refuse_if_locked(self) -> bool:
        """True, and said so, while changes are not allowed."""
        if self.locked:
            told = f"changes are locked; unlock them with {keys.shown(self.actions, 'read_only')}"
            self.notify(told, title="read-only", severity="warning")
        return self.locked

    def carried_out(self, *outcomes: Outcome) -> None:
        """Changes were made, all of one kind: they are told, followed, and can be taken back together."""
        self.undo = aftermath.ways_back(self.undo, outcomes)
        aftermath.tell(self, outcomes)
        self._followed |= {one.name: (one.verb, self.clock()) for one in outcomes if one.follow}
        made = next((one.name for one in outcomes if one.verb == "create"), None)
        for screen in self.screen_stack:
            if isinstance(screen, FleetScreen) and made is not None:
                screen.expect(made)

    def begin_undo(self) -> None:
        aftermath.begin_undo(self)

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
        if reason := self.lacking(page):
            self.notify(reason, title=f"{page} is not shown here", severity="warning", markup=False)
            return
        while len(self.screen_stack) > 1 and isinstance(self.screen, Page) and not isinstance(self.screen, FleetScreen):
            self.pop_screen()
        if page == "playground":
            below = self.screen.target_name if isinstance(self.screen, FleetScreen) else None
            self.push_screen(PlaygroundScreen(below or "", self.talk))
        elif page != "fleet":
            self.push_screen(PAGES.get(page, ListScreen)(page))

    def show_timeline(self, deployment: str, around: datetime | None = None) -> None:
        """What happened to the deployment; with `around` in the middle of the charts."""
        self.push_screen(TimelineScreen(deployment, around))

    # Help and commands.

    def action_help(self) -> None:
        self.push_screen(HelpDialog(self.focused))

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The actions of the page below, then Textual's own commands that make sense here."""
        if isinstance(screen, Page):
            yield from obey.system_commands(self, screen)
        yield SystemCommand("theme", "Change colours", self.action_change_theme)
        yield SystemCommand("screenshot", "Save an SVG of this screen", self.deliver_screenshot)
