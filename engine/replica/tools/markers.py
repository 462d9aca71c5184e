"""Markers in text that is still arriving."""

from __future__ import annotations


def overlap(text: str, marker: str) -> int:
    """How many characters at the end of `text` are a beginning of `marker` (the whole marker does not count)."""
    longest = min(len(text), len(marker) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(marker[:size])), 0)
