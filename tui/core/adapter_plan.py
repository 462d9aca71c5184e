"""Loading an adapter onto a deployment and taking one off, as plans. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tui.core import units
from tui.core.form import Problem
from tui.core.matrix_page import Adapter, takes
from tui.core.model_page import short
from tui.core.plan import Change, Plan, traffic

if TYPE_CHECKING:
    from client.addon_types import DeployedModel
    from client.fleet_types import DeploymentStatus
    from client.types import Deployment


def load(adapter: Adapter, wanted: str, statuses: Mapping[str, DeploymentStatus]) -> Plan:
    """Onto the deployment of this id; `statuses` by id are those that could be meant."""
    command = shlex.join(["firedeck", "load-lora", short(adapter.name), "--deployment", wanted or "ID"])
    status = statuses.get(wanted)
    if status is None:
        problems = (Problem("deployment", f"there is no deployment {wanted}"),) if wanted else ()
        return Plan("load", "", (), command, (), problems)
    deployment = status.deployment
    cell = adapter.cells.get(deployment.name)
    why = _why_not(adapter, deployment, there=cell is not None and cell.one is not None)
    problems = (Problem("deployment", why),) if why else ()
    change = Change("adapters", "", f"+ {short(adapter.name)} on {deployment.id}")
    blast = (*traffic(status), "each replica loads it beside the model; other requests go on")
    return Plan(
        "load", deployment.name, (change,), command, blast, problems, model=adapter.name,
        seen_state=deployment.state, seen_created=deployment.create_time,
    )  # fmt: skip


def _why_not(adapter: Adapter, deployment: Deployment, *, there: bool) -> str:
    if there:
        return f"it is on {deployment.id} already"
    if not takes(deployment):
        return f"{deployment.id} takes no adapters (enableAddons is not set)"
    if adapter.base is not None and adapter.base != deployment.base_model:
        return f"it is for {short(adapter.base)}; {deployment.id} has {short(deployment.base_model)}"
    return ""


def unload(one: DeployedModel, rate: float | None) -> Plan:
    """`rate`: requests a second that name it now, None where that is not known."""
    place = short(one.deployment)
    change = Change("adapters", f"{short(one.model)} on {place}", "unloaded")
    asked = "how often it is asked for now is not known" if rate is None else f"{units.rate(rate)} req/s ask for it now"
    blast = (asked, f"requests that name it will be refused; those for {place} itself go on")
    command = shlex.join(["firedeck", "unload-lora", one.id])
    return Plan(
        "unload", one.name, (change,), command, blast, model=one.model or "", seen_created=one.create_time,
        on=one.deployment or "",
    )  # fmt: skip


def back(plan: Plan, one: DeployedModel) -> Plan:
    """What takes a load or an unload of `one` back."""
    if plan.verb == "load":
        return unload(one, None)
    command = shlex.join(["firedeck", "load-lora", short(one.model), "--deployment", short(one.deployment)])
    change = Change("adapters", "", f"+ {short(one.model)} on {short(one.deployment)}")
    return Plan("load", one.deployment or "", (change,), command, model=one.model or "")
