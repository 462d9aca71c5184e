"""What takes a change back, as a plan of its own. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from client.fleet_types import DeploymentStatus
from tui.core.plan import UNSET, Plan, delete, scale, undelete, update


def undo(plan: Plan, after: DeploymentStatus, now: datetime) -> Plan | None:
    """The change that takes `plan` back, or None when there is none worth offering."""
    if plan.verb == "delete":
        return undelete(after)
    if plan.verb == "undelete":
        return delete(after, now, None)
    former = {change.field: change.before for change in plan.changes if change.before not in ("", UNSET)}
    found: Plan | None = None
    if plan.verb == "scale" and former.get("replicas", "").isdigit():
        found = scale(after, _form(former))
    elif plan.verb == "update" and former:
        found = update(after, _form(former))
    return found if found is not None and found.changes else None


def form_of(plan: Plan) -> dict[str, str]:
    """What the dialog of `plan` starts with: the values that it would set."""
    return _form({change.field: change.after for change in plan.changes}) if plan.verb in ("scale", "update") else {}


def _form(values: Mapping[str, str]) -> dict[str, str]:
    """The form's fields out of a plan's; it has the first load target alone."""
    found = {"replica_count" if name == "replicas" else name.replace(" ", "_"): text for name, text in values.items()}
    name, _, target = found.pop("load_targets", "").partition(", ")[0].partition("=")
    return {**found, "load_target": name, "load_target_value": target} if name else found
