"""Which deployment of a weighted router takes a request. Pure: a draw is a hash, never a random number.

    data   Table   targets in order with their shares, and during a shift the one that traffic moves to
           Draw    the target of one request, and the bucket that led there
    verbs  table   weights to shares; draw: a key to its target
    near   `engine.control.shift` says how far a shift has come; `engine.fleet.routers` has a table for each router

A key is a session, or the request itself where there is none: the same key draws the same target for as long as the
shares stay. Every target has a range of the line from 0 to 1, and a key's hash is a point on it (consistent hashing of
two or more ranges), so that a changed weight moves only the keys between the old end of a range and the new one. A
shift draws a second point for those who are not with its target already: while it goes on, keys move towards it alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

BUCKETS = 10_000  # for people: a point as a whole number


@dataclass(frozen=True, slots=True)
class Table:
    """`shares`: (target, share) in order, which make 1. `to`: where a shift moves traffic, "" without one; `reached`:
    the share that it has by now, at least the one in `shares`."""

    shares: tuple[tuple[str, float], ...]
    to: str = ""
    reached: float = 0.0


@dataclass(frozen=True, slots=True)
class Draw:
    """`moved`: a shift led there; `gone`: what was drawn first and is not there any more, else ""."""

    target: str
    bucket: int
    moved: bool = False
    gone: str = ""


def table(weights: Sequence[tuple[str, float]], to: str = "", reached: float = 0.0) -> Table:
    """Shares of weights, of which at least one is above 0."""
    whole = sum([weight for _, weight in weights])
    return Table(tuple((target, weight / whole) for target, weight in weights), to, reached)


def wanted(split: Table) -> dict[str, float]:
    """The share of requests that each target is to have."""
    shares = dict(split.shares)
    if not split.to:
        return shares
    own = shares.get(split.to, 0.0)
    left = (1 - split.reached) / (1 - own) if own < 1 else 0.0
    return {target: share * left for target, share in shares.items() if target != split.to} | {split.to: split.reached}


def draw(split: Table, seed: str, key: str, lives: Callable[[str], bool]) -> Draw | None:
    """The target of a key; None when there is none left. `seed`: the router's name, so that two routers do not split
    alike. What is gone is drawn again among the rest, in proportion."""
    point = _point(seed, key, "target")
    target, moved = _at(split.shares, point), False
    if split.to and target != split.to:
        own = dict(split.shares).get(split.to, 0.0)
        again = _point(seed, key, "shift")
        if again < (split.reached - own) / (1 - own):
            target, point, moved = split.to, again, True
    if lives(target):
        return Draw(target, int(point * BUCKETS), moved)
    left = [(one, share) for one, share in wanted(split).items() if share > 0 and lives(one)]
    if not left:
        return None
    point = _point(seed, key, "rest")
    return Draw(_at(table(left).shares, point), int(point * BUCKETS), gone=target)


def _at(shares: Iterable[tuple[str, float]], point: float) -> str:
    """In whose range a point lies; rounding leaves the last one whatever is missing to 1."""
    ranges = [(target, share) for target, share in shares if share > 0]
    ends = accumulate([share for _, share in ranges])
    return next((target for (target, _), end in zip(ranges, ends, strict=True) if point < end), ranges[-1][0])


def _point(seed: str, key: str, purpose: str) -> float:
    """From 0 up to 1, evenly spread over keys. A key may be any text, half a surrogate pair too."""
    text = f"{purpose}\0{seed}\0{key}".encode("utf-8", "surrogatepass")
    whole = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
    return (whole >> 11) / (1 << 53)  # as many bits as a float holds: 1 is never reached
