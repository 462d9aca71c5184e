"""`python -m engine.models fetch [--all | NAME ...]`: bring library models into the cache. `make install` uses it.

Without names it fetches the embedded models, which the demo and the tests need. On a terminal a bar is drawn; anywhere
else a line is written every few seconds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from client.errors import FiredeckError
from engine.models import catalogue, fetch

BAR_CELLS = 20  # the whole line fits 80 columns
LINE_EVERY_S = 5.0
BAR_EVERY_S = 0.1


class Teller:
    """A Progress that writes to `out`: a bar that is drawn over itself on a terminal, else a line now and then."""

    def __init__(self, label: str, out: TextIO) -> None:
        self._label = label
        self._out = out
        self._bar = out.isatty()
        self._next = 0.0

    def __call__(self, done_bytes: int, total_bytes: int | None, stage: str) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (BAR_EVERY_S if self._bar else LINE_EVERY_S)
        self._write(f"{_amount(done_bytes, total_bytes, self._bar)}  {stage}")

    def finish(self, text: str) -> None:
        self._write(text)
        if self._bar:
            self._out.write("\n")

    def _write(self, text: str) -> None:
        line = f"  {self._label}  {text}"
        self._out.write(f"\r\x1b[K{line}" if self._bar else f"{line}\n")
        self._out.flush()


def _amount(done_bytes: int, total_bytes: int | None, bar: bool) -> str:
    if not total_bytes:
        return f"{done_bytes / 1e6:,.0f} MB"
    filled = BAR_CELLS * done_bytes // total_bytes
    cells = f"[{'#' * filled}{'.' * (BAR_CELLS - filled)}] " if bar else ""
    return f"{cells}{done_bytes / 1e6:,.0f} of {total_bytes / 1e6:,.0f} MB"


def fetch_one(entry: catalogue.Entry, out: TextIO, *, verified: bool = False) -> Path:
    """The path of its file; where that is, and what the hub said of it, is told. `verified`: a file that is here
    already is read and held to the entry's SHA-256, as one that comes always is."""
    teller, here = Teller(entry.display_name, out), fetch.is_present(entry)
    path = fetch.fetch(entry, teller)
    if here and verified:
        fetch.verify(entry)
    kept = fetch.origin_of(entry)
    told = f"  revision {kept.revision or 'unknown'}  SHA-256 {kept.sha256}" if kept else ""
    licence = "" if here else f"  (licence: {entry.license}, {entry.license_url})"
    teller.finish(f"{'is here' if here else 'fetched'}: {path}{told}{licence}")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 a model could not be fetched, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m engine.models", description="Bring library models into the cache.")
    command = parser.add_subparsers(required=True).add_parser("fetch", help="fetch models that are not there yet")
    command.add_argument("names", nargs="*", metavar="NAME", help="full name or id; default: the embedded models")
    command.add_argument("--all", action="store_true", help="every model of the library")
    chosen = parser.parse_args(arguments)
    try:
        named = tuple(catalogue.find(name) for name in chosen.names)
        for entry in catalogue.library() if chosen.all else named or catalogue.embedded():
            fetch_one(entry, sys.stdout)
    except FiredeckError as error:
        print(f"\nerror: {error.text}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: nothing was left behind", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
