"""What reading a prompt takes at a replica, and how much it may keep of what it has read, from its report. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Cache(NamedTuple):
    """`token_s`: what reading takes, as measured there, 0 where it is not told. `full`: the share of what it may keep
    that is in use. `tokens`: how many it can keep about, None while that cannot be told."""

    token_s: float = 0.0
    full: float = 0.0
    tokens: int | None = None


def cache_of(body: Mapping[str, Any]) -> Cache:
    """The context's own memory always fills up: where there is RAM for what is pushed out of it, that tells how full it
    is. How many tokens go into RAM is known once it has some."""
    token_s = float(body.get("prefill_token_ms") or 0) / 1000
    held, capacity = int(body.get("kv_used_tokens") or 0), int(body.get("kv_capacity_tokens") or 0)
    ram = body.get("prefix_cache") or {}
    used, budget = int(ram.get("ram_bytes") or 0), int(ram.get("ram_budget_bytes") or 0)
    if not budget:
        return Cache(token_s, _share(held, capacity), capacity if held else None)
    saved = int(ram.get("ram_tokens") or 0)
    return Cache(token_s, _share(used, budget), capacity + saved * budget // used if saved and used else None)


def _share(used: int, of: int) -> float:
    return min(1.0, max(0.0, used / of)) if of else 0.0
