"""TLS that is set up when it is needed first.

To read the authorities that this machine trusts takes as long as a tenth of a command. An engine on this machine is
asked without TLS; its signed URLs may still lead elsewhere, and are verified there as everywhere.
"""

from __future__ import annotations

from functools import cached_property

import httpx


class Later(httpx.AsyncBaseTransport):
    """httpx's own transport, made for the first request."""

    @cached_property
    def _verified(self) -> httpx.AsyncHTTPTransport:
        return httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._verified.handle_async_request(request)

    async def aclose(self) -> None:
        if "_verified" in self.__dict__:
            await self._verified.aclose()
