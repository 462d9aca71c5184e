"""Themes: text stands out from its ground, and tones stay apart for every kind of eye they are made for."""

from __future__ import annotations

from itertools import combinations

import pytest
from textual.color import Color

from tui import theme
from tui.theme import CONTRAST, DARK, DEUTERANOPIA, LIGHT, PALETTES, TONE_NAMES, TRITANOPIA

# Linear RGB as the eye without one kind of cone sees it (Machado, Oliveira, Fernandes 2009, severity 1).
MACHADO = {
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
SIGNS = ("healthy", "attention", "failed")  # the three that must never be taken for each other


def linear(colour):
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in Color.parse(colour).normalized]


def luminance(colour):
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear(colour), strict=True))


def contrast(one, other):
    """WCAG 2.2, 1.4.3."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def lab(rgb):
    """CIE L*a*b* (D65) of linear RGB."""
    rgb = [min(1.0, max(0.0, part)) for part in rgb]
    rows = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = [sum(a * b for a, b in zip(row, rgb, strict=True)) for row in rows]
    x, y, z = (
        t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116
        for t in (v / w for v, w in zip(xyz, (0.95047, 1.0, 1.08883), strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def apart(one, other, eye):
    """The distance of two colours as this eye sees them (CIE76; 2.3 is just noticeable)."""
    seen = [
        lab([sum(m * c for m, c in zip(row, linear(colour), strict=True)) for row in MACHADO[eye]])
        for colour in (one, other)
    ]
    return sum((a - b) ** 2 for a, b in zip(*seen, strict=True)) ** 0.5


def tone(palette, name):
    return palette.tones[TONE_NAMES.index(name)]


@pytest.mark.parametrize("palette", PALETTES, ids=lambda p: p.name)
def test_every_tone_that_is_text_can_be_read_on_its_ground(palette):
    least = 7.0 if palette is CONTRAST else 4.5
    assert contrast(palette.foreground, palette.background) >= 7.0
    for name in TONE_NAMES:
        if name not in ("rule", "cursor", "dim", "idle"):
            assert contrast(tone(palette, name), palette.background) >= least, name
    for name in ("dim", "idle"):
        assert contrast(tone(palette, name), palette.background) >= (7.0 if palette is CONTRAST else 4.0), name


@pytest.mark.parametrize("eye", MACHADO)
@pytest.mark.parametrize("palette", [DARK, LIGHT, CONTRAST, DEUTERANOPIA, TRITANOPIA], ids=lambda p: p.name)
def test_healthy_attention_and_failed_stay_apart_for_the_eyes_they_are_made_for(palette, eye):
    """The two themes made for an eye part the three widely for it; the others at least visibly."""
    if {DEUTERANOPIA: "tritanopia", TRITANOPIA: "deuteranopia"}.get(palette) == eye:
        pytest.skip("made for another eye")
    made_for = palette.name.endswith(eye)
    for one, other in combinations(SIGNS, 2):
        assert apart(tone(palette, one), tone(palette, other), eye) >= (30 if made_for else 9), (one, other)


def test_the_terminals_own_theme_names_no_colour_of_its_own():
    for colour in theme.tones(theme.TERMINAL).values():
        assert colour.startswith("ansi_")


def test_a_theme_of_textuals_gets_tones_of_its_kind():
    from textual.theme import BUILTIN_THEMES

    assert theme.tones(BUILTIN_THEMES["textual-light"]) == theme.tones(LIGHT.theme())
    assert theme.tones(BUILTIN_THEMES["nord"]) == theme.tones(theme.FIREDECK)
    assert theme.tones(BUILTIN_THEMES["ansi-light"]) == theme.tones(theme.TERMINAL)
