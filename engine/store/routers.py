"""Rows of routers, over the one store."""

from __future__ import annotations

from client.router_types import Router
from engine.store.store import Store


class RouterRecords:
    """Async verbs; what a method has returned from is on disk."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def all(self) -> list[Router]:
        """In the order in which they were made."""
        return [Router.model_validate_json(row["doc"]) for row in await self._store.fetch("all_routers")]

    async def put(self, router: Router) -> None:
        doc = router.model_dump_json(
            by_alias=True, exclude_none=True, exclude={"shares", "measured_since", "simulated"}
        )
        row = {"name": router.name, "account": router.name.split("/")[1], "doc": doc}
        await self._store.transact([("put_router", row)])

    async def drop(self, name: str) -> None:
        await self._store.transact([("drop_router", {"name": name})])
