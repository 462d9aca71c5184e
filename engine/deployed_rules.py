"""What may be deployed on what, and what of it may change. Pure functions over wire types.

Source: https://docs.fireworks.ai (deploying LoRA adapters) and the SDK's field documentation.
"""

from __future__ import annotations

from typing import Any

from client.addon_types import DEPLOYED_OUTPUT_ONLY, DeployedModel
from client.enums import STRICT
from client.errors import FailedPrecondition, InvalidArgument, NotFound
from client.names import LIBRARY_ACCOUNT
from client.types import Deployment, Model
from engine.access import bodies
from engine.serverless import Serverless, deployment_of, is_shared
from engine.wire_paths import find

CHANGEABLE = frozenset({"default", "public", "display_name", "description"})


def read(body: Any) -> DeployedModel:
    """The deployed model in a request's body; unknown fields and wrong types are refused by name."""
    return bodies.without(bodies.read(body, DeployedModel, STRICT), DEPLOYED_OUTPUT_ONLY)


def check_new(spec: DeployedModel) -> None:
    for field in ("model", "deployment"):
        if not getattr(spec, field):
            raise InvalidArgument(f"{field} is required", field=field)


def is_for_serverless(spec: DeployedModel, terms: Serverless) -> bool:
    """Whether the adapter is to be loaded where everybody's are: said so, or, where there is that, no deployment."""
    return bool(spec.serverless) or is_shared(spec.deployment or "") or (terms.addons and not spec.deployment)


def check_serverless(model: Model, account: str, terms: Serverless) -> str:
    """The deployment that takes this model, an adapter of the account's; InvalidArgument where it is not served
    serverless."""
    base = model.peft_details.base_model if model.peft_details else ""
    if not model.is_adapter:
        why = "the library's are offered by who runs the engine" if _is_library(model) else "custom base models are not"
    elif not terms.addons:
        why = "adapters are not, unless who runs the engine allows it: firedeck serve --serverless-addons"
    elif base not in terms.names:
        why = f"its base model {base} is not"
    elif model.name.split("/")[1] != account:
        why = "it is its owner's to load"
    else:
        return deployment_of(base)
    own = "load it onto a deployment of yours: firedeck load-lora"
    remedy = own if model.is_adapter else "deploy it for yourself: firedeck create deployment"
    raise InvalidArgument(
        f"{model.name} is not served serverless: {why}", field="serverless", hint=f"{remedy} {model.name}"
    )


def check_kept_apart(spec: DeployedModel, deployment: str) -> None:
    """InvalidArgument where all accounts would be let use an adapter that is on a serverless deployment."""
    if spec.public and is_shared(deployment):
        raise InvalidArgument(
            "an adapter on a serverless deployment is for the account alone that loads it", field="public",
            hint="load it onto a deployment of your own to make it public",
        )  # fmt: skip


def _is_library(model: Model) -> bool:
    return model.name.startswith(f"accounts/{LIBRARY_ACCOUNT}/")


def check_owner(model: Model, account: str, field: str) -> None:
    """A model of another account is there for its owner alone, unless it is public."""
    owner = model.name.split("/")[1]
    if owner not in (account, LIBRARY_ACCOUNT) and not model.public:
        raise NotFound(f"model {model.name!r} does not exist", field=field, hint="`firedeck model list` shows all")


def check_fits(model: Model, deployment: Deployment) -> None:
    """Whether a deployment takes an adapter; InvalidArgument and FailedPrecondition say why not."""
    if deployment.delete_time is not None:
        raise FailedPrecondition(f"{deployment.name} is deleted", field="deployment", hint="undelete it first")
    if not model.is_adapter:
        raise InvalidArgument(
            f"{model.name} is no LoRA adapter", field="model", hint="deploy it: firedeck deployment create"
        )
    if model.state != "READY":
        raise FailedPrecondition(f"{model.name} is {model.state}", field="model", hint="upload and validate it first")
    if not (deployment.enable_addons or deployment.enable_hot_reload_latest_addon):
        raise FailedPrecondition(
            f"{deployment.name} takes no adapters", field="deployment", hint="set its enableAddons to true"
        )
    trained_on = model.peft_details.base_model if model.peft_details else ""
    if trained_on != deployment.base_model:
        raise FailedPrecondition(
            f"{model.name} was trained on {trained_on}, and {deployment.name} serves {deployment.base_model}",
            field="model",
            hint="load it onto a deployment of its own base model",
        )


def updated(current: DeployedModel, changes: DeployedModel, paths: frozenset[str] | None) -> DeployedModel:
    """`current` with the fields of the mask `paths`, or else those that `changes` sets."""
    names = changes.model_fields_set if paths is None else frozenset(_name(path) for path in paths)
    for name in sorted(names - CHANGEABLE):
        if getattr(changes, name) != getattr(current, name):
            raise InvalidArgument(f"{name} cannot be changed", field=name, hint="unload it and load it anew")
    taken = {name: getattr(changes, name) for name in names & CHANGEABLE}
    if "default" in taken or "public" in taken:
        taken |= {flag: bool(taken[flag]) for flag in ("default", "public") if flag in taken}
    return current.model_copy(update=taken)


def _name(path: str) -> str:
    leaf = find(DeployedModel, path)
    if leaf is None or len(leaf.names) > 1 or leaf.names[0] in DEPLOYED_OUTPUT_ONLY:
        raise InvalidArgument(f"unknown field {path[:80]!r} in the update mask", field="updateMask")
    return leaf.names[0]
