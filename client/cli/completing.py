"""Names that a shell offers at Tab: those that the engine has. Nothing where it does not answer at once, or refuses.

data   DEPLOYMENTS, MODELS (the library's too), OWN_MODELS, ADAPTERS: for an argument's or option's `shell_complete`
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import click

from client.cli.connection import context_of
from client.config import Context
from client.errors import FiredeckError
from client.names import LIBRARY_ACCOUNT
from client.resources import Client

PATIENCE_S = 2.0  # of somebody who has pressed Tab

Complete = Callable[[click.Context, click.Parameter, str], list[str]]
Look = Callable[[Client], Awaitable[list[str]]]


def _offer(look: Look) -> Complete:
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        with suppress(FiredeckError, ValueError, TimeoutError, OSError), ctx.scope(cleanup=False):
            asked = context_of(*(ctx.params.get(name) for name in ("base_url", "api_key", "account")))
            return [name for name in asyncio.run(_found(asked, look)) if name.startswith(incomplete)]
        return []

    return complete


async def _found(asked: Context, look: Look) -> list[str]:
    async with asyncio.timeout(PATIENCE_S), Client(asked) as client:
        return await look(client)


async def _deployments(client: Client) -> list[str]:
    return [one.id for one in await client.deployments.list()]


async def _models(client: Client) -> list[str]:
    return [one.id for one in (*await client.models.list(), *await client.models.list(LIBRARY_ACCOUNT))]


async def _own_models(client: Client) -> list[str]:
    return [one.id for one in await client.models.list()]


async def _adapters(client: Client) -> list[str]:
    return [one.id for one in await client.models.list() if one.is_adapter]


DEPLOYMENTS, MODELS = _offer(_deployments), _offer(_models)
OWN_MODELS, ADAPTERS = _offer(_own_models), _offer(_adapters)
