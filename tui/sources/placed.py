"""One context among several: a source whose deployments have its name before theirs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from tui.core.placed import join, plain, plain_model
from tui.core.placing import placed, placed_snapshot

if TYPE_CHECKING:
    from client.addon_types import DeployedModel
    from client.fleet_types import AlertPage, Event, FleetSnapshot, History
    from client.router_types import Router, RouterShiftSpec
    from client.trace_types import RequestPage, RequestTrace
    from client.types import Deployment, DeploymentSpec
    from client.usage_tokens_types import TokenUsage
    from client.usage_types import Usage
    from tui.sources.base import FleetSource


class PlacedSource:
    """Asks `source` by the names that it knows, and answers by those that are held here (`tui.core.placed`). What has
    no such names is handed on as it is."""

    def __init__(self, source: FleetSource, name: str) -> None:
        self._source, self._name = source, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    async def snapshot(self) -> FleetSnapshot:
        return placed_snapshot(await self._source.snapshot(), self._name)

    async def watch(self) -> AsyncIterator[FleetSnapshot]:
        async for snapshot in self._source.watch():
            yield placed_snapshot(snapshot, self._name)

    # Asked of one deployment.

    async def history(self, deployment: str, seconds: int) -> History:
        return placed(await self._source.history(plain(deployment), seconds), self._name)

    async def events(self, deployment: str | None = None, limit: int = 100) -> list[Event]:
        of = None if deployment is None else plain(deployment)
        return [placed(one, self._name) for one in await self._source.events(of, limit)]

    async def get(self, deployment: str) -> Deployment:
        return placed(await self._source.get(plain(deployment)), self._name)

    async def adapters(self, deployment: Deployment) -> list[str]:
        return await self._source.adapters(deployment.model_copy(update={"name": plain(deployment.name)}))

    async def validate_create(self, spec: DeploymentSpec, deployment_id: str | None) -> Deployment:
        return placed(await self._source.validate_create(spec, deployment_id), self._name)

    async def validate_update(self, deployment: str, changes: DeploymentSpec) -> Deployment:
        return placed(await self._source.validate_update(plain(deployment), changes), self._name)

    async def validate_delete(self, deployment: str, *, ignore_checks: bool = False) -> bool:
        return await self._source.validate_delete(plain(deployment), ignore_checks=ignore_checks)

    async def create(self, spec: DeploymentSpec, deployment_id: str | None) -> Deployment:
        return placed(await self._source.create(spec, deployment_id), self._name)

    async def update(self, deployment: str, changes: DeploymentSpec) -> Deployment:
        return placed(await self._source.update(plain(deployment), changes), self._name)

    async def scale(self, deployment: str, replica_count: int) -> None:
        await self._source.scale(plain(deployment), replica_count)

    async def delete(self, deployment: str, *, ignore_checks: bool = False) -> None:
        await self._source.delete(plain(deployment), ignore_checks=ignore_checks)

    async def undelete(self, deployment: str) -> Deployment:
        return placed(await self._source.undelete(plain(deployment)), self._name)

    async def chat(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        async with aclosing(self._source.chat({**body, "model": plain_model(str(body["model"]))})) as chunks:
            async for chunk in chunks:
                yield chunk

    # Records that name deployments.

    async def alerts(self) -> AlertPage:
        found = await self._source.alerts()
        alerts = [one.model_copy(update={"deployment": join(self._name, one.deployment)}) for one in found.alerts]
        return found.model_copy(update={"alerts": alerts})

    async def requests(self, limit: int) -> RequestPage:
        return placed(await self._source.requests(limit), self._name)

    async def explain(self, request_id: str) -> RequestTrace:
        return placed(await self._source.explain(request_id), self._name)

    async def routers(self) -> list[Router]:
        return [placed(one, self._name) for one in await self._source.routers()]

    async def router(self, name: str) -> Router:
        return placed(await self._source.router(plain(name)), self._name)

    async def shift(self, router: str, spec: RouterShiftSpec, *, validate_only: bool = False) -> Router:
        return placed(await self._source.shift(plain(router), spec, validate_only=validate_only), self._name)

    async def abort_shift(self, router: str) -> None:
        await self._source.abort_shift(plain(router))

    async def usage(self, *asked: Any) -> Usage:
        return placed(await self._source.usage(*asked), self._name)

    async def token_usage(self, *asked: Any) -> TokenUsage:
        return placed(await self._source.token_usage(*asked), self._name)

    async def deployed_models(self) -> list[DeployedModel]:
        return [placed(one, self._name) for one in await self._source.deployed_models()]

    async def load_adapter(self, model: str, deployment: str) -> DeployedModel:
        return placed(await self._source.load_adapter(model, plain(deployment)), self._name)

    async def unload_adapter(self, name: str) -> None:
        await self._source.unload_adapter(plain(name))
