"""Models that everybody may ask without a deployment of their own: what is offered, and on which terms. Pure.

    data   Serverless   what `firedeck serve --serverless` says
    verbs  is_shared    whether a deployment is one of these, by its name
           check_offer  InvalidArgument for a model that may not be offered
    near   `engine.fleet.serverless` keeps a deployment for each, of the library's account; `engine.gateway.admit`
           limits who asks them, `engine.control.price` has their prices

Such a deployment is shared by all accounts and promises nothing: it goes to zero when nobody asks it, and waits behind
dedicated ones for a place. Source: https://docs.fireworks.ai (models, serverless inference).
"""

from __future__ import annotations

from dataclasses import dataclass

from client.errors import InvalidArgument
from client.names import LIBRARY_ACCOUNT, Name

REQUESTS_PER_MINUTE = 6000  # of each account, as documented
_PREFIX = f"accounts/{LIBRARY_ACCOUNT}/deployments/"


@dataclass(frozen=True, slots=True)
class Serverless:
    """`models` of the library, as people name them; `requests_per_minute` of each account to all of them together;
    `replicas` that each has at most; `addons`: whether accounts may load their own adapters there."""

    models: tuple[str, ...] = ()
    requests_per_minute: int = REQUESTS_PER_MINUTE
    replicas: int = 1
    addons: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The models by full name, each once; InvalidArgument for what can be no name, or is of another account."""
        names = (Name.of(text, "models", LIBRARY_ACCOUNT, "serverless") for text in self.models)
        return tuple(dict.fromkeys(str(check_offer(name)) for name in names))


def is_shared(deployment: str) -> bool:
    """Whether it is serverless: by its full name, which no account but the library's may give."""
    return deployment.startswith(_PREFIX)


def deployment_of(model: str) -> str:
    """The full name of the deployment that serves a library's model serverless."""
    return _PREFIX + model.rpartition("/")[2]


def check_offer(model: Name) -> Name:
    """`model` itself, if it is the library's."""
    if model.account != LIBRARY_ACCOUNT:
        raise InvalidArgument(
            f"{model} is a custom model, and those are not served serverless", field="serverless",
            hint=f"deploy it: firedeck create deployment {model}",
        )  # fmt: skip
    return model
