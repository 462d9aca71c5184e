"""Numbers as people read them in a table: short, aligned, with their unit, and never a guess.

None is "no data yet" and always comes out as `UNKNOWN`, never as 0. Every result stays within the width stated, so
that a column sized for it never cuts a number.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime
from decimal import Decimal
from typing import Literal

UNKNOWN = "–"
NOT_EXPOSED = "n/e"  # the source has no such number, and never will say it
NOTHING_KNOWN = (UNKNOWN, NOT_EXPOSED)
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400

# One ASCII character for each sign that we draw (`--ascii`): same width, so that nothing moves.
_SIGNS = "–—·…→●◌◐▲▼✖⊘○◆✔█░▌│─┤├┬┴└┘┌┐┼▏▁▂▃▄▅▆▇⚠↑↓━■▖▗▘▝▀▐▙▟▛▜▚▞"
_PLAIN = "--.~>*o%^vX/o#+#.||-+++++++++|__--==#!^v-#############"
_ASCII = str.maketrans(_SIGNS, _PLAIN)


def to_ascii(text: str) -> str:
    """`text` with every sign of ours replaced by an ASCII one of the same width; other text is left alone."""
    return text.translate(_ASCII)


def count(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def only_ascii(text: str) -> str:
    """`text` in ASCII and of the same width, whatever it was: what has no sign of its own becomes `#` or `?`."""
    if text.isascii():
        return text
    return "".join(c if c.isascii() else _nearest(c) for c in to_ascii(text))


def _nearest(sign: str) -> str:
    if sign == "\xa0":
        return " "
    if "\u2500" <= sign <= "\u257f":
        return "+"
    return ("#" if "\u2580" <= sign <= "\u259f" else "?") * width(sign)


def exact(value: float) -> str:
    """All digits of a number that is read back, without an exponent: `0.8`, `3`, `1234567`, `0.00001`."""
    text = format(Decimal(repr(value)), "f")
    return text.removesuffix(".0")


def grouped(number: str | None) -> str:
    """A number to read digit by digit: `1,000,000,000`, `1,234.50`."""
    whole, point, rest = (number or "").partition(".")
    return f"{int(whole):,}{point}{rest}" if number else UNKNOWN


def money(value: float | None) -> str:
    """US dollars: `$0.80`, `$24.50`, `$1.2k`."""
    if value is None:
        return UNKNOWN
    return f"${value:.2f}" if value < 1000 else f"${rate(value)}"


def rate(value: float | None) -> str:
    """Per second, at most 5 characters: `0`, `0.3`, `42.1`, `118`, `1.2k`, `12k`."""
    if value is None:
        return UNKNOWN
    if value == 0:
        return "0"
    if value < 99.95:
        return f"{value:.1f}" if value >= 0.05 else "<0.1"
    if value < 999.5:
        return f"{value:.0f}"
    for scale, suffix in ((1e3, "k"), (1e6, "M"), (1e9, "G")):
        if value < 9.95 * scale:
            return f"{value / scale:.1f}{suffix}"
        if value < 999.5 * scale:
            return f"{value / scale:.0f}{suffix}"
    return "huge"


def milliseconds(value: float | None) -> str:
    """A latency, at most 5 characters: `<1ms`, `83ms`, `1.2s`, `75s`, `12m`."""
    if value is None:
        return UNKNOWN
    if value < 1:
        return "<1ms"
    if value < 999.5:
        return f"{value:.0f}ms"
    if value < 9_950:
        return f"{value / 1000:.1f}s"
    if value < 100_000:
        return f"{value / 1000:.0f}s"
    minutes = value / 60_000
    return f"{minutes:.0f}m" if minutes < 999 else ">16h"


def size(count: int) -> str:
    """Bytes, at most 7 characters: `94MiB`, `14.9GiB`, `512GiB`, `1.5TiB`; below a mebibyte `<1MiB`, and `0`."""
    if count < 2**20:
        return "<1MiB" if count > 0 else "0"
    for scale, unit in ((2**20, "MiB"), (2**30, "GiB"), (2**40, "TiB")):
        if count < 1000 * scale:
            whole = unit == "MiB" or count >= 99.95 * scale
            return f"{count / scale:.0f}{unit}" if whole else f"{count / scale:.1f}{unit}"
    return "huge"


def percent(value: float | None) -> str:
    """A share of 1 as at most 4 characters; anything above zero never shows as 0%."""
    if value is None:
        return UNKNOWN
    if 0 < value < 0.005:
        return "<1%"
    return f"{min(value, 9.99) * 100:.0f}%"


def age(seconds: float | None) -> str:
    """A span, at most 6 characters: `0s`, `59s`, `4m12s`, `3h05m`, `2d04h`, `900d`. Negative spans count as 0s."""
    if seconds is None:
        return UNKNOWN
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02d}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02d}m"
    days = whole // _DAY
    return f"{days}d{whole % _DAY // _HOUR:02d}h" if days < 100 else f"{min(days, 99_999)}d"


def since(moment: datetime | None, now: datetime) -> str:
    return age(None if moment is None else (now - moment).total_seconds())


def short_duration(text: str) -> str:
    """Go's `10m0s` and `1h0m0s` without the zero parts: `10m`, `1h`."""
    for tail in ("m0s", "h0m"):
        text = text.removesuffix(tail) + tail[0] if text.endswith(tail) else text
    return text


def countdown(moment: datetime | None, now: datetime) -> str:
    """How long until `moment`: `now` once it has passed."""
    if moment is None:
        return UNKNOWN
    left = (moment - now).total_seconds()
    return age(left) if left >= 1 else "now"


def clock(moment: datetime) -> str:
    """The local wall clock, for log lines."""
    return moment.astimezone().strftime("%H:%M:%S")


def day(moment: datetime) -> str:
    """The local date and time, for what is days away."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def bar(share: float | None, width: int) -> str:
    """A progress bar of just `width` characters; unknown progress is an empty one."""
    filled = 0 if share is None else round(max(0.0, min(1.0, share)) * width)
    return "█" * filled + "░" * (width - filled)


def spark(values: list[float | None], width: int) -> str:
    """The last `width` values as eighth blocks; a gap is a space. Zero is the lowest block."""
    shown = values[-width:]
    top = max((v for v in shown if v is not None), default=0.0)
    blocks = "▁▂▃▄▅▆▇█"
    drawn = "".join(" " if v is None else blocks[0 if top <= 0 else round(max(0.0, v) / top * 7)] for v in shown)
    return drawn.rjust(width)


def width(text: str) -> int:
    """Terminal cells: East Asian wide characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shorten(text: str, cells: int) -> str:
    """`text` cut to at most `cells` cells with an ellipsis; for words only, never for numbers."""
    if width(text) <= cells:
        return text
    while text and width(text) > cells - 1:
        text = text[:-1]
    return text + "…" if cells > 0 else ""


def fitted(text: str, cells: int, align: Literal["left", "right"] = "left") -> str:
    """`text` in just `cells` cells: cut or padded with blanks."""
    text = shorten(text, cells)
    pad = " " * (cells - width(text))
    return pad + text if align == "right" else text + pad
