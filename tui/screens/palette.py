"""The palette: commands by the beginning of their name, and Enter means what was typed, not what is still listed."""

from __future__ import annotations

from collections.abc import Iterable

from textual import on
from textual.app import SystemCommand
from textual.command import Command, CommandList, CommandPalette, Hit, Hits
from textual.system_commands import SystemCommandsProvider
from textual.widgets import Input


def matching(commands: Iterable[SystemCommand], typed: str) -> list[SystemCommand]:
    """Those with a word that begins like what was typed, the shortest first: a full name is before longer ones."""
    word = typed.strip().lower()
    found = [c for c in commands if f" {word}" in f" {c.title.lower()}"]
    return sorted(found, key=lambda command: (not command.title.lower().startswith(word), len(command.title)))


class PrefixCommands(SystemCommandsProvider):
    async def search(self, query: str) -> Hits:
        for rank, command in enumerate(matching(self.app.get_system_commands(self.screen), query)):
            yield Hit(1 / (1 + rank), command.title, command.callback, help=command.help)


class Palette(CommandPalette):
    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        """The list is a moment behind the keys: what stands in it may be of an older text."""
        if not event.value.strip():
            return
        found = matching(self.app.get_system_commands(self.app.screen_stack[-2]), event.value)
        if found and self._listed() in [command.title for command in found]:
            return  # the user may have chosen another than the first
        event.stop()
        event.prevent_default()
        if not found:
            self.notify(f"no such command: {event.value.strip()}", severity="warning", markup=False)
            return
        self.dismiss()
        self.app.call_later(found[0].callback)

    def _listed(self) -> str | None:
        listed = self.query_one(CommandList)
        option = listed.highlighted_option
        return str(option.hit.text) if isinstance(option, Command) else None
