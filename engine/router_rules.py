"""What a router may be, what of it may change, and what a shift may ask for. Pure functions over wire types.

Names of deployments come out of here in full. Whether they are there is not known here.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from client import durations
from client.errors import FailedPrecondition, InvalidArgument
from client.names import Name
from client.router_types import (
    MAX_ERROR_RATE,
    MIN_REQUESTS,
    OVER,
    ROUTER_OUTPUT_ONLY,
    SHIFTING,
    STEP_PERCENT,
    ComplexityRule,
    Router,
    RouterShift,
    RouterShiftSpec,
    RouterTarget,
    WeightedRoutes,
)
from client.wire import Wire
from engine import masks
from engine.access import bodies
from engine.control.complexity import Rule
from engine.control.shift import Plan
from engine.control.split import Table, table, wanted
from engine.wire_paths import find

OVER_MIN, OVER_MAX = timedelta(seconds=1), timedelta(days=30)
CHANGEABLE = frozenset({"display_name", "description", "weighted", "complexity"})
_MESSAGES: dict[str, type[Wire]] = {"weighted": WeightedRoutes, "complexity": ComplexityRule}


def read(body: Any) -> Router:
    """The router in a request's body; unknown fields and wrong types are refused by name, what is output only means
    nothing there."""
    return bodies.without(bodies.read(body, Router), ROUTER_OUTPUT_ONLY)


def whole(spec: Router, account: str) -> Router:
    """`spec` with names in full and every default, or InvalidArgument."""
    if (spec.weighted is None) == (spec.complexity is None):
        raise InvalidArgument(
            "a router is either weighted or a rule of complexity", field="weighted",
            hint="give one of weighted and complexity",
        )  # fmt: skip
    made = {"display_name": spec.display_name or spec.id}
    if spec.weighted is not None:
        return spec.model_copy(update=made | {"weighted": _weighted(spec.weighted, account)})
    assert spec.complexity is not None
    return spec.model_copy(update=made | {"complexity": _complexity(spec.complexity, account)})


def updated(current: Router, changes: Router, paths: frozenset[str] | None) -> Router:
    """`current` with the fields of the mask `paths`, or else those that `changes` sets; `whole` is yet to be asked."""
    asked = changes.model_fields_set if paths is None else paths
    taken: dict[str, Any] = {}
    for path in sorted(asked):
        top, *below = _path(path)
        taken[top] = masks.taken(
            taken.get(top, getattr(current, top)), getattr(changes, top), below, _MESSAGES.get(top)
        )  # fmt: skip
    for kind in ("weighted", "complexity"):
        if kind in taken and (getattr(current, kind) is None) != (taken[kind] is None):
            raise InvalidArgument(
                "a router's kind cannot be changed", field=kind, hint="delete it and create one under the same id"
            )
    if "weighted" in taken and taken["weighted"] != current.weighted:
        check_rests(current)
    return current.model_copy(update=taken)


def check_rests(router: Router) -> None:
    """FailedPrecondition while a shift is moving its traffic."""
    if router.shift is not None and router.shift.state == SHIFTING:
        raise FailedPrecondition(
            f"router {router.name!r} is shifting to {router.shift.to}", field="weighted",
            hint=f"wait for its end, or take it back first: firedeck router shift {router.id} --abort",
        )  # fmt: skip


def shift(router: Router, spec: RouterShiftSpec) -> RouterShift:
    """The shift that is asked for, before its first step; times are the caller's to set. `spec.to` is given."""
    if router.weighted is None:
        raise FailedPrecondition(
            f"router {router.name!r} is a rule of complexity", field="to", hint="only a weighted router shifts"
        )
    check_rests(router)
    to = _deployment(spec.to or "", router.name.split("/")[1], "to")
    over = OVER if spec.over is None else spec.over
    if not OVER_MIN <= over <= OVER_MAX:
        raise InvalidArgument(f"over {durations.to_go(over)} is not within 1s and 720h", field="over")
    if spec.max_ttft_p95 is not None and spec.max_ttft_p95 <= timedelta(0):
        raise InvalidArgument("maxTtftP95 must be more than 0s", field="maxTtftP95")
    start = wanted(table_of(router)).get(to, 0.0)
    if start >= 1:
        raise FailedPrecondition(f"{to} has all the traffic of {router.name!r} already", field="to")
    now = router.update_time
    assert now is not None
    made = RouterShift(
        to=to, over=over, step_percent=STEP_PERCENT if spec.step_percent is None else spec.step_percent,
        max_error_rate=MAX_ERROR_RATE if spec.max_error_rate is None else spec.max_error_rate,
        max_ttft_p95=spec.max_ttft_p95, min_requests=MIN_REQUESTS if spec.min_requests is None else spec.min_requests,
        state=SHIFTING, start_share=start, share=start, step_number=1, steps=1, start_time=now, step_time=now,
    )  # fmt: skip
    plan = plan_of(made)
    return made.model_copy(update={"steps": plan.steps, "share": plan.share(1)})


