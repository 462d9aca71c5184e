"""What the dashboard asks of a fleet, wherever it lives. Every method raises only `FiredeckError`s."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from client.config import Context
from tui.core.facts import Facts

if TYPE_CHECKING:  # what pages that are not open yet ask for
    from client.access_types import ApiKey, AuditLogEntry, Quota, User
    from client.addon_types import DeployedModel
    from client.fleet_types import AlertPage, Event, FleetSnapshot, History, NodeView
    from client.listing import Listed
    from client.router_types import Router, RouterShiftSpec
    from client.trace_types import RequestPage, RequestTrace
    from client.types import Account, Deployment, DeploymentSpec, Model
    from client.usage_tokens_types import TokenUsage
    from client.usage_types import Usage


class HistorySource(Protocol):
    """Where charts come from."""

    async def history(self, deployment: str, seconds: int) -> History:
        """The last `seconds` of the deployment of this full name, oldest first."""
        ...


class Windable(Protocol):
    """A source with a time of its own."""

    def wind(self, seconds: float) -> None:
        """Forth, or back."""
        ...

    def pause(self) -> None:
        """Stand still, or go on."""
        ...


class FleetSource(HistorySource, Protocol):
    """A fleet: watched, asked and changed. Deployments are addressed by full name."""

    context: Context

    @property
    def facts(self) -> Facts:
        """What it is, what it cannot do and why, how much it may be asked."""
        ...

    async def snapshot(self) -> FleetSnapshot: ...

    def watch(self) -> AsyncIterator[FleetSnapshot]:
        """Snapshots, about one a second, until the connection breaks: then it raises, it never just ends."""
        ...

    async def events(self, deployment: str | None = None, limit: int = 100) -> list[Event]:
        """The newest events, oldest first."""
        ...

    async def nodes(self) -> list[NodeView]:
        """The machines that replicas are placed on."""
        ...

    async def users(self) -> list[User]: ...

    async def api_keys(self) -> list[tuple[str, ApiKey]]:
        """Users' ids and their keys: everybody's for an admin, else one's own."""
        ...

    async def quotas(self) -> list[Quota]: ...

    async def account(self) -> Account:
        """The context's own: whether its requests are refused."""
        ...

    async def audit_logs(self, limit: int, *, reads: bool = True) -> Listed[AuditLogEntry]:
        """The newest records, newest first; for admins. `reads`: those of what only read, too; of reads that were
        refused always."""
        ...

    async def requests(self, limit: int) -> RequestPage:
        """The newest requests that are still known, newest first."""
        ...

    async def explain(self, request_id: str) -> RequestTrace:
        """What happened to one of them; NotFound where it is not known any more."""
        ...

    async def routers(self) -> list[Router]: ...

    async def router(self, name: str) -> Router: ...

    async def shift(self, router: str, spec: RouterShiftSpec, *, validate_only: bool = False) -> Router:
        """Begin to move its traffic to one deployment; with `validate_only` what that would make of it."""
        ...

    async def abort_shift(self, router: str) -> None:
        """Back to the weights before the shift that goes on."""
        ...

    async def usage(self, start: datetime, end: datetime, group_by: str) -> Usage:
        """The time of replicas and its price, by `deployment` or `acceleratorType`."""
        ...

    async def token_usage(self, start: datetime, end: datetime, group_by: str) -> TokenUsage:
        """The tokens of requests and their price, by `client.usage_tokens_types.DIMENSIONS`, comma-separated."""
        ...

    async def alerts(self) -> AlertPage:
        """What is wrong now, and the rules that say so."""
        ...

    async def deployed_models(self) -> list[DeployedModel]:
        """What is loaded on which deployment: base models and adapters."""
        ...

    async def load_adapter(self, model: str, deployment: str) -> DeployedModel:
        """Onto a deployment of its base; it is on its way when this returns."""
        ...

    async def unload_adapter(self, name: str) -> None:
        """The deployed model of this full name."""
        ...

    def chat(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The chunks of a streamed answer, in OpenAI's shape."""
        ...

    async def models(self) -> list[Model]:
        """Everything that can be deployed: the library's models, then the account's own."""
        ...

    async def get(self, deployment: str) -> Deployment: ...

    async def adapters(self, deployment: Deployment) -> list[str]:
        """The ids of the LoRA adapters that are on it, or about to be."""
        ...

    async def validate_create(self, spec: DeploymentSpec, deployment_id: str | None) -> Deployment:
        """What `create` would make; nothing is made."""
        ...

    async def validate_update(self, deployment: str, changes: DeploymentSpec) -> Deployment:
        """What `update` would make of it; nothing is changed."""
        ...

    async def validate_delete(self, deployment: str, *, ignore_checks: bool = False) -> bool:
        """Raises what `delete` would; nothing is deleted. False where the server cannot be asked that."""
        ...

    async def create(self, spec: DeploymentSpec, deployment_id: str | None) -> Deployment: ...

    async def update(self, deployment: str, changes: DeploymentSpec) -> Deployment: ...

    async def scale(self, deployment: str, replica_count: int) -> None: ...

    async def delete(self, deployment: str, *, ignore_checks: bool = False) -> None:
        """Refused while the deployment is in use, unless `ignore_checks`."""
        ...

    async def undelete(self, deployment: str) -> Deployment: ...

    async def close(self) -> None: ...
