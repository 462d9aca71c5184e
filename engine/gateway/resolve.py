"""From a request's model string to the deployment that answers it. Pure over names."""

from __future__ import annotations

from collections.abc import Sequence

from client.errors import InvalidArgument, NotFound
from client.names import parse_model

# The SDK's 0.19 line matches this very sentence to decide whether to retry.
NOT_DEPLOYED = "Model not found, inaccessible, and/or not deployed"


class Deployed:
    """A deployment as routing sees it: its name and the model it serves, both in full."""

    __slots__ = ("model", "name")

    def __init__(self, name: str, model: str) -> None:
        self.name = name
        self.model = model


def resolve(model: object, deployments: Sequence[Deployed], account: str) -> str:
    """The full name of the account's deployment that `model` asks for.

    A bare model goes to its oldest deployment (`deployments` come in order of creation). A deployment that is not
    there, of another account, or of another model is NotFound alike: nothing tells which.
    """
    if not isinstance(model, str) or not model:
        raise InvalidArgument("model is required and must be a text", field="model")
    if len(model) > 512:
        raise NotFound(NOT_DEPLOYED, field="model")
    try:
        wanted = parse_model(model, account)
    except InvalidArgument:
        raise NotFound(NOT_DEPLOYED, field="model", hint=_hint(deployments)) from None
    for deployed in deployments:
        if wanted.deployment is not None and deployed.name != str(wanted.deployment):
            continue
        if wanted.model is not None and deployed.model != str(wanted.model):
            continue
        if wanted.model is None and wanted.deployment is None:
            continue
        return deployed.name
    raise NotFound(NOT_DEPLOYED, field="model", hint=_hint(deployments))


def _hint(deployments: Sequence[Deployed]) -> str:
    if not deployments:
        return "nothing is deployed: `firedeck deployment create MODEL`"
    return "deployed: " + ", ".join(f"{d.model}#{d.name}" for d in deployments[:3])
