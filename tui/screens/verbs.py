"""What can be done to a deployment, from whichever page: each verb opens its dialog, or says why it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from client.fleet_types import DeploymentStatus
from tui.core import keys, plan
from tui.core.placed import context_of, short
from tui.core.plan import Verb
from tui.screens.change import ChangeDialog, Field
from tui.screens.page import CHOOSE_FIRST

if TYPE_CHECKING:
    from tui.app import Deck

_LABELS = {
    "min_replica_count": "min replicas", "max_replica_count": "max replicas", "scale_up_window": "scale-up window",
    "scale_down_window": "scale-down window", "scale_to_zero_window": "scale-to-zero window",
    "load_target": "load target", "load_target_value": "target a replica",
}  # fmt: skip


def begin(deck: Deck, verb: Verb, status: DeploymentStatus | None, form: Mapping[str, str] | None = None) -> None:
    """Open the dialog of `verb` for `status`; `form` has what its fields start with where that is not what is so."""
    if deck.refuses(verb, context_of(status.deployment.name) if status is not None else None):
        return
    if status is None:
        deck.notify(CHOOSE_FIRST, severity="warning")
    elif _makes_sense(deck, verb, status):
        deck.push_screen(ChangeDialog(verb, status, fields(verb, status, form or {})))


def _makes_sense(deck: Deck, verb: Verb, status: DeploymentStatus) -> bool:
    gone = status.deployment.state == "DELETED"
    if gone == (verb == "undelete"):
        return True
    back = f"deleted; bring it back with {keys.shown(deck.actions, 'undelete')}"
    deck.notify(f"{short(status.deployment.name)} is {back if gone else 'not deleted'}", severity="warning")
    return False


def fields(verb: Verb, status: DeploymentStatus, form: Mapping[str, str]) -> tuple[Field, ...]:
    """The inputs of a verb's dialog, with the deployment's own settings but for what `form` has."""
    if verb == "scale":
        desired = status.deployment.desired_replica_count
        count = form.get("replica_count", "" if desired is None else str(desired))
        return (Field("replica_count", "replicas", count),)
    if verb != "update":
        return ()
    now = plan.flat(status.deployment)
    name, _, value = now.get("load_targets", "").partition(", ")[0].partition("=")
    known = {**now, "load_target": name, "load_target_value": value, **form}
    return tuple(Field(key, label, known.get(key, "")) for key, label in _LABELS.items())
