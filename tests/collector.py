"""A little OpenTelemetry collector on loopback: takes OTLP/HTTP in JSON, decodes it by the protocol's own types."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from engine.serve import base_url, bind


@dataclass
class Collector:
    """`status` is what it answers, `after` its Retry-After; `bodies` are those it took, `asked` counts all."""

    url: str = ""
    status: int = 200
    after: str = ""
    answer: bytes = b"{}"
    asked: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.asked += 1
        self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        status = self.status if scope["path"] == "/v1/traces" else 404
        if status == 200:
            self.bodies.append(body)
        headers = [
            (b"content-type", b"application/json"),
            *([(b"retry-after", self.after.encode())] if self.after else []),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": self.answer})
        self.came.set()

    def spans(self) -> list[Any]:
        """All that came, as the protocol's own messages."""
        return [
            span
            for body in self.bodies
            for whole in decoded(body)
            for scope in whole.scope_spans
            for span in scope.spans
        ]


def decoded(body: bytes) -> list[Any]:
    """The resource spans of a request. OTLP's JSON differs from protojson in one thing: ids are hexadecimal."""
    service = pytest.importorskip(
        "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="pip install -e '.[dev]' -c constraints.txt"
    )
    from google.protobuf import json_format

    told = copy.deepcopy(json.loads(body))
    for whole in told["resourceSpans"]:
        for scope in whole["scopeSpans"]:
            for span in scope["spans"]:
                for name in {"traceId", "spanId", "parentSpanId"} & span.keys():
                    span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    message = json_format.ParseDict(told, service.ExportTraceServiceRequest())  # unknown fields are errors
    return list(message.resource_spans)


def values(attributes: Any) -> dict[str, Any]:
    """Attributes of a message as a dict."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    listener = bind("127.0.0.1", 0)
    collector = Collector(base_url(*listener.getsockname()[:2]))
    server = uvicorn.Server(uvicorn.Config(collector, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        yield collector
    finally:
        server.should_exit = True
        await serving
