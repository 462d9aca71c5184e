"""What a request means that says nothing, as the model's file has it (`engine.models.customized`): stop words, and how
tokens are chosen. A request's own fields go before it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from client.errors import FiredeckError
from engine.models.customized import DEFAULTS_KEY, defaults
from engine.replica.llama import Model

log = logging.getLogger(__name__)


def of_model(model: Model) -> Mapping[str, Any]:
    """By the names of a request's fields. What is not one of these is left out whole: the file is foreign."""
    return checked(model.meta(DEFAULTS_KEY))


def checked(told: str | None) -> Mapping[str, Any]:
    if told is None:
        return {}
    try:
        return defaults(json.loads(told))
    except (ValueError, RecursionError, FiredeckError) as error:
        log.warning("%s of the model's file is not used: %s", DEFAULTS_KEY, error)
        return {}


def under(own: Mapping[str, Any], body: Any) -> Any:
    """A request's parsed body with what it leaves out, or says null of."""
    if not own or not isinstance(body, dict):
        return body
    return body | {name: value for name, value in own.items() if body.get(name) is None}
