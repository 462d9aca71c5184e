"""Why a deployment has this many replicas: what binds comes first, in few words, so that a narrow column tells it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from client.conditions import CAPACITY_LIMITED
from tui.core import units

if TYPE_CHECKING:
    from client.fleet_types import AutoscalerView, Condition, DeploymentStatus, Reason, TargetView

NO_DECISION = "the autoscaler has not decided yet"
NOT_EXPLAINED = "the reasons are not exposed by this source"
_BINDING = ("STOCKOUT", "AT_MAX", "AT_MIN")  # keep the count from what the load asks for: the first thing to know
_RANK = {code: n for n, code in enumerate(_BINDING)}
_LOAD = ("STEADY", "LOAD_ABOVE_TARGET", "LOAD_BELOW_TARGET")


def ordered(reasons: Sequence[Reason]) -> tuple[Reason, ...]:
    """What binds, in order of its weight, then the rest as the autoscaler has it."""
    if len(reasons) == 1:  # most have one: it is asked for thousands of deployments a picture
        return (reasons[0],)
    return tuple(sorted(reasons, key=lambda reason: _RANK.get(reason.code, len(_RANK))))


def why(status: DeploymentStatus, *, explained: bool = True) -> str:
    """One line: the words that fit a narrow column, then every reason in full. `explained`: the source has reasons."""
    state, problem = status.deployment.state, status.deployment.status
    if state == "FAILED" and problem and problem.message:
        return problem.message
    if state == "DELETING":
        return "is being deleted: its replicas are drained"
    if state == "DELETED":
        return "deleted; undelete brings it back"
    view, held = status.autoscaler, status.conditions
    short = _held_up(held[0]) if held else ""
    if view is None or not view.reasons:
        return short or (NO_DECISION if explained else NOT_EXPLAINED)
    found = ordered(view.reasons)
    short = short or _short(found[0], status, view)
    lacking = next((one.message for one in held if one.type == CAPACITY_LIMITED), None) if held else None
    told = "; ".join([lacking if lacking and reason.code == "STOCKOUT" else reason.text for reason in found])
    return f"{short} · {told}" if short and told else short or told


def _held_up(condition: Condition) -> str:
    """`STOCKOUT 3 of 5 placed`, whose message stands in place of the autoscaler's longer one; others with theirs."""
    if condition.type == CAPACITY_LIMITED:
        return f"{condition.reason} {condition.placed} of {condition.wanted} placed"
    short = condition.reason.removeprefix("MONTHLY_").replace("_", " ")  # the column is narrow
    return " · ".join(filter(None, (short, condition.message)))


def _short(reason: Reason, status: DeploymentStatus, view: AutoscalerView) -> str:
    """At most about two dozen characters; nothing where the sentence is short enough by itself."""
    load = _most(view.targets) if view.targets else None
    wants = f", load wants {load.wanted}" if load else ""
    if reason.code == "AT_MAX":
        return f"AT MAX {units.count(status.deployment.max_replica_count)}{wants}"
    if reason.code == "AT_MIN":
        return f"AT MIN {units.count(status.deployment.min_replica_count)}{wants}"
    if reason.code == "STOCKOUT":
        return "STOCKOUT"
    if reason.code == "SCALED_TO_ZERO":
        return "ZERO: a request wakes it"
    if reason.code in _LOAD and load is not None:
        return f"load wants {load.wanted}: {units.rate(load.observed)} at {units.rate(load.target)}"
    return ""


def _most(targets: Sequence[TargetView]) -> TargetView | None:
    """The target that wants most replicas wins; the autoscaler's own rule."""
    known = [target for target in targets if target.wanted is not None]
    return max(known, key=lambda target: target.wanted or 0, default=None)
