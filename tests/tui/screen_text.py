"""The screen as lines of text, read off Textual's public SVG export."""

from __future__ import annotations

import html
import re
from typing import Any

from rich.cells import cell_len
from textual.app import App

CELL_WIDTH = 12.2  # of the export: 20 units of font size by 0.61
_TEXT = re.compile(r'<text [^>]*?x="([\d.]+)"[^>]*?clip-path="url\(#[^"]*?-line-(\d+)\)">(.*?)</text>', re.DOTALL)


def screen_text(app: App[Any]) -> str:
    """One line a row of the screen, without colours and trailing blanks."""
    lines = [""] * app.size.height
    for x, row, escaped in _TEXT.findall(app.export_screenshot()):
        line, text = lines[int(row)], html.unescape(escaped).replace("\xa0", " ")
        blanks = round(float(x) / CELL_WIDTH) - cell_len(line)
        lines[int(row)] = line + " " * blanks + text
    return "\n".join(line.rstrip() for line in lines)
