"""The wire's regions, and which of them a multi-region means (https://docs.fireworks.ai: GLOBAL, US, EUROPE, APAC)."""

from __future__ import annotations

from collections.abc import Iterable

from client.types import REGIONS

GLOBAL = "GLOBAL"
_PREFIXES = {"US": "US_", "EUROPE": "EU_", "APAC": "AP_"}  # NA_BRITISHCOLUMBIA_1 lies in none: GLOBAL alone has it


def members(multi_region: str) -> frozenset[str] | None:
    """The regions of a multi-region; None for GLOBAL, which is anywhere, a node without a region included."""
    prefix = _PREFIXES.get(multi_region)
    return None if prefix is None else frozenset(region for region in REGIONS if region.startswith(prefix))


def allowed(multi_region: str | None, region: str | None, regions: Iterable[str] | None) -> frozenset[str] | None:
    """Where a placement lets replicas run; None: anywhere. At most one of the three is given."""
    named = {name for name in (region, *(regions or ())) if name and name != "REGION_UNSPECIFIED"}
    return frozenset(named) if named else members(multi_region or GLOBAL)
