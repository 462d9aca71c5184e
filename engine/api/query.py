"""Query parameters: taken in either spelling, known to their route or refused, given once.

A switch that nobody reads would be worse than an error: a dry run that is none. The inference routes have no parameters
and pass over all, as Fireworks and OpenAI do: clients send theirs with every request (Azure's `api-version`).
Source: https://protobuf.dev/programming-guides/json/ (names of fields are taken in camelCase and as declared).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from urllib.parse import quote_plus, unquote_plus

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic.alias_generators import to_camel

from client.errors import InvalidArgument


def in_camel_case(query: str) -> str:
    """The query with its names as the routes have them: `validate_only=true` -> `validateOnly=true`; values stay."""
    if "_" not in query and "%" not in query:
        return query
    parts = (part.partition("=") for part in query.split("&"))
    return "&".join(quote_plus(_camel(unquote_plus(name))) + equals + value for name, equals, value in parts)


async def parameters(request: Request) -> None:
    """Raises InvalidArgument for a parameter that the route does not take, or that is given twice.

    For after `principal`: who may not ask learns nothing of what could be asked.
    """
    route: APIRoute = request.scope["route"]
    given = [name for name, _ in request.query_params.multi_items()]
    known = sorted({*names_of(route.dependant)}) if given else []
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "known here: " + (", ".join(known) or "none")
            raise InvalidArgument(f"unknown query parameter {name[:80]!r}", field=name[:80], hint=hint)
        if given.count(name) > 1:
            raise InvalidArgument(f"{name} is given {given.count(name)} times", field=name, hint="give it once")


def names_of(dependant: Dependant) -> Iterator[str]:
    """The names of all query parameters that a route reads, by itself or through what it depends on."""
    yield from (parameter.alias for parameter in dependant.query_params)
    for below in dependant.dependencies:
        yield from names_of(below)


def _camel(name: str) -> str:
    return to_camel(name) if "_" in name.strip("_") else name
