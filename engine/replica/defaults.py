"""What a request means that says nothing, as the model's file has it (`engine.models.customized`): stop words, and how
tokens are chosen. A request's own fields go before it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from client.errors import InvalidArgument
from engine.models.customized import DEFAULTS_KEY
from engine.replica.fields import CompletionRequest
from engine.replica.llama import Model
from engine.replica.request_body import parse

log = logging.getLogger(__name__)


def of_model(model: Model) -> Mapping[str, Any]:
    """By the names of a request's fields. What no request could say is left out whole: the file is foreign."""
    return checked(model.meta(DEFAULTS_KEY))


def checked(told: str | None) -> Mapping[str, Any]:
    if told is None:
        return {}
    try:
        found = json.loads(told)
        if not isinstance(found, dict) or "prompt" in found:
            raise InvalidArgument("it is no object of a request's fields")
        parse(CompletionRequest, {"model": "m", "prompt": "p", **found})
    except (ValueError, RecursionError, InvalidArgument) as error:
        log.warning("%s of the model's file is not used: %s", DEFAULTS_KEY, error)
        return {}
    return found


def under(defaults: Mapping[str, Any], body: Any) -> Any:
    """A request's parsed body with what it leaves out, or says null of."""
    if not defaults or not isinstance(body, dict):
        return body
    return body | {name: value for name, value in defaults.items() if body.get(name) is None}
