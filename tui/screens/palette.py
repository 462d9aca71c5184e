"""The palette: commands by the beginning of their name, and Enter means what was typed, not what is still listed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from textual import on
from textual.app import SystemCommand
from textual.binding import Binding
from textual.command import Command, CommandList, CommandPalette, Hit, Hits
from textual.system_commands import SystemCommandsProvider
from textual.widgets import Input

from tui.core import commands
from tui.screens import obey

if TYPE_CHECKING:
    from tui.app import Deck


def matching(commands: Iterable[SystemCommand], typed: str) -> list[SystemCommand]:
    """Those with a word that begins like what was typed, the shortest first: a full name is before longer ones."""
    word = typed.strip().lower()
    found = [c for c in commands if f" {word}" in f" {c.title.lower()}"]
    return sorted(found, key=lambda command: (not command.title.lower().startswith(word), len(command.title)))


class PrefixCommands(SystemCommandsProvider):
    async def search(self, query: str) -> Hits:
        hits = [(c.title, c.help, c.callback) for c in matching(self.app.get_system_commands(self.screen), query)]
        for rank, (title, told, callback) in enumerate([*hits, *obey.lines(cast("Deck", self.app), query)]):
            yield Hit(1 / (1 + rank), title, callback, help=told)


class Palette(CommandPalette):
    BINDINGS = [Binding("f1", "app.help", show=False, id="palette.help", tooltip="What can be typed here")]

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        """The list is a moment behind the keys: what stands in it may be of an older text."""
        typed = event.value.strip()
        if not typed:
            return
        deck = cast("Deck", self.app)
        meant = commands.parse(typed, deck.actions)
        found = matching(self.app.get_system_commands(self.app.screen_stack[-2]), typed)
        if self._listed() in [*(command.title for command in found), *self._longer(typed, meant)]:
            return  # the user may have chosen another than the first
        event.stop()
        event.prevent_default()
        if isinstance(meant, commands.Command) and not (found and not meant.target and not meant.form):
            self.dismiss()
            deck.call_later(obey.obey, deck, meant)
        elif found:
            self.dismiss()
            deck.call_later(found[0].callback)
        else:
            self.notify(str(meant), severity="warning", markup=False)

    def _longer(self, typed: str, meant: commands.Command | str) -> list[str]:
        """The lines that it may become, unless it already is one that can be done."""
        deck = cast("Deck", self.app)
        whole = isinstance(meant, commands.Command) and obey.known(deck, meant)
        return [] if whole else [title for title, _, _ in obey.lines(deck, typed) if title != typed]

    def _listed(self) -> str | None:
        listed = self.query_one(CommandList)
        option = listed.highlighted_option
        return str(option.hit.text) if isinstance(option, Command) else None
