"""The control plane's errors on the wire: whatever a route raises has the documented shape."""

from __future__ import annotations

import logging
import math

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from client.errors import FiredeckError, Internal, InvalidArgument, MethodNotAllowed, NotFound
from engine.access.rules import RULES
from engine.api import openapi
from engine.asgi import CLIENT_GONE, ClientGone

log = logging.getLogger(__name__)

UNIMPLEMENTED = 12  # gRPC's code for a method that a path does not have


def add_to(app: FastAPI) -> None:
    """Have them rendered here."""
    app.add_exception_handler(FiredeckError, refused)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(ClientGone, nobody)
    app.add_exception_handler(Exception, bug)


async def refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FiredeckError)
    request.state.error = error
    headers = {"x-should-retry": "false"} if error.status in (409, 429, 501) else {}  # the SDKs repeat them
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
        headers["x-should-retry"] = "true"
    return JSONResponse(error.control_plane_body(), error.status, headers)


async def validation(request: Request, error: Exception) -> JSONResponse:
    """A query parameter of the wrong type: 400 as everywhere else, not FastAPI's 422."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = str(first["loc"][-1])
    hint = "the OpenAPI document has the types of all parameters"
    return await refused(request, InvalidArgument(f"{field}: {first['msg']}", field=field, hint=hint))


async def http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == 405:
        headers["allow"] = _allowed(request, headers.get("allow", ""))
    use = headers.get("allow") or "another method"
    known = {
        404: NotFound("no such path", hint=f"{openapi.PATH} lists all paths"),
        405: MethodNotAllowed(f"{request.method} is not possible here", hint=f"use {use}"),
    }
    told = known.get(error.status_code, InvalidArgument(str(error.detail)))
    body = told.control_plane_body() | ({"code": UNIMPLEMENTED} if error.status_code == 405 else {})
    return JSONResponse(body, error.status_code, headers)


def _allowed(request: Request, told: str) -> str:
    """Every method of the path (RFC 9110, 15.5.6): the router has `told` those of one route alone."""
    path = request.scope["path"]
    found = {method for method, template in RULES if compile_path(template)[0].match(path)}
    return ", ".join(sorted(found)) or told


async def nobody(request: Request, error: Exception) -> Response:
    """Nobody is there to read it."""
    return Response(status_code=CLIENT_GONE)


async def bug(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return await refused(request, Internal("the engine failed; its log says why"))
