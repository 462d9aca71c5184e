"""Points in time as options take them: one form for all commands."""

from __future__ import annotations

from datetime import datetime

import click

from client import instants
from client.errors import InvalidArgument


class Instant(click.ParamType[datetime]):
    """A day, or a day and a time (`client.instants`). The value is in UTC."""

    name = "time"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return instants.parse(value)
        except InvalidArgument as error:
            self.fail(f"{error.message}: {error.hint}", param, ctx)


INSTANT = Instant()
