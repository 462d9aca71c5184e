"""What a bare id of a model stands for: the account's own model, or else the library's."""

from __future__ import annotations

from client.errors import NotFound
from client.names import LIBRARY_ACCOUNT
from client.resources import Client
from client.types import Model


async def model(client: Client, name: str) -> Model:
    """NotFound as the account's own has it, where the library has none of this id either."""
    try:
        return await client.models.get(name)
    except NotFound:
        if "/" in name:
            raise
        try:
            return await client.models.get(f"accounts/{LIBRARY_ACCOUNT}/models/{name}")
        except NotFound:
            pass
        raise
