"""Several contexts as one fleet: what is asked of a deployment goes to its own context, and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from client.config import Context
from client.errors import FiredeckError, NotFound, Unavailable
from tui.core import contexts
from tui.core.facts import Facts
from tui.core.placed import check, context_of
from tui.sources.base import FleetSource

if TYPE_CHECKING:
    from client.addon_types import DeployedModel
    from client.fleet_types import Event, FleetSnapshot
    from client.types import Deployment

INTERVAL_S = 1.0
EVENTS_WITHIN_S = 3.0  # who is slower is left out: one context that hangs must not keep back the others
_BY_NAME = frozenset(
    {
        "history", "get", "validate_update", "validate_delete", "update", "scale", "delete", "undelete", "router",
        "shift", "abort_shift", "unload_adapter",
    }
)  # fmt: skip
T = TypeVar("T")


def joined(sources: Mapping[str, FleetSource]) -> FleetSource:
    """These contexts, by their names, as one. Raises InvalidArgument where their names cannot tell them apart."""
    return cast(FleetSource, JoinedSource(sources))


class JoinedSource:
    """A `FleetSource` of `members`. What is neither of one deployment nor of all is asked of a member itself: which
    one is meant is for the caller to say."""

    def __init__(self, sources: Mapping[str, FleetSource]) -> None:
        from tui.sources.placed import PlacedSource  # with what the wire is made of: one context alone needs it later

        check(list(sources))
        self.members: dict[str, FleetSource] = {
            name: cast(FleetSource, PlacedSource(source, name)) for name, source in sources.items()
        }
        self.context = Context(base_url="", name=" + ".join(self.members))
        recordings = all(one.facts.kind == "recording" for one in self.members.values())
        self.facts = Facts("recording" if recordings else "contexts")

    def of(self, name: str) -> FleetSource:
        """The member that has what is called so."""
        found = self.members.get(context_of(name))
        if found is None:
            raise NotFound(f"{name} is of none of the contexts", hint=f"they are {', '.join(self.members)}")
        return found

    def __getattr__(self, name: str) -> Any:
        if name not in _BY_NAME:
            raise AttributeError(f"{name} is asked of a member")
        return lambda target, *args, **options: getattr(self.of(target), name)(target, *args, **options)

    async def adapters(self, deployment: Deployment) -> list[str]:
        return await self.of(deployment.name).adapters(deployment)

    async def load_adapter(self, model: str, deployment: str) -> DeployedModel:
        return await self.of(deployment).load_adapter(model, deployment)

    def chat(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        return self.of(str(body["model"]).rpartition("#")[2]).chat(body)

    # Of all.

    async def snapshot(self) -> FleetSnapshot:
        """Of those that answer. Raises Unavailable where none does."""
        found = await self._answers({name: one.snapshot() for name, one in self.members.items()})
        return contexts.merged(found, datetime.now(UTC))

    async def watch(self) -> AsyncIterator[FleetSnapshot]:
        while True:
            yield await self.snapshot()
            await asyncio.sleep(INTERVAL_S)

    async def events(self, deployment: str | None = None, limit: int = 100) -> list[Event]:
        """Of a deployment, or the newest of all contexts that answer, oldest first."""
        if deployment is not None:
            return await self.of(deployment).events(deployment, limit)
        asked = {name: _within(one.events(None, limit), EVENTS_WITHIN_S) for name, one in self.members.items()}
        found = await self._answers(asked)
        return sorted((event for events in found for event in events), key=lambda event: event.time)[-limit:]

    async def _answers(self, asked: Mapping[str, Awaitable[T]]) -> list[T]:
        found = await asyncio.gather(*asked.values(), return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException) and not isinstance(one, FiredeckError):
                raise one
        answered = [one for one in found if not isinstance(one, BaseException)]
        if not answered:
            refused = zip(asked, found, strict=True)
            raise Unavailable("; ".join(f"{name}: {getattr(error, 'text', error)}" for name, error in refused))
        return answered

    async def close(self) -> None:
        await asyncio.gather(*(one.close() for one in self.members.values()))


async def _within(asked: Awaitable[T], seconds: float) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await asked
    except TimeoutError:
        raise Unavailable(f"no answer within {seconds:.0f}s") from None
