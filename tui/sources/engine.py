"""A fleet behind a real engine, through `client` and in no other way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from client.errors import Internal, NotFound, Unavailable
from client.listing import Listed
from client.names import LIBRARY_ACCOUNT
from tui.core.facts import ENGINE, Facts

if TYPE_CHECKING:
    from client.access_types import ApiKey, AuditLogEntry, Quota, User
    from client.addon_types import DeployedModel
    from client.config import Context
    from client.fleet_types import AlertPage, Event, FleetSnapshot, History, NodeView
    from client.resources import Client
    from client.router_types import Router, RouterShiftSpec
    from client.trace_types import RequestPage, RequestTrace
    from client.types import Account, Deployment, DeploymentSpec, Model
    from client.usage_tokens_types import TokenUsage
    from client.usage_types import Usage
    from tui.sources.base import HistorySource

INTERVAL_S = 1.0
FIRST_ANSWER_S = 60.0  # an engine that has just been started, or has thousands to tell of, may take long over the first
SILENCE_S = 6.0  # a stream that says nothing for this long is taken for dead: the laptop slept, a proxy hangs
# A read that was refused tells who tried; one that found nothing or made no sense tells no more than any other.
_REFUSED_READS = 'method="GET" AND status.code!="OK" AND status.code!="NOT_FOUND" AND status.code!="INVALID_ARGUMENT"'


class EngineSource:
    """Watches over server-sent events; where the engine or a proxy has no stream, by asking once a second."""

    def __init__(self, context: Context, history: HistorySource | None = None) -> None:
        self.context = context
        self._history = history
        self._streams, self._answered = True, False

    @classmethod
    def of(cls, client: Client) -> EngineSource:
        """Through this client."""
        source = cls(client.context)
        source._client = client
        return source

    @cached_property
    def _client(self) -> Client:
        """Made when the engine is asked first: what speaks HTTP takes a tenth of a second to import, and until then the
        page can be seen."""
        from client.resources import Client

        return Client(self.context)

    @property
    def facts(self) -> Facts:
        return ENGINE

    async def snapshot(self) -> FleetSnapshot:
        with self._readable():
            return await self._client.fleet.snapshot()

    async def watch(self) -> AsyncIterator[FleetSnapshot]:
        if self._streams:
            try:
                async for snapshot in self._stream():
                    yield snapshot
            except NotFound:
                self._streams = False
        while True:
            yield await self.snapshot()
            await asyncio.sleep(INTERVAL_S)

    async def _stream(self) -> AsyncIterator[FleetSnapshot]:
        stream = self._client.fleet.watch(INTERVAL_S)
        where = self.context.base_url
        async with aclosing(stream):  # type: ignore[type-var]  # an async generator, typed as its iterator
            while True:
                patience_s = SILENCE_S if self._answered else FIRST_ANSWER_S
                try:
                    with self._readable():
                        async with asyncio.timeout(patience_s):
                            snapshot = await anext(stream)
                except StopAsyncIteration:
                    raise Unavailable(f"{where} closed the stream", hint="is the engine stopping?") from None
                except TimeoutError:
                    raise Unavailable(f"{where} has been silent for {patience_s:.0f}s") from None
                self._answered = True
                yield snapshot

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """An answer that is no JSON, or not of our types, is an error with a sentence (another program's port?)."""
        try:
            yield
        except ValueError as error:
            told = f"{self.context.base_url} sent what this dashboard cannot read: {str(error).splitlines()[0]}"
            raise Internal(told, hint="is that a firedeck engine?") from error

    async def history(self, deployment: str, seconds: int) -> History:
        source: HistorySource = self._history or self._client.fleet
        with self._readable():
            return await source.history(deployment, seconds)

    async def events(self, deployment: str | None = None, limit: int = 100) -> list[Event]:
        with self._readable():
            return await self._client.fleet.events(deployment, limit=limit)

    async def nodes(self) -> list[NodeView]:
        with self._readable():
            return await self._client.fleet.nodes()

    async def users(self) -> list[User]:
        with self._readable():
            return await self._client.users.list()

    async def api_keys(self) -> list[tuple[str, ApiKey]]:
        from client.access_types import ADMIN

        with self._readable():
            me = await self._client.users.whoami()
            owners = [user.id for user in await self._client.users.list()] if me.role == ADMIN else [me.user]
            found = []
            for owner in owners:  # one after the other: a page that is looked at must not be a burst of requests
                found += [(owner, key) for key in await self._client.api_keys.list(owner)]
            return found

    async def quotas(self) -> list[Quota]:
        with self._readable():
            return await self._client.quotas.list()

    async def account(self) -> Account:
        with self._readable():
            return await self._client.accounts.get()

    async def audit_logs(self, limit: int, *, reads: bool = True) -> Listed[AuditLogEntry]:
        with self._readable():
            if reads:
                return await self._client.audit_logs.list(limit=limit)
            return await self._changes_and_refusals(limit)

    async def _changes_and_refusals(self, limit: int) -> Listed[AuditLogEntry]:
        """Two lists as one: the log's filter knows no OR."""
        wanted = ('method!="GET"', _REFUSED_READS)
        found = await asyncio.gather(*(self._client.audit_logs.list(limit=limit, filter=text) for text in wanted))
        merged = Listed(sorted((one for part in found for one in part), key=lambda one: -int(one.id))[:limit])
        merged.total_size = sum(part.total_size for part in found)
        return merged

    async def requests(self, limit: int) -> RequestPage:
        with self._readable():
            return await self._client.requests.list(limit=limit)

    async def explain(self, request_id: str) -> RequestTrace:
        with self._readable():
            return await self._client.requests.get(request_id)

    async def routers(self) -> list[Router]:
        with self._readable():
            return await self._client.routers.list()

    async def router(self, name: str) -> Router:
        with self._readable():
            return await self._client.routers.get(name)

    async def shift(self, router: str, spec: RouterShiftSpec, *, validate_only: bool = False) -> Router:
        with self._readable():
            return await self._client.routers.shift(router, spec, validate_only=validate_only)

    async def abort_shift(self, router: str) -> None:
        from client.router_types import RouterShiftSpec

        with self._readable():
            await self._client.routers.shift(router, RouterShiftSpec(abort=True))

    async def usage(self, start: datetime, end: datetime, group_by: str) -> Usage:
        with self._readable():
            return await self._client.usage.get(start=start, end=end, group_by=group_by)

    async def token_usage(self, start: datetime, end: datetime, group_by: str) -> TokenUsage:
        with self._readable():
            return await self._client.usage.tokens(start=start, end=end, group_by=group_by.split(","))

    async def alerts(self) -> AlertPage:
        with self._readable():
            return await self._client.fleet.alerts()

    async def deployed_models(self) -> list[DeployedModel]:
        with self._readable():
            return await self._client.deployed_models.list()

    async def load_adapter(self, model: str, deployment: str) -> DeployedModel:
        with self._readable():
            return await self._client.deployed_models.load(model, deployment)

    async def unload_adapter(self, name: str) -> None:
        with self._readable():
            await self._client.deployed_models.unload(name)

    async def chat(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        stream = self._client.inference.stream_chat(body)
        async with aclosing(stream):  # type: ignore[type-var]  # an async generator, typed as its iterator
            with self._readable():
                async for chunk in stream:
                    yield chunk

    async def models(self) -> list[Model]:
        with self._readable():
            library = await self._client.models.list(LIBRARY_ACCOUNT)
            own = await self._client.models.list() if self.context.account != LIBRARY_ACCOUNT else []
        return [*library, *own]

    async def get(self, deployment: str) -> Deployment:
        with self._readable():
            return await self._client.deployments.get(deployment)

    async def adapters(self, deployment: Deployment) -> list[str]:
        with self._readable():
            found = await self._client.deployed_models.list(filter=f'deployment="{deployment.name}"')
        others = [one for one in found if one.model != deployment.base_model and one.state != "UNDEPLOYING"]
        return [(one.model or "").rpartition("/")[2] for one in others]

    async def validate_create(self, spec: DeploymentSpec, deployment_id: str | None) -> Deployment:
        with self._readable():
            return await self._client.deployments.create(spec, deployment_id, validate_only=True)

    async def validate_update(self, deployment: str, changes: DeploymentSpec) -> Deployment:
        with self._readable():
            return await self._client.deployments.update(deployment, changes, validate_only=True)

    async def validate_delete(self, deployment: str, *, ignore_checks: bool = False) -> bool:
        with self._readable():
            await self._client.deployments.delete(deployment, ignore_checks=ignore_checks, validate_only=True)
        return True

    async def create(self, spec: DeploymentSpec, deployment_id: str | None) -> Deployment:
        with self._readable():
            return await self._client.deployments.create(spec, deployment_id)

    async def update(self, deployment: str, changes: DeploymentSpec) -> Deployment:
        with self._readable():
            return await self._client.deployments.update(deployment, changes)

    async def scale(self, deployment: str, replica_count: int) -> None:
        with self._readable():
            await self._client.deployments.scale(deployment, replica_count)

    async def delete(self, deployment: str, *, ignore_checks: bool = False) -> None:
        with self._readable():
            await self._client.deployments.delete(deployment, ignore_checks=ignore_checks)

    async def undelete(self, deployment: str) -> Deployment:
        with self._readable():
            return await self._client.deployments.undelete(deployment)

    async def close(self) -> None:
        if "_client" in vars(self):
            await self._client.transport.close()
