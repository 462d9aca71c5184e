"""Lengths of time as options take them: one form for all commands."""

from __future__ import annotations

from datetime import timedelta

import click

from client import durations
from client.errors import InvalidArgument


class Length(click.ParamType[timedelta]):
    """Go's syntax (`client.durations`)."""

    name = "duration"

    def convert(self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return durations.parse(value, param.opts[0] if param else self.name)
        except InvalidArgument as error:
            self.fail(f"{error.message}: {error.hint}", param, ctx)


DURATION = Length()
