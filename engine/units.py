"""Sizes in bytes, and how people read them."""

from __future__ import annotations

MIB = 1 << 20
GIB = 1 << 30


def gib(count: int) -> str:
    """ "1.50 GiB"."""
    return f"{count / GIB:.2f} GiB"
