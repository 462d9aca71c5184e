"""Themes: dark, light, high contrast, for two colour-vision deficiencies, and the terminal's own sixteen colours.

Healthy is blue, attention orange, failed red; a glyph and a word always say the same as the colour. The theme for
deuteranopia parts its tones along blue and yellow and by brightness, that for tritanopia along red and cyan.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from textual.app import App
from textual.theme import BUILTIN_THEMES, Theme

from tui.sheet import Sheet

TONE_NAMES = (
    "healthy", "working", "attention", "failed", "idle", "neutral", "dim", "rule", "cursor", "head",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Palette:
    """What a theme of ours is made of: the ground, the text, and a colour for each tone, in the order of TONE_NAMES."""

    name: str
    background: str
    surface: str
    panel: str
    foreground: str
    tones: tuple[str, ...]
    dark: bool = True

    def theme(self) -> Theme:
        tone = dict(zip(TONE_NAMES, self.tones, strict=True))
        return Theme(
            name=self.name, primary=tone["healthy"], secondary=tone["working"], accent=tone["attention"],
            foreground=self.foreground, background=self.background, surface=self.surface, panel=self.panel,
            success=tone["healthy"], warning=tone["attention"], error=tone["failed"], dark=self.dark,
            variables={
                "block-cursor-foreground": self.background,
                "input-selection-background": f"{tone['healthy']} 35%",
            },
        )  # fmt: skip


DARK = Palette(
    "firedeck", "#0d1117", "#121821", "#1b2430", "#d5dbe5",
    ("#58a6ff", "#4fc1c9", "#ff9e3d", "#ff5f6b", "#7d8896", "#b8a1e3", "#6e7a8a", "#2b3644", "#1f3350", "#8b98a9"),
)  # fmt: skip
LIGHT = Palette(
    "firedeck-light", "#ffffff", "#f4f6f9", "#e6eaf0", "#1c2430",
    ("#0b5cad", "#0b6b70", "#a84b00", "#b3132b", "#5a6472", "#5f3dc4", "#5a6472", "#c3cad4", "#cfe3fb", "#414b58"),
    dark=False,
)  # fmt: skip
CONTRAST = Palette(
    "firedeck-contrast", "#000000", "#000000", "#161616", "#ffffff",
    ("#7cc4ff", "#5ff0f0", "#ffc14d", "#ff8f8f", "#c8c8c8", "#e0c8ff", "#c0c0c0", "#8a8a8a", "#003a75", "#e6e6e6"),
)  # fmt: skip
DEUTERANOPIA = Palette(
    "firedeck-deuteranopia", "#0d1117", "#121821", "#1b2430", "#dfe4ec",
    ("#4c9dff", "#a9c7f5", "#ffd23f", "#c76b00", "#8791a0", "#e6e6e6", "#7b8696", "#2b3644", "#1f3350", "#98a4b5"),
)  # fmt: skip
TRITANOPIA = Palette(
    "firedeck-tritanopia", "#0d1117", "#121821", "#1b2430", "#dfe4ec",
    ("#35c5cf", "#a5e3e8", "#f7c6d0", "#ff4d5e", "#8791a0", "#e6e6e6", "#7b8696", "#2b3644", "#123c44", "#98a4b5"),
)  # fmt: skip
PALETTES = (DARK, LIGHT, CONTRAST, DEUTERANOPIA, TRITANOPIA)

_SIXTEEN = (
    "ansi_bright_blue", "ansi_cyan", "ansi_yellow", "ansi_bright_red", "ansi_default", "ansi_magenta", "ansi_default",
    "ansi_bright_black", "ansi_blue", "ansi_default",
)  # fmt: skip
_ANSI = BUILTIN_THEMES["ansi-dark"]
TERMINAL = Theme(
    name="firedeck-terminal", primary="ansi_bright_blue", secondary="ansi_cyan", accent="ansi_yellow",
    warning="ansi_yellow", error="ansi_bright_red", success="ansi_bright_blue", foreground=_ANSI.foreground,
    background=_ANSI.background, surface=_ANSI.surface, panel=_ANSI.panel, boost=_ANSI.boost, dark=True, ansi=True,
    variables=_ANSI.variables,
)  # fmt: skip

FIREDECK = DARK.theme()
THEMES: tuple[Theme, ...] = (*(palette.theme() for palette in PALETTES), TERMINAL)
_TONES = {palette.name: palette.tones for palette in PALETTES} | {TERMINAL.name: _SIXTEEN}


def tones(theme: Theme) -> dict[str, str]:
    """CSS variables for this theme; one of Textual's own gets those of ours of its kind."""
    ours = _SIXTEEN if theme.ansi else DARK.tones if theme.dark else LIGHT.tones
    found = _TONES.get(theme.name, ours)
    return {f"tone-{name}": colour for name, colour in zip(TONE_NAMES, found, strict=True)}


def dress(app: App[Any], *wanted: str) -> None:
    """In the first of these themes that there is, else in ours: before the style sheets are parsed, which they would be
    again with another."""
    for one in THEMES:
        app.register_theme(one)
    known = (name for name in (*wanted, FIREDECK.name) if name in app.available_themes)
    app.set_reactive(App.theme, next(known))
    app.stylesheet = Sheet(variables=app.get_css_variables())
