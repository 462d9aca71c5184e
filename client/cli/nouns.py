"""Groups of commands: how their help lists what there is, whole sentences on as many lines as they take.

data   SECTIONS   firedeck's commands by what they are for, in the order of the help
       SYNONYMS   what other tools' users type, and what that is called here
verbs  Noun       a group whose help is not cut off; `client.cli.grammar` has the top of them
"""

from __future__ import annotations

from collections.abc import Iterable

import click

LINE = 160  # characters of what a command does
SECTIONS = {
    "Models and what serves them": (
        "model", "deployment", "load-lora", "unload-lora", "deployed-model", "deployment-shape",
        "deployment-shape-version", "router", "guard",
    ),
    "What happens": ("dashboard", "alerts", "event", "requests", "explain", "node", "usage", "bench"),
    "Who may": (
        "signin", "signout", "profile", "whoami", "account", "user", "api-key", "secret", "quota", "audit-logs",
    ),
    "This machine": ("demo", "serve", "backup", "web", "docs", "completion", "version"),
}  # fmt: skip
SYNONYMS = {
    "describe": "get", "show": "get", "inspect": "get", "status": "get", "rm": "delete", "remove": "delete",
    "destroy": "delete", "add": "create", "new": "create", "edit": "update", "set": "update", "ps": "list",
    "top": "dashboard", "ui": "dashboard", "logs": "event", "log": "event", "start": "serve", "run": "serve",
    "login": "signin", "logout": "signout", "config": "profile", "context": "profile", "key": "api-key",
    "keys": "api-key", "cost": "usage", "nodes": "node", "man": "docs",
}  # fmt: skip


class Noun(click.Group):
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.write_section(ctx, formatter, "Commands", self.list_commands(ctx))

    def write_section(
        self, ctx: click.Context, formatter: click.HelpFormatter, title: str, names: Iterable[str]
    ) -> None:
        """What there is of these commands, each with what it does."""
        found = ((name, self.get_command(ctx, name)) for name in names)
        rows = [(name, command.get_short_help_str(LINE)) for name, command in found if command and not command.hidden]
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)
