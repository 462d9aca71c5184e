"""From a request's model string to the deployment that answers it, and the adapter it answers with. Pure over names."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from client.errors import InvalidArgument, NotFound
from client.names import ModelString, parse_model
from engine.fleet.directory import Directory, Offer

# The SDK's 0.19 line matches this very sentence to decide whether to retry.
NOT_DEPLOYED = "Model not found, inaccessible, and/or not deployed"
SHOWN = 3  # of an account's deployments and routers, where what was asked for is not there


@dataclass(frozen=True, slots=True)
class Target:
    """What answers: a deployment, and the deployed model that was meant, None for the deployment's own model."""

    deployment: str
    offer: str | None = None


def resolve(model: object, directory: Directory, account: str, routers: Iterable[str] = ()) -> Target:
    """What the account's `model` asks for; `routers`, which are followed before, are named where nothing is found.

    A bare model goes to its default, else to its oldest deployment; the account's own go before what others made
    public. What is not there, of another account, or of another model is NotFound alike: nothing tells which.
    """
    if not isinstance(model, str) or not model:
        raise InvalidArgument("model is required and must be a text", field="model")
    if len(model) > 512:
        raise NotFound(NOT_DEPLOYED, field="model")
    try:
        found = _found(parse_model(model, account), directory, account)
    except InvalidArgument:
        found = None
    if found is None:
        raise NotFound(NOT_DEPLOYED, field="model", hint=_hint(model, directory, account, routers))
    return found


def _found(wanted: ModelString, directory: Directory, account: str) -> Target | None:
    if wanted.deployed_model is not None:
        return _offered(directory.named(str(wanted.deployed_model), account))
    name, model = str(wanted.deployment), str(wanted.model)
    if wanted.deployment is not None:
        own = directory.deployment(name, account)
        if own is not None and (wanted.model is None or own.model == model):
            return Target(own.name)
        return _offered(directory.on(name, model, account))
    default = directory.meant(model, account, default=True)
    serving = None if default else directory.serving(model, account)
    if serving is not None:
        return Target(serving.name)
    return _offered(default or directory.meant(model, account, default=False))


def _offered(offer: Offer | None) -> Target | None:
    return None if offer is None else Target(offer.deployment, offer.name)


def _hint(model: str, directory: Directory, account: str, routers: Iterable[str]) -> str:
    """What there is, of the kind that was asked for first."""
    deployed = "deployed: " + ", ".join(f"{d.model}#{d.name}" for d in directory.some(account, SHOWN))
    if not directory.some(account, 1):
        deployed = "nothing is deployed: `firedeck deployment create MODEL`"
    names = [*itertools.islice(routers, SHOWN)]
    routed = "routers: " + ", ".join(names) if names else ""
    if "/routers/" not in model:
        return "; ".join(filter(None, (deployed, routed)))
    return "; ".join((routed or "there is no router: `firedeck router create`", deployed))
