"""Words of the wire's own (`FP8`, `US_IOWA_1`) as options take them: in any case, with a hyphen for an underscore."""

from __future__ import annotations

from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem


class Constant(click.ParamType[str]):
    """`known`: those that a shell offers; what is none of them is the engine's to refuse."""

    name = "text"

    def __init__(self, known: Sequence[str] = ()) -> None:
        self._known = known

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value.upper().replace("-", "_")

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        begun = self.convert(incomplete, param, ctx)
        return [CompletionItem(one) for one in self._known if one.startswith(begun)]


CONSTANT = Constant()