def plan_of(shift: RouterShift) -> Plan:
    return Plan(
        start=shift.start_share, step=shift.step_percent / 100, over_s=shift.over.total_seconds(),
        max_error_rate=shift.max_error_rate, min_requests=shift.min_requests,
        max_ttft_p95_s=None if shift.max_ttft_p95 is None else shift.max_ttft_p95.total_seconds(),
    )  # fmt: skip


def table_of(router: Router) -> Table:
    """How a weighted router splits now."""
    assert router.weighted is not None
    weights = [(one.deployment, one.weight) for one in router.weighted.targets or ()]
    moving = router.shift if router.shift is not None and router.shift.state == SHIFTING else None
    return table(weights, moving.to, moving.share) if moving else table(weights)


def rule_of(router: Router) -> Rule:
    """When a request to a router of complexity is simple."""
    given = router.complexity
    assert given is not None
    return Rule(
        given.max_prompt_chars, given.max_tokens, given.max_turns, bool(given.allow_tools),
        bool(given.allow_response_format),
    )  # fmt: skip


def _weighted(given: WeightedRoutes, account: str) -> WeightedRoutes:
    targets = [
        RouterTarget(deployment=_deployment(one.deployment, account, f"weighted.targets.{at}.deployment"),
                     weight=one.weight)
        for at, one in enumerate(given.targets or ())
    ]  # fmt: skip
    named = [one.deployment for one in targets]
    for name in named:
        if named.count(name) > 1:
            raise InvalidArgument(f"{name} is a target twice", field="weighted.targets", hint="add the weights up")
    if not any(one.weight for one in targets):
        raise InvalidArgument(
            "a weighted router needs a target whose weight is above 0", field="weighted.targets",
            hint="e.g. 90 and 10: weights are parts of their sum",
        )  # fmt: skip
    return WeightedRoutes(targets=targets, sticky=True if given.sticky is None else given.sticky)


def _complexity(given: ComplexityRule, account: str) -> ComplexityRule:
    names = {at: _deployment(getattr(given, at) or "", account, f"complexity.{at}") for at in ("small", "large")}
    if names["small"] == names["large"]:
        raise InvalidArgument("small and large are the same deployment", field="complexity.large")
    allowed = {"allow_tools": bool(given.allow_tools), "allow_response_format": bool(given.allow_response_format)}
    return given.model_copy(update=names | allowed)


def _deployment(text: str, account: str, field: str) -> str:
    if not text:
        raise InvalidArgument(f"{field} is required", field=field, hint="name a deployment")
    return str(Name.of(text, "deployments", account, field))


def _path(path: str) -> tuple[str, ...]:
    leaf = find(Router, path)
    if leaf is None or leaf.names[0] not in CHANGEABLE:
        raise InvalidArgument(f"unknown field {path[:80]!r} in the update mask", field="updateMask")
    return leaf.names
