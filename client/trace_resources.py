"""Typed verbs on single requests: `Client.requests.list(...)` and `Client.requests.get(...)`."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

from client import durations
from client.http import Transport
from client.names import Name
from client.trace_types import RequestPage, RequestTrace

PAGE_MAX = 200


class Requests:
    """Of one account (firedeck's own): those that the engine still has in memory."""

    def __init__(self, transport: Transport, account: str) -> None:
        self._transport = transport
        self._account = account

    async def list(
        self,
        *,
        deployment: str | None = None,
        status: str | None = None,
        slower_than: timedelta | None = None,
        filter_text: str | None = None,
        limit: int = 50,
        page_size: int | None = None,
        page_token: str | None = None,
    ) -> RequestPage:
        """The newest `limit`; with `page_size` or `page_token` one page of all. `status` is 200, 4xx, 5xx, failed
        (400 and up) or open (under way); `filter_text` is AIP-160's, of the fields of a RequestSummary."""
        name = str(Name.of(deployment, "deployments", self._account, "deployment")) if deployment else None
        slower = None if slower_than is None else durations.to_proto(slower_than)
        found, token = RequestPage(), page_token or ""
        one_page = bool(page_size or page_token)
        limit = page_size or PAGE_MAX if one_page else limit
        while len(found.requests) < limit:
            query = {
                "deployment": name, "status": status, "slowerThan": slower, "filter": filter_text,
                "pageSize": min(PAGE_MAX, limit - len(found.requests)),
                "pageToken": token or None,
            }  # fmt: skip
            page = RequestPage.model_validate(await self._transport.get(self._path(), query))
            found.requests += page.requests
            found.simulated, token = page.simulated, page.next_page_token
            found.next_page_token = token if one_page else ""
            if not token or one_page:
                break
        return found

    async def get(self, request_id: str) -> RequestTrace:
        """NotFound where the engine has it no more."""
        return RequestTrace.model_validate(await self._transport.get(f"{self._path()}/{quote(request_id, safe='')}"))

    def _path(self) -> str:
        return f"/firedeck/v1/accounts/{self._account}/requests"
