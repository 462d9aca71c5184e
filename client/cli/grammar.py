"""Both word orders of firectl (`deployment create`, `create deployment`), and commands that other packages announce.

`tui` and `engine` announce theirs as entry points, so that this package need not know them: the group
`firedeck.commands` for `firedeck NAME`, `firedeck.commands.model` for `firedeck model NAME`.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import Any

import click

VERBS = frozenset({"create", "list", "ls", "get", "update", "scale", "delete", "undelete", "pull", "verify"})
ALIASES = {
    "ls": "list", "deployments": "deployment", "models": "model", "deployed-models": "deployed-model",
    "deployment-shapes": "deployment-shape", "users": "user", "api-keys": "api-key", "secrets": "secret",
    "quotas": "quota", "audit-log": "audit-logs",
}  # fmt: skip
DEFAULT_COMMAND = "dashboard"
OWN_OPTIONS = frozenset({"-h", "--help", "--version"})


class Announced(click.Group):
    """A group that also has the commands announced under `entry_points`; each is imported when it is asked for."""

    def __init__(self, *args: Any, entry_points: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._entries = {entry.name: entry for entry in importlib.metadata.entry_points(group=entry_points)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._entries})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in self._entries:
            return own
        command: click.Command = self._entries[cmd_name].load()
        return command


class Fireworks(Announced):
    """The top of the command line: verb-noun is noun-verb, and no command at all is the dashboard."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, reorder(args))


def reorder(words: Sequence[str]) -> list[str]:
    """The words as noun, verb, rest, with aliases spelled out; options alone belong to the dashboard."""
    if not words or (words[0].startswith("-") and words[0] not in OWN_OPTIONS):
        return [DEFAULT_COMMAND, *words]
    plain = [ALIASES.get(word, word) if i < 2 else word for i, word in enumerate(words)]
    if len(plain) > 1 and plain[0] in VERBS and not plain[1].startswith("-"):
        plain[:2] = [plain[1], plain[0]]
    return plain
