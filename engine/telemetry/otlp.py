"""OTLP/HTTP in its JSON encoding: where spans go, by the option or OpenTelemetry's own variables, and how they look.

https://opentelemetry.io/docs/specs/otlp/ and https://opentelemetry.io/docs/specs/otel/protocol/exporter/. Written here
and not taken from `opentelemetry-exporter-otlp-proto-http`: that brings nine more packages, three of them in beta,
makes its own span objects on the request's way, and sends from a thread of its own with another HTTP library than ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from client.errors import InvalidArgument
from engine.telemetry.spans import Event, Span, Value, spans_of
from engine.telemetry.trace import Trace
from engine.version import VERSION

PATH = "/v1/traces"  # below a collector's address
_SAMPLED, _LOCAL_PARENT, _REMOTE_PARENT = 0x01, 0x100, 0x300  # of a span's flags
_ERROR = 2
_PREFIX = "OTEL_EXPORTER_OTLP_"
_HINT = "give a collector's HTTP address, as http://127.0.0.1:4318"


@dataclass(frozen=True, slots=True)
class Target:
    """Where spans are sent: the whole URL and headers, which may hold a password."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    service: str = "firedeck"

    @property
    def shown(self) -> str:
        """Its address, as logs may have it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def target_of(endpoint: str | None, environment: Mapping[str, str]) -> Target | None:
    """`endpoint`, else that of the environment; None where there is none, or where tracing is switched off there.

    Raises InvalidArgument for what is no HTTP address, and where another protocol is demanded.
    """
    given = {name: value for name, value in environment.items() if value}
    named = {name.removeprefix(_PREFIX): value for name, value in given.items() if name.startswith(_PREFIX)}
    switched_off = given.get("OTEL_SDK_DISABLED", "").lower() == "true" or given.get("OTEL_TRACES_EXPORTER") == "none"
    url = _below(endpoint) if endpoint else named.get("TRACES_ENDPOINT") or _below(named.get("ENDPOINT", ""))
    if not url or (switched_off and not endpoint):
        return None
    _check(url)
    if (named.get("TRACES_PROTOCOL") or named.get("PROTOCOL")) == "grpc":
        raise InvalidArgument("OTLP goes out over HTTP here, not over gRPC", hint=f"unset {_PREFIX}PROTOCOL; {_HINT}")
    headers = _headers(named.get("TRACES_HEADERS") or named.get("HEADERS", ""))
    return Target(url, headers, given.get("OTEL_SERVICE_NAME", "firedeck"))


def _below(address: str) -> str:
    return address.rstrip("/") + PATH if address else ""


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise InvalidArgument("the OTLP endpoint is no HTTP address", hint=_HINT)


def _headers(text: str) -> dict[str, str]:
    """`name=value,name=value`, percent-encoded, as W3C baggage has it."""
    pairs = [part.partition("=") for part in text.split(",") if "=" in part]
    found = {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs}
    if not all(name.isascii() and value.isascii() and value.isprintable() for name, value in found.items()):
        raise InvalidArgument(
            f"{_PREFIX}HEADERS holds what no HTTP header can", hint="write it as name=value,name=value"
        )
    return found


def body_of(traces: Sequence[Trace], resource: Mapping[str, Value]) -> tuple[bytes, int]:
    """An ExportTraceServiceRequest as JSON, and how many spans are in it."""
    spans = [_span(trace, span) for trace in traces for span in spans_of(trace)]
    scope = {"name": "firedeck.gateway", "version": VERSION}
    whole = {"resource": {"attributes": _attributes(resource)}, "scopeSpans": [{"scope": scope, "spans": spans}]}
    return json.dumps({"resourceSpans": [whole]}, separators=(",", ":")).encode(), len(spans)


def rejected_of(answer: bytes) -> int:
    """How many spans a collector that answered 200 did not take."""
    try:
        return int(json.loads(answer)["partialSuccess"]["rejectedSpans"])
    except (ValueError, KeyError, TypeError):
        return 0


def _span(trace: Trace, span: Span) -> dict[str, Any]:
    whole = span.span_id == trace.span_id
    told: dict[str, Any] = {
        "traceId": trace.trace_id,
        "spanId": span.span_id,
        "flags": _SAMPLED | (_REMOTE_PARENT if whole and trace.parent_id else _LOCAL_PARENT),
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": _nanos(span.start),
        "endTimeUnixNano": _nanos(max(span.start, span.start if span.end is None else span.end)),
        "attributes": _attributes(span.attributes),
    }
    if span.parent_id:
        told["parentSpanId"] = span.parent_id
    if span.events:
        told["events"] = [_event(event) for event in span.events]
    if span.error:
        told["status"] = {"code": _ERROR, "message": span.error}
    return told


def _event(event: Event) -> dict[str, Any]:
    return {"timeUnixNano": _nanos(event.at), "name": event.name, "attributes": _attributes(event.attributes)}


def _attributes(attributes: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Value) -> dict[str, Any]:
    """64-bit numbers are texts, as in all protojson."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}


def _nanos(at_s: float) -> str:
    return str(round(at_s * 1_000_000) * 1000)
