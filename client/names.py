"""Resource names and model strings: one parser, used by API, gateway, command line and dashboard.

Names are `accounts/<account>/<collection>/<id>`; ids are 1-63 of `[a-z0-9-]`, no hyphen first or last.
Model strings are what an inference request may put into `model`
(https://docs.fireworks.ai: "querying a deployment"; see `parse_model`).
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Literal

from client.errors import InvalidArgument

LIBRARY_ACCOUNT = "fireworks"  # owns the model library
LOCAL_ACCOUNT = "local"  # the user's account on a private engine

Collection = Literal[
    "models", "deployments", "deployedModels", "users", "deploymentShapes", "secrets", "quotas", "routers"
]
_COLLECTIONS: tuple[Collection, ...] = (
    "models", "deployments", "deployedModels", "users", "deploymentShapes", "secrets", "quotas", "routers",
)  # fmt: skip
_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def check_id(value: str, field: str = "id") -> str:
    """`value` itself if it is a valid resource id, else InvalidArgument naming `field`."""
    if not _ID.fullmatch(value):
        raise InvalidArgument(
            f"{field} {value[:80]!r} is not a valid id",
            field=field,
            hint="use 1 to 63 of a-z, 0-9 and '-', with no '-' first or last",
        )
    return value


def random_id() -> str:
    """Eight lower-case alphanumerics, starting with a letter, as the platform generates them."""
    return secrets.choice(_ALPHABET[:26]) + "".join(secrets.choice(_ALPHABET) for _ in range(7))


@dataclass(frozen=True, slots=True)
class Name:
    """`accounts/<account>/<collection>/<id>`; `str()` gives the wire form back."""

    account: str
    collection: Collection
    id: str

    def __str__(self) -> str:
        return f"accounts/{self.account}/{self.collection}/{self.id}"

    @classmethod
    def parse(cls, text: str, field: str = "name") -> Name:
        """The name written in full, or InvalidArgument naming `field`."""
        parts = text.split("/")
        if len(parts) != 4 or parts[0] != "accounts" or parts[2] not in _COLLECTIONS:
            raise InvalidArgument(
                f"{field} {text[:120]!r} is not a resource name",
                field=field,
                hint="names look like accounts/ACCOUNT/models/ID",
            )
        collection: Collection = next(c for c in _COLLECTIONS if c == parts[2])
        return cls(check_id(parts[1], field), collection, check_id(parts[3], field))

    @classmethod
    def of(cls, text: str, collection: Collection, account: str, field: str = "name") -> Name:
        """A full name, `account/id`, or a bare id (in `account`), as commands and short forms write them."""
        parts = text.split("/")
        if len(parts) == 1:
            return cls(account, collection, check_id(text, field))
        if len(parts) == 2:
            return cls(check_id(parts[0], field), collection, check_id(parts[1], field))
        name = cls.parse(text, field)
        if name.collection != collection:
            raise InvalidArgument(f"{field} {text!r} does not name one of {collection}", field=field)
        return name


@dataclass(frozen=True, slots=True)
class ModelString:
    """What a request's `model` asks for: a model, a deployment, or a model on a deployment (both given)."""

    model: Name | None
    deployment: Name | None
    deployed_model: Name | None = None


def parse_model(text: str, account: str) -> ModelString:
    """Every documented form of a request's model string.

    `accounts/A/models/M`, `accounts/A/deployments/D`, `accounts/A/deployedModels/X`, `MODEL#DEPLOYMENT` in full
    names or short (`fireworks/m#alice/d`, `fireworks/m#d`), and a bare `a/m` or `m` (in `account`).
    """
    model_part, _, deployment_part = text.partition("#")
    deployment = Name.of(deployment_part, "deployments", account, "model") if "#" in text else None
    if model_part.count("/") == 3:
        name = Name.parse(model_part, "model")
        if name.collection == "deployments" and deployment is None:
            return ModelString(None, name)
        if name.collection == "deployedModels" and deployment is None:
            return ModelString(None, None, name)
        if name.collection != "models":
            raise InvalidArgument(f"{model_part!r} is not a model name", field="model")
        return ModelString(name, deployment)
    return ModelString(Name.of(model_part, "models", account, "model"), deployment)
