"""The requests of each router by the deployment that they went to. Labels are names that were declared; of pairs that
are gone the newest GONE_KEPT keep their totals, since totals never go down."""

from __future__ import annotations

from prometheus_client import Counter

from engine.telemetry.metrics import REGISTRY

GONE_KEPT = 100  # pairs of router and target

ROUTED = Counter(
    "firedeck_router_requests", "Requests that a router gave to a deployment.", ["router", "target"], registry=REGISTRY
)
_gone: dict[tuple[str, str], None] = {}  # in the order in which they went


def count(router: str, target: str) -> None:
    ROUTED.labels(router, target).inc()


def keep(router: str, target: str) -> None:
    """It routes there (again): the total stays."""
    _gone.pop((router, target), None)


def forget(router: str, target: str) -> None:
    """It routes there no more."""
    keep(router, target)
    _gone[router, target] = None
    while len(_gone) > GONE_KEPT:
        oldest = next(iter(_gone))
        del _gone[oldest]
        ROUTED.remove_by_labels({"router": oldest[0], "target": oldest[1]})
