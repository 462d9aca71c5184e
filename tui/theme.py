"""Colours: one calm dark theme, safe for colour-blind eyes, and the tones that every theme gets.

Healthy is blue, attention orange, failed red; blue and orange stay apart for every common colour-vision deficiency,
and a glyph and a word always say the same as the colour.
"""

from __future__ import annotations

from textual.theme import Theme

FIREDECK = Theme(
    name="firedeck",
    primary="#58a6ff",
    secondary="#4fc1c9",
    accent="#ff9e3d",
    foreground="#d5dbe5",
    background="#0d1117",
    surface="#121821",
    panel="#1b2430",
    success="#58a6ff",
    warning="#ff9e3d",
    error="#ff5f6b",
    dark=True,
    variables={"block-cursor-foreground": "#0d1117", "input-selection-background": "#58a6ff 35%"},
)

_DARK = {
    "tone-healthy": "#58a6ff", "tone-working": "#4fc1c9", "tone-attention": "#ff9e3d", "tone-failed": "#ff5f6b",
    "tone-idle": "#7d8896", "tone-neutral": "#b8a1e3", "tone-dim": "#6e7a8a", "tone-rule": "#2b3644",
    "tone-cursor": "#1f3350", "tone-head": "#8b98a9",
}  # fmt: skip
_LIGHT = {
    "tone-healthy": "#0b5cad", "tone-working": "#0b6b70", "tone-attention": "#a84b00", "tone-failed": "#b3132b",
    "tone-idle": "#5a6472", "tone-neutral": "#5f3dc4", "tone-dim": "#5a6472", "tone-rule": "#c3cad4",
    "tone-cursor": "#cfe3fb", "tone-head": "#414b58",
}  # fmt: skip


def tones(dark: bool) -> dict[str, str]:
    """CSS variables for the current theme's kind."""
    return dict(_DARK if dark else _LIGHT)
