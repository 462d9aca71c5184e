"""A TOML table, read key by key: each value checked where it is taken, and whatever nobody took refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from client import durations
from client.enums import said
from client.errors import InvalidArgument

_UNITS = {"": 1, "B": 1, "MB": 10**6, "GB": 10**9, "TB": 10**12, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?i?B|)")


class Table:
    """A TOML table whose keys are taken one by one; what nobody took is unknown."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._left, self._where = dict(values), where

    def bad(self, key: str, what: str) -> InvalidArgument:
        return InvalidArgument(f"{key} of {self._where} {what}", field=key)

    def text(self, key: str, known: tuple[str, ...] | None = None) -> str | None:
        value = self._left.pop(key, None)
        if value is not None and not (isinstance(value, str) and value and (known is None or value in known)):
            raise self.bad(
                key, f"is {value!r:.60}" + (f"; known: {', '.join(said(known))}" if known else ", not a text")
            )
        return value

    def texts(self, key: str, known: tuple[str, ...]) -> tuple[str, ...]:
        """A list of known texts, which may be left out."""
        value = self._left.pop(key, [])
        if not (isinstance(value, list) and all(one in known for one in value)):
            raise self.bad(key, f"is {value!r:.60}, not a list of some of {', '.join(said(known))}")
        return tuple(value)

    def number(self, key: str, default: float | None = None, most: float = 1e15) -> float:
        value = self._left.pop(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise self.bad(key, f"is {value!r:.60}, not a number from 0 to {most:g}")
        return value

    def seconds(self, key: str, default: float | None = None) -> float:
        value = self.text(key)
        if value is None and default is not None:
            return default
        if value is None:
            raise self.bad(key, "is missing")
        seconds = durations.parse(value, key).total_seconds()
        if seconds < 0:
            raise self.bad(key, f"is {value}, and no time goes backwards")
        return seconds

    def size(self, key: str, default: int | None = None) -> int:
        value = self.text(key)
        match = _SIZE.fullmatch(value or "")
        if value is None and default is not None:
            return default
        if match is None or match[2] not in _UNITS:
            raise self.bad(key, f"is {value!r:.60}, not a size like 80GB or 512GiB")
        return int(float(match[1]) * _UNITS[match[2]])

    def table(self, key: str) -> Table:
        value = self._left.pop(key, {})
        if not isinstance(value, dict):
            raise self.bad(key, "is no table")
        return Table(value, f"[{key}]")

    def tables(self, key: str) -> list[Table]:
        value = self._left.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self.bad(key, f"must be written [[{key}]]")
        return [Table(one, f"[[{key}]]") for one in value]

    def keys(self) -> list[str]:
        return list(self._left)

    def nothing_else(self) -> None:
        for key in self._left:
            raise InvalidArgument(f"{self._where} has the unknown key {key!r:.60}", field=key)
