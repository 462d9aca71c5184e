"""What the dashboard watches: the fleet's state, one deployment's, nodes, history, events and alerts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Unpack

from client.fleet_types import (
    AlertPage,
    DeploymentStatus,
    Event,
    EventPage,
    FleetChanges,
    FleetSnapshot,
    History,
    NodePage,
    NodeView,
)
from client.http import Transport
from client.listing import Listed, ListOptions, listed
from client.names import Name


class Fleet:
    """firedeck's own additions: everything the dashboard watches."""

    def __init__(self, transport: Transport, account: str) -> None:
        self._transport = transport
        self._account = account

    async def snapshot(self) -> FleetSnapshot:
        return FleetSnapshot.model_validate(await self._transport.get("/firedeck/v1/fleet"))

    async def watch(self, interval_s: float = 1.0) -> AsyncIterator[FleetSnapshot]:
        """A snapshot now and one every `interval_s` seconds; ends with the connection.

        A deployment that has not changed is the same object as before: only changes travel.
        """
        last: FleetSnapshot | None = None
        query = {"interval": str(interval_s), "changes": "true"}
        async for event in self._transport.events("GET", "/firedeck/v1/fleet:watch", query=query):
            if last is not None and "changed" in event:
                last = FleetChanges.model_validate(event).on(last)
            else:
                last = FleetSnapshot.model_validate(event)
            yield last

    async def status(self, deployment: str) -> DeploymentStatus:
        return DeploymentStatus.model_validate(await self._transport.get(self._own(deployment)))

    async def nodes(self, **options: Unpack[ListOptions]) -> Listed[NodeView]:
        """The machines that replicas are placed on, with what is free on them now."""
        return await listed(self._transport, "/firedeck/v1/nodes", NodePage, lambda page: page.nodes, options)

    async def history(self, deployment: str, seconds: int = 300) -> History:
        raw = await self._transport.get(self._own(deployment, "/history"), {"seconds": seconds})
        return History.model_validate(raw)

    async def events(
        self, deployment: str | None = None, *, after: int = 0, limit: int = 100, filter_text: str | None = None
    ) -> list[Event]:
        """The newest `limit` events after sequence number `after` that the filter takes, oldest first."""
        query = {"after": after, "limit": limit, "filter": filter_text}
        return EventPage.model_validate(await self._transport.get(self._events(deployment), query)).events

    async def list_events(self, deployment: str | None = None, **options: Unpack[ListOptions]) -> Listed[Event]:
        """All that there still are, or one page of them, by `seq` unless `order_by` says otherwise."""
        return await listed(self._transport, self._events(deployment), EventPage, lambda page: page.events, options)

    def _events(self, deployment: str | None) -> str:
        return self._own(deployment, "/events") if deployment else "/firedeck/v1/events"

    async def alerts(self) -> AlertPage:
        """What is wrong with the account's deployments now, and the rules that say so."""
        return AlertPage.model_validate(await self._transport.get(f"/firedeck/v1/accounts/{self._account}/alerts"))

    def _own(self, deployment: str, below: str = "") -> str:
        name = Name.of(deployment, "deployments", self._account, "deployment")
        return f"/firedeck/v1/{name}{below}"
