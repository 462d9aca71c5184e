"""The style sheets, parsed once.

Textual parses all of them again at its start, for a theme that is the one they were parsed with, and whenever a page
brings its own. Here the first is left out, and the second is the page's alone. It has no way to be told: `Sheet`
overrides what the release that the project pins has.
"""

from __future__ import annotations

from textual.css.stylesheet import Stylesheet


class Sheet(Stylesheet):
    """Rules that are parsed again where a variable, the theme's colours, is another."""

    def __init__(self, *, variables: dict[str, str]) -> None:
        super().__init__(variables=variables)
        self._parsed_with: dict[str, str] | None = None

    def set_variables(self, variables: dict[str, str]) -> None:
        if variables != self._variables:
            super().set_variables(variables)

    def parse(self) -> None:
        super().parse()
        self._parsed_with = self._variables

    def reparse(self) -> None:
        if self._parsed_with != self._variables:
            super().reparse()
            self._parsed_with = self._variables
        elif self._require_parse:
            self.parse()
