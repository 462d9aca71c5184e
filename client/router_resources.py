"""Typed verbs on routers, firedeck's own: `Client.routers.create(...)`, `Client.routers.shift(...)`.

Ids may be bare (`canary`, in the client's account) or full names (`accounts/local/routers/canary`).
"""

from __future__ import annotations

from typing import Any, Unpack

from client.http import Transport
from client.listing import Listed, ListOptions, listed
from client.names import Name
from client.router_types import Router, RouterPage, RouterShiftSpec, RouterSpec
from client.wire import Wire


class Routers:
    def __init__(self, transport: Transport, account: str) -> None:
        self._transport = transport
        self._account = account
        self._path = f"/firedeck/v1/accounts/{account}/routers"

    async def create(self, spec: RouterSpec, router_id: str | None = None, *, validate_only: bool = False) -> Router:
        """The new router; with `validate_only` what it would be, nothing being made."""
        query = {"routerId": router_id, "validateOnly": validate_only or None}
        return Router.model_validate(await self._transport.send("POST", self._path, query=query, body=_body(spec)))

    async def get(self, router: str) -> Router:
        return Router.model_validate(await self._transport.get(self._one(router)))

    async def list(self, **options: Unpack[ListOptions]) -> Listed[Router]:
        return await listed(self._transport, self._path, RouterPage, lambda page: page.routers, options)

    async def update(self, router: str, changes: RouterSpec, *, validate_only: bool = False) -> Router:
        """Only the fields set in `changes` change; of a rule those that it sets, of weights all targets."""
        query = {"validateOnly": validate_only or None}
        raw = await self._transport.send("PATCH", self._one(router), query=query, body=_body(changes))
        return Router.model_validate(raw)

    async def shift(self, router: str, spec: RouterShiftSpec, *, validate_only: bool = False) -> Router:
        """Move its traffic to `spec.to` by steps, or with `spec.abort` back to what it was before."""
        query = {"validateOnly": validate_only or None}
        path = f"{self._one(router)}:shift"
        return Router.model_validate(await self._transport.send("POST", path, query=query, body=_body(spec)))

    async def delete(self, router: str, *, validate_only: bool = False) -> None:
        query = {"validateOnly": validate_only or None}
        await self._transport.send("DELETE", self._one(router), query=query)

    def _one(self, router: str) -> str:
        return f"/firedeck/v1/{Name.of(router, 'routers', self._account, 'router')}"


def _body(spec: Wire) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
