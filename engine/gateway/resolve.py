"""From a request's model string to the deployment that answers it, and the adapter it answers with. Pure over names."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from client.errors import InvalidArgument, NotFound
from client.names import ModelString, parse_model

# The SDK's 0.19 line matches this very sentence to decide whether to retry.
NOT_DEPLOYED = "Model not found, inaccessible, and/or not deployed"
_NAMED = 3  # of a kind, in a hint


class Deployed:
    """A deployment as routing sees it: its name and the model it serves, both in full."""

    __slots__ = ("model", "name")

    def __init__(self, name: str, model: str) -> None:
        self.name = name
        self.model = model


@dataclass(frozen=True, slots=True)
class Offer:
    """A deployed model as routing sees it: which model on which deployment. All names in full."""

    name: str
    model: str
    deployment: str
    default: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """What answers: a deployment, and the deployed model that was meant, None for the deployment's own model."""

    deployment: str
    offer: str | None = None


def resolve(
    model: object,
    deployments: Sequence[Deployed],
    account: str,
    offers: Sequence[Offer] = (),
    routers: Iterable[str] = (),
) -> Target:
    """What the account's `model` asks for.

    `deployments` are the account's own and `offers` what it may use, both in order of creation; `routers`, which are
    followed before, are named where nothing is found. A bare model goes to its default, else to its oldest deployment.
    What is not there, of another account, or of another model is NotFound alike: nothing tells which.
    """
    if not isinstance(model, str) or not model:
        raise InvalidArgument("model is required and must be a text", field="model")
    if len(model) > 512:
        raise NotFound(NOT_DEPLOYED, field="model")
    found = None
    with contextlib.suppress(InvalidArgument):
        found = _found(parse_model(model, account), deployments, offers)
    if found is None:
        raise NotFound(NOT_DEPLOYED, field="model", hint=_hint(model, deployments, routers))
    return found


def _found(wanted: ModelString, deployments: Sequence[Deployed], offers: Sequence[Offer]) -> Target | None:
    name, model = str(wanted.deployment), str(wanted.model)
    if wanted.deployed_model is not None:
        return _first(offer for offer in offers if offer.name == str(wanted.deployed_model))
    if wanted.deployment is not None:
        named = (d for d in deployments if d.name == name and (wanted.model is None or d.model == model))
        offered = (o for o in offers if o.deployment == name and o.model == model)
        return next((Target(d.name) for d in named), None) or _first(offered)
    if wanted.model is None:
        return None
    matching = [offer for offer in offers if offer.model == model]
    default = _first(offer for offer in matching if offer.default)
    own = next((Target(d.name) for d in deployments if d.model == model), None)
    return default or own or _first(iter(matching))


def _first(offers: Iterator[Offer]) -> Target | None:
    found = next(offers, None)
    return None if found is None else Target(found.deployment, found.name)


def _hint(model: str, deployments: Sequence[Deployed], routers: Iterable[str]) -> str:
    """What there is, of the kind that was asked for first."""
    deployed = "deployed: " + ", ".join(f"{d.model}#{d.name}" for d in deployments[:_NAMED])
    if not deployments:
        deployed = "nothing is deployed: `firedeck deployment create MODEL`"
    names = [*itertools.islice(routers, _NAMED)]
    routed = "routers: " + ", ".join(names) if names else ""
    if "/routers/" not in model:
        return "; ".join(filter(None, (deployed, routed)))
    return "; ".join((routed or "there is no router: `firedeck router create`", deployed))
