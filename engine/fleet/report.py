"""What a replica says of itself at `/health` and `/stats`, and whether it can be counted with.

    data   Report     the last answer that could be read, and what every look at a fleet asks of it
           Produced   tokens that were computed since somebody last asked
    verbs  check_report
    near   `engine.fleet.replica` looks, and takes what it reads; `engine.fleet.prefix_cache` reads the cache's part

A replica may be of another version, or broken: what it says may be any JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from engine.fleet.prefix_cache import Cache, cache_of

REPORT_BYTES_MAX = 4 << 20  # one that goes mad may write without end
TOKEN_COUNTERS = ("prompt_tokens_total", "generated_tokens_total")
UNREADABLE = (AttributeError, LookupError, TypeError, ValueError, OverflowError, RecursionError)
_COUNTS = ("running", "waiting", "slots", "free_slots", "kv_used_tokens", "kv_capacity_tokens")
_FRACTIONS = ("progress", "last_progress_age_s")
_NUMBER_MAX = 1 << 53  # beyond it no reader of JSON need tell one from the next


@dataclass(frozen=True, slots=True)
class Produced:
    """Tokens."""

    prompt: int = 0
    generated: int = 0


NOTHING = Produced()


@dataclass(slots=True)
class Report:
    """The last answer of `/health` or `/stats`; what every look at a fleet asks of it is read out when it comes."""

    body: dict[str, Any] = field(default_factory=dict)
    at: float = 0.0
    waiting: int = field(init=False)  # requests in the replica's own queue
    cached_tokens: int = field(init=False)
    cache: Cache = field(init=False)

    def __post_init__(self) -> None:
        self.waiting = int(self.body.get("waiting") or 0)
        self.cached_tokens = int(self.body.get("kv_used_tokens") or 0)
        self.cache = cache_of(self.body)

    def count(self, name: str) -> int:
        return int(self.body.get("counters", {}).get(name) or 0)


def check_report(body: dict[str, Any]) -> None:
    """ValueError for one that cannot be counted with or shown: then the last one that could stays."""
    counters, device = body.get("counters", {}), body.get("device", {})
    if not isinstance(counters, dict) or not isinstance(device, dict):
        raise ValueError("counters and device must be objects")
    if not isinstance(device.get("kind", ""), str):
        raise ValueError("device.kind must be text")
    for held, names, kinds in (
        (body, _COUNTS, int), (counters, TOKEN_COUNTERS, int), (body, _FRACTIONS, (int, float))
    ):  # fmt: skip
        for name in names:
            value = held.get(name)
            if value is not None and not (isinstance(value, kinds) and abs(value) <= _NUMBER_MAX):
                raise ValueError(f"{name} must be a number")
