"""Typed verbs on guards: `Client.guards.create(...)` and friends (firedeck's own)."""

from __future__ import annotations

from typing import Any, Unpack

from client.guard_types import Guard, GuardPage, GuardSpec
from client.http import Query, Transport
from client.listing import Listed, ListOptions, listed
from client.names import check_id


class Guards:
    def __init__(self, transport: Transport, account: str) -> None:
        self._transport = transport
        self._path = f"/firedeck/v1/accounts/{account}/guards"

    async def create(self, guard_id: str, spec: GuardSpec, *, validate_only: bool = False) -> Guard:
        """The new guard; with `validate_only` what it would be, here and below, nothing being made or changed."""
        query: Query = {"guardId": guard_id, "validateOnly": validate_only or None}
        return Guard.model_validate(await self._transport.send("POST", self._path, query=query, body=_body(spec)))

    async def get(self, guard: str) -> Guard:
        """With the keys that its breaker refuses now."""
        return Guard.model_validate(await self._transport.get(self._one(guard)))

    async def list(self, **options: Unpack[ListOptions]) -> Listed[Guard]:
        return await listed(self._transport, self._path, GuardPage, lambda page: page.guards, options)

    async def update(self, guard: str, changes: GuardSpec, *, validate_only: bool = False) -> Guard:
        """Only the fields set in `changes` change; one that is set to None is taken away."""
        query, body = {"validateOnly": validate_only or None}, _body(changes)
        return Guard.model_validate(await self._transport.send("PATCH", self._one(guard), query=query, body=body))

    async def delete(self, guard: str, *, validate_only: bool = False) -> None:
        await self._transport.send("DELETE", self._one(guard), query={"validateOnly": validate_only or None})

    async def release(self, guard: str, key_id: str) -> Guard:
        """Let a key in again that its breaker refuses."""
        body = {"keyId": key_id}
        return Guard.model_validate(await self._transport.send("POST", self._one(guard) + ":release", body=body))

    def _one(self, guard: str) -> str:
        return f"{self._path}/{check_id(guard.rpartition('/')[2], 'guard')}"


def _body(spec: GuardSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
