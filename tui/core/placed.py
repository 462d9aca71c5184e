"""Names over several contexts: `eu:accounts/acme/deployments/chat`. Held so, names that are equal in two contexts never
meet; in one context alone they are as they are on the wire. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from client.errors import InvalidArgument

SIGN = ":"
_PLACED = re.compile(r"([^/:]+):(?=accounts/|$)")


def join(context: str, name: str) -> str:
    """The name as it is held; `context` is empty where there is one alone."""
    return f"{context}{SIGN}{name}" if context else name


def context_of(name: str) -> str:
    """Empty where there is one context alone."""
    found = _PLACED.match(name)
    return found[1] if found else ""


def plain(name: str) -> str:
    """As its own server knows it."""
    found = _PLACED.match(name)
    return name[found.end() :] if found else name


def plain_model(model: str) -> str:
    """A request's `model`, `BASE#DEPLOYMENT`, as its own server knows it."""
    base, sign, deployment = model.partition("#")
    return f"{base}{sign}{plain(deployment)}"


def short(name: str) -> str:
    """`chat`, of several contexts `eu:chat`."""
    return join(context_of(name), name.rpartition("/")[2])


def on(name: str) -> str:
    """` on eu`, for titles; nothing where there is one context alone."""
    context = context_of(name)
    return f" on {context}" if context else ""


def check(names: Sequence[str]) -> None:
    """Raises InvalidArgument where contexts of these names cannot be shown together."""
    for name in names:
        if not name or not _PLACED.fullmatch(f"{name}{SIGN}"):
            raise InvalidArgument(f"the context {name!r} cannot be shown with others", hint="rename it: no / and no :")
    if len(set(names)) < len(names):
        raise InvalidArgument("a context is named twice", hint="name each once")
