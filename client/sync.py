"""The client for code that has no event loop: `with SyncClient(Context.resolve()) as fleet: fleet.deployments.list()`.

Its verbs are those of `client.resources.Client`, one by one: `client.sync_resources` is generated from them.
"""

from __future__ import annotations

from types import TracebackType

from client.config import Context
from client.http import Transport
from client.portal import Portal
from client.resources import Client
from client.sync_resources import SyncResources


class SyncClient(SyncResources):
    """An engine, seen with one key. Many threads may use one."""

    def __init__(self, context: Context | None = None, transport: Transport | None = None) -> None:
        """`context`: the local engine, or what the environment says, unless given."""
        self.asynchronous = Client(context or Context.resolve(), transport)
        self.context = self.asynchronous.context
        self.portal = Portal("firedeck-client")
        super().__init__(self.asynchronous, self.portal)

    def __enter__(self) -> SyncClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Once is enough; a program that ends without it just drops its connections."""
        if not self.portal.closed:
            self.portal.run(self.asynchronous.transport.close())
            self.portal.close()
