"""Points in time as options take them: one form for all commands."""

from __future__ import annotations

from datetime import date, datetime

import click

from client import instants
from client.errors import InvalidArgument
from client.model_types import TypeDate


class Instant(click.ParamType[datetime]):
    """A day, or a day and a time (`client.instants`); without a zone as the command prints times: in this machine's,
    or in UTC. The value is in UTC."""

    name = "time"

    def __init__(self, *, local: bool) -> None:
        self._local = local

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return instants.parse(value, local=self._local)
        except InvalidArgument as error:
            self.fail(f"{error.message}: {error.hint}", param, ctx)


class Day(click.ParamType[TypeDate]):
    """A day, as `2027-12-31`."""

    name = "day"

    def convert(self, value: str | TypeDate, param: click.Parameter | None, ctx: click.Context | None) -> TypeDate:
        if isinstance(value, TypeDate):
            return value
        try:
            day = date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day: write it as 2027-12-31", param, ctx)
        return TypeDate(year=day.year, month=day.month, day=day.day)


INSTANT = Instant(local=True)
UTC_INSTANT = Instant(local=False)  # of what is counted in hours and days of UTC
DATE = Day()
