"""What a server of one context among several sends, by the names that it is held by (`tui.core.placed`). Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from tui.core.placed import join

if TYPE_CHECKING:
    from client.fleet_types import FleetSnapshot

_OF_A_CONTEXT = re.compile(r"accounts/[^/]+/(?:deployments|deployedModels|routers)/[^/\s]+")
M = TypeVar("M", bound=BaseModel)


def placed(found: M, context: str) -> M:
    """`found` with every deployment, deployed model and router in it by the name that it is held by."""
    changed = {name: _placed(value, context) for name in found.model_fields_set if (value := getattr(found, name))}
    return found.model_copy(update=changed)


def _placed(value: object, context: str) -> object:
    if isinstance(value, BaseModel):
        return placed(value, context)
    if isinstance(value, list):
        return [_placed(one, context) for one in value]
    if isinstance(value, str) and _OF_A_CONTEXT.fullmatch(value):
        return join(context, value)
    return value


def placed_snapshot(found: FleetSnapshot, context: str) -> FleetSnapshot:
    """The same of a picture, in which nothing else has such names: it comes once a second and may be large."""
    deployments = [
        one.model_copy(
            update={"deployment": one.deployment.model_copy(update={"name": join(context, one.deployment.name)})}
        )
        for one in found.deployments
    ]
    alerts = [one.model_copy(update={"deployment": join(context, one.deployment)}) for one in found.alerts]
    return found.model_copy(update={"deployments": deployments, "alerts": alerts})
