"""Typed verbs on what was used and what it cost: `Client.usage.get(...)`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from client.http import Transport
from client.usage_tokens_types import TokenUsage
from client.usage_types import DEPLOYMENT, Usage


class UsageReports:
    """Of one account (firedeck's own)."""

    def __init__(self, transport: Transport, account: str) -> None:
        self._transport = transport
        self._account = account

    async def get(
        self, *, start: datetime | None = None, end: datetime | None = None, group_by: str = DEPLOYMENT
    ) -> Usage:
        """From `start` (the month's first, UTC) until before `end` (now), by some of `deployment`, `acceleratorType`,
        and `hour` or `day`, joined by commas."""
        query = {
            "startTime": start.isoformat() if start else None,
            "endTime": end.isoformat() if end else None,
            "groupBy": group_by,
        }
        return Usage.model_validate(await self._transport.get(f"/firedeck/v1/accounts/{self._account}/usage", query))

    async def tokens(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        group_by: Sequence[str] = (DEPLOYMENT,),
        filter_text: str | None = None,
    ) -> TokenUsage:
        """What requests used in a period, by some of `client.usage_tokens_types.DIMENSIONS` and `tag:NAME`."""
        query = {
            "startTime": start.isoformat() if start else None,
            "endTime": end.isoformat() if end else None,
            "groupBy": ",".join(group_by),
            "filter": filter_text,
        }
        path = f"/firedeck/v1/accounts/{self._account}/usage:tokens"
        return TokenUsage.model_validate(await self._transport.get(path, query))
