"""firedeck's own wire types of what requests used: tokens, by whom and for what."""

from __future__ import annotations

from pydantic import Field

from client.types import Timestamp, Wire

DIMENSIONS = ("user", "key", "deployment", "model", "adapter", "guard", "tags")  # and `tag:NAME`
TAG = "tag:"


class TokenSums(Wire):
    """Sums over requests that reached a deployment, those of guards to their models too. Who left a stream is counted
    with the tokens it was sent."""

    requests: int = 0
    failed_requests: int = Field(0, description="refused by their deployment or replica, or ended by an error")
    prompt_tokens: int = 0
    cached_prompt_tokens: int = Field(0, description="those of promptTokens that came from a cache")
    generated_tokens: int = 0
    accepted_draft_tokens: int = Field(0, description="drafted and accepted, by any way of speculation")
    rejected_draft_tokens: int = 0
    cost_usd: float | None = Field(None, description="of tokens; absent where none of the requests has a price")
    unpriced_requests: int = Field(0, description="those that costUsd says nothing of")


class TokenRow(TokenSums):
    """One group; what it was not grouped by is absent, and so is what its requests have none of."""

    time: Timestamp | None = Field(None, description="of groups by hour or day: its beginning, in UTC")
    user: str | None = None
    key: str | None = Field(None, description="the id of an API key; others' are shown to admins alone")
    deployment: str | None = None
    model: str | None = None
    adapter: str | None = None
    guard: str | None = Field(
        None, description="whose model was asked about somebody's request; absent for what clients asked themselves"
    )
    tags: dict[str, str] | None = Field(None, description="of the requests' `metadata`")
    simulated: bool | None = None


class TokenUsage(Wire):
    """From `startTime` until before `endTime`, as they are counted: in whole minutes, more than two days ago in whole
    hours, so that either may be later than what was asked for."""

    start_time: Timestamp
    end_time: Timestamp
    group_by: list[str] = []
    rows: list[TokenRow] = []
    total: TokenSums = TokenSums()
