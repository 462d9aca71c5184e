"""The dashboard's App: the screens that show the picture, the executor that changes what it is of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from textual import events
from textual.app import SystemCommand
from textual.binding import Binding
from textual.filter import LineFilter
from textual.screen import ModalScreen, Screen

from tui import mouse, screens, theme
from tui.core import keys
from tui.core.config import Config
from tui.core.journal import Journal, default_path
from tui.core.last_view import LastView, LastViews
from tui.core.query import View
from tui.core.series import Symbols
from tui.screens.fleet import FleetScreen
from tui.screens.page import Page
from tui.sources.base import FleetSource, Windable
from tui.watched import Watched
from tui.widgets.ascii_filter import AsciiFilter

if TYPE_CHECKING:
    from tui.core.plan import Plan
    from tui.core.playground import Seat
    from tui.executor import Executor, Outcome
    from tui.screens import ListScreen

LISTS = {  # those that do more than list
    "alerts": "AlertsScreen", "requests": "RequestsScreen", "routers": "RoutersScreen", "costs": "CostsScreen",
    "matrix": "MatrixScreen",
}  # fmt: skip
ALWAYS_LOCKED = "started read-only: start again without --readonly, a browser's with --writable"
PAGE_NAMES = {action.name for action in keys.TABLE if action.group == "Pages"}
_now = partial(datetime.now, UTC)


class Deck(Watched, inherit_bindings=False):
    """What can be seen and done: pages, changes, help and commands."""

    TITLE = "firedeck"
    CSS_PATH = ["app.tcss", "screens/fleet.tcss", "screens/dialogs.tcss"]  # other pages bring their own
    MODES = {"fleet": FleetScreen}
    DEFAULT_MODE = "fleet"
    SUSPENDED_SCREEN_CLASS = "-behind"  # a dialog shows the toasts that the page below it has, too
    COMMANDS = {lambda: screens.PrefixCommands}
    # Textual's own would end the dashboard at ctrl+q, which terminals take for themselves.
    BINDINGS = [
        Binding("colon", "command_palette", "commands", id="command_palette", show=False),
        Binding("ctrl+c", "help_quit", id="app.help_quit", show=False, system=True),
        Binding("ctrl+l", "redraw", id="redraw", show=False, priority=True),  # in dialogs too
    ]

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
        patient: bool = True,
    ) -> None:
        journal = journal if journal is not None else Journal(default_path())
        kept = journal.path is not None and source.facts.kind != "recording"  # its alerts were dealt with then
        inbox = journal.path.with_name("inbox.json") if journal.path is not None and kept else None
        super().__init__(source, clock, inbox, readonly=readonly, patient=patient)
        self.config = config or Config()
        self.has_mouse = self.config.mouse
        self._last_views = last_views
        self.last_view = last_views.of(self.fleets.view_key) if last_views is not None else LastView()
        self.actions = keys.remapped(self.config.keys)
        self.set_keymap(keys.keymap(self.actions))
        self._journal = journal
        self._first_page = deployment
        self.undo: tuple[Plan, ...] = ()
        self.talk: list[Seat] = []  # what was said in the playground
        self.exports = Path.cwd()  # where reports are written
        self.views: dict[str, View] = dict(self.last_view.tables)  # of all tables, by their pages' names
        theme.dress(self, self.last_view.theme, self.config.theme)
        self.set_class(symbols == "ascii", "-ascii")
        self.set_class(symbols == "braille", "-braille")

    @cached_property
    def executor(self) -> Executor:
        from tui.executor import Executor

        return Executor(self.at, self._journal, self.clock, self.is_locked)

    async def on_event(self, event: events.Event) -> None:
        if (
            isinstance(event, events.Key | events.Paste)
            and isinstance(self.screen, ModalScreen)
            and isinstance(self.screen, screens.CarefulDialog)
        ):
            self.screen.expect(event)
        await super().on_event(event)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return theme.tones(self.current_theme)

    def get_line_filters(self) -> Sequence[LineFilter]:
        ours = (AsciiFilter(),) if self.has_class("-ascii") else ()
        return [*super().get_line_filters(), *ours]

    def on_mount(self) -> None:
        if self.config.theme and self.config.theme not in self.available_themes:
            self.notify(f"there is no theme {self.config.theme}", severity="warning", markup=False)
        self.app_suspend_signal.subscribe(self, self._leave_terminal, immediate=True)
        self.app_resume_signal.subscribe(self, self._back_at_terminal, immediate=True)
        self.call_after_refresh(self._watch_fleets)  # the first request takes a while to make: the page is seen first
        if first := self._first_page or self.last_view.deployment:
            self.push_screen(screens.DeploymentScreen(first))
        elif self.last_view.page in PAGE_NAMES and not self.lacking(self.last_view.page):
            self.visit(self.last_view.page)

    def _watch_fleets(self) -> None:
        for poller in self.fleets.pollers(self.post_message, self.clock):
            self.run_worker(poller.run(), group="poller")

    def now_shown(self) -> LastView:
        """What is looked at: for the next run."""
        pages = [screen for screen in self.screen_stack if isinstance(screen, Page)]
        fleet = next((page for page in pages if isinstance(page, FleetScreen)), None)
        top = pages[-1] if pages else None
        return LastView(
            page=top.listed if top is not None and top.listed in PAGE_NAMES else "",
            deployment=top.shown_deployment if top is not None else "",
            show_deleted=fleet.show_deleted if fleet is not None else False,
            theme=self.theme if self.theme != (self.config.theme or theme.FIREDECK.name) else "",
            tables=self.views | ({"fleet": fleet.view} if fleet is not None else {}),
        )

    def exit(self, *args: Any, **options: Any) -> None:
        """The view is kept while the screens still stand: of who has answered, not of a slip in an address."""
        if self._last_views is not None and self.answered:
            self._last_views.keep(self.fleets.view_key, self.now_shown())
        super().exit(*args, **options)

    async def on_unmount(self) -> None:
        self._leave_terminal()
        self.workers.cancel_all()
        await self.source.close()

    def action_context(self) -> None:
        if reason := self.lacking("context"):
            self.notify(reason, severity="warning", markup=False)
        else:
            found = self.fleets.standings(self.clock(), self.config)
            self.push_screen(screens.ContextDialog(found, self.focus), self.choose_context)

    @property
    def context_names(self) -> tuple[str, ...]:
        """None where there is one alone."""
        return tuple(self.fleets.members) if self.fleets.several else ()

    def turn_to_page(self) -> None:
        """What is done from a page is about its context."""
        if isinstance(self.screen, Page):
            self.look_at(self.screen.context)

    def choose_context(self, name: str | None) -> None:
        """A page of one deployment, or of one request, makes way: it is of its own context."""
        if not name:
            return
        while isinstance(self.screen, Page) and not self.screen.turns:
            self.pop_screen()
        self.look_at(name)
        if isinstance(self.screen, FleetScreen):
            self.screen.go_to(name)

    # Changes.

    def lacking(self, action: str, context: str | None = None) -> str:
        """Why the source does not have the action of this name; empty where it has."""
        if action == "context" and not self.fleets.several:
            return "there is one context: name others with --context, or --all-contexts"
        return self.at(self.focus if context is None else context).facts.lacks.get(action, "")

    def refuses(self, action: str, context: str | None = None) -> bool:
        """True, and said so, where the source lacks the change of this name or changes are locked; in the context that
        is meant unless another is named."""
        context = self.focus if context is None else context
        if reason := self.lacking(action, context):
            self.notify(reason, title=f"{action} is not possible here", severity="warning", markup=False)
            return True
        if self.is_locked(context):
            where = f" on {context}" if context else ""
            way = ALWAYS_LOCKED if self.readonly else f"unlock them with {keys.shown(self.actions, 'read_only')}"
            self.notify(f"changes are locked{where}; {way}", title="read-only", severity="warning")
        return self.is_locked(context)

    def action_wind(self, seconds: int) -> None:
        """Wind a recording; 0 stops it or lets it go on."""
        if reason := self.lacking("pause"):
            self.notify(reason, severity="warning")
        elif seconds:
            cast(Windable, self.at(self.focus)).wind(seconds)
        else:
            cast(Windable, self.at(self.focus)).pause()

    def carried_out(self, *outcomes: Outcome) -> None:
        """Changes were made, all of one kind: they are told, followed, and can be taken back together."""
        self.undo = screens.aftermath.ways_back(self.undo, outcomes)
        screens.aftermath.tell(self, outcomes)
        self.follow_no_more(one.name for one in outcomes)
        self._followed |= {one.name: (one.verb, self.clock()) for one in outcomes if one.follow}
        made = next((one.name for one in outcomes if one.verb == "create"), None)
        for screen in self.screen_stack:
            if isinstance(screen, FleetScreen) and made is not None:
                screen.expect(made)

    def begin_undo(self) -> None:
        screens.aftermath.begin_undo(self)

    def action_read_only(self) -> None:
        self.turn_to_page()
        if not self.locked:
            self.locked = True
        elif self.readonly:
            self.notify(ALWAYS_LOCKED, severity="warning")
        elif self.context.prod:
            self.push_screen(screens.UnlockDialog(self.context.name), partial(self._unlocked, self.focus))
        else:
            self.locked = False

    def _unlocked(self, context: str, typed: bool | None) -> None:
        """The one whose name was typed, whatever the cursor is on by now."""
        if typed:
            self.unlock(context)

    # Pages.

    def visit(self, page: str) -> None:
        """Put this page on top of the fleet's; `fleet` is what lies below all others."""
        self.turn_to_page()
        if reason := self.lacking(page):
            self.notify(reason, title=f"{page} is not shown here", severity="warning", markup=False)
            return
        while len(self.screen_stack) > 1 and isinstance(self.screen, Page) and not isinstance(self.screen, FleetScreen):
            self.pop_screen()
        if page == "playground":
            below = self.screen.target_name if isinstance(self.screen, FleetScreen) else None
            self.push_screen(screens.PlaygroundScreen(below or "", self.talk))
        elif page != "fleet":
            listing: type[ListScreen] = getattr(screens, LISTS.get(page, "ListScreen"))
            self.push_screen(listing(page))

    def show_timeline(self, deployment: str, around: datetime | None = None) -> None:
        """What happened to the deployment; with `around` in the middle of the charts."""
        self.push_screen(screens.TimelineScreen(deployment, around))

    # Help and commands.

    def action_help(self) -> None:
        self.push_screen(screens.HelpDialog(self.focused))

    def action_mouse(self) -> None:
        if not mouse.report(self, on=not self.has_mouse):
            told = "the mouse cannot be handed over while the dashboard runs: start it with mouse = false in its config"
            self.notify(told, severity="warning")
            return
        self.has_mouse = not self.has_mouse
        key = keys.shown(self.actions, "mouse")
        left = f"the mouse is the terminal's: select text with it; {key} takes it back"
        self.notify("the mouse is the dashboard's" if self.has_mouse else left, timeout=4)

    def action_redraw(self) -> None:
        """What something else has written there stays until then: cells that do not change are not sent."""
        self.refresh()

    def _leave_terminal(self, _: object = None) -> None:
        """Textual takes back only what it has asked for at its start."""
        if self.has_mouse:
            mouse.report(self, on=False)

    def _back_at_terminal(self, _: object = None) -> None:
        self.shown.forget()
        mouse.report(self, on=self.has_mouse)

    def action_command_palette(self) -> None:
        if not isinstance(self.screen, screens.Palette):
            self.push_screen(screens.Palette(id="--command-palette"))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The actions of the page below, then Textual's own commands that make sense here."""
        if isinstance(screen, Page):
            yield from screens.obey.system_commands(self, screen)
        yield SystemCommand("theme", "Change colours", self.action_change_theme)
        yield SystemCommand("screenshot", "Save an SVG of this screen", self.deliver_screenshot)
