"""Words of the wire's own (`FP8`, `US_IOWA_1`) as options take them: in any case, with a hyphen for an underscore."""

from __future__ import annotations

import click


class Constant(click.ParamType[str]):
    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value.upper().replace("-", "_")


CONSTANT = Constant()
