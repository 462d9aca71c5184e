"""Begins and ends the trace of one request of the inference API: what is in between notes itself (`telemetry.tracing`).

Every request is traced, refused ones too. Only an answered GET leaves nothing: it asks for no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engine.asgi import Scope
from engine.telemetry import tracing
from engine.telemetry.spans import OPERATIONS
from engine.telemetry.traces import Traces

OTHER_PATH = "other"  # what the client wrote there may be anything
_PREFIX = "/inference"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_MODELS = "/v1/models"
_PARENT_CHARS = 200


@contextmanager
def traced(traces: Traces, scope: Scope) -> Iterator[None]:
    """For the time of one request. Nothing of it is the client's text: not its path, its method or its headers."""
    method = scope["method"] if scope["method"] in _METHODS else OTHER_PATH
    trace = tracing.begin(traces.clock, method, _route(scope["path"]), _traceparent(scope))
    traces.begin(trace)
    token = tracing.carry(trace)
    try:
        yield
    finally:
        tracing.stop_carrying(token)
        if method == "GET" and not trace.status:
            traces.forget(trace)
        else:
            traces.end(trace)


def _route(path: str) -> str:
    inner = path.removeprefix(_PREFIX)
    if inner in OPERATIONS or inner == _MODELS:
        return inner
    return f"{_MODELS}/{{model}}" if inner.startswith(f"{_MODELS}/") else OTHER_PATH


def _traceparent(scope: Scope) -> str:
    """The one that was sent; "" for none, and for several, which cannot all be right."""
    given = [value for name, value in scope["headers"] if name == b"traceparent"]
    return given[0].decode("latin-1") if len(given) == 1 and len(given[0]) <= _PARENT_CHARS else ""
