"""firedeck's own wire types of single requests: what happened to one, as spans and in plain English.

No field holds text of a prompt or an answer.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from client.wire import Timestamp, Wire


class RequestSummary(Wire):
    """One request of the inference API. Numbers that are absent are not known, which is not 0."""

    request_id: str
    trace_id: str = Field("", description="W3C trace id, the client's own where it sent a traceparent")
    start_time: Timestamp
    route: str = Field("", description="the path without its prefix; other, for one that does not exist")
    deployment: str | None = None
    model: str | None = None
    adapter: str | None = None
    router: str | None = Field(None, description="that it was asked of, which sent it to the deployment")
    user: str | None = None
    key_id: str | None = Field(None, description="told to whose key it is, and to admins")
    stream: bool = False
    synthetic: bool = False
    status: int | None = Field(None, description="HTTP; 499: the client left; absent while it is under way")
    error: str | None = None
    duration_s: float = Field(description="until now, while it is under way")
    ttft_s: float | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    generated_tokens: int | None = None
    tries: int = Field(0, description="places on a replica that it asked for")
    replica: str | None = Field(None, description="the last that it was given to")


class SpanEvent(Wire):
    name: str
    time: Timestamp
    attributes: dict[str, Any] = {}


class TraceSpan(Wire):
    """One span, as OpenTelemetry has them."""

    name: str
    span_id: str
    parent_span_id: str = ""
    kind: str = Field(description="SERVER, CLIENT or INTERNAL")
    start_time: Timestamp
    offset_ms: float = Field(description="since the request came")
    duration_ms: float | None = Field(None, description="absent while it lasts")
    attributes: dict[str, Any] = {}
    events: list[SpanEvent] = []
    error: str | None = None


class RequestTrace(Wire):
    """One request, whole."""

    request: RequestSummary
    explanation: list[str] = Field([], description="sentences, in the order of what happened")
    spans: list[TraceSpan] = []
    simulated: bool = Field(False, description="no model answers on this engine")


class RequestPage(Wire):
    requests: list[RequestSummary] = []
    simulated: bool = Field(False, description="no model answers on this engine")
    next_page_token: str = ""
