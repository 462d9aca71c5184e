"""The few HTTP things that the hot path needs, on bare ASGI: nothing stands between socket and socket."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from client.errors import FiredeckError, InvalidArgument, PayloadTooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

BODY_BYTES_MAX = 8 << 20  # as much as a replica takes


class ClientGone(Exception):
    """The client closed its connection before it was answered."""


def headers_of(scope: Scope) -> dict[str, str]:
    return {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}


async def read_body(receive: Receive) -> bytes:
    """The whole body, refused as soon as it grows too large."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > BODY_BYTES_MAX:
            raise PayloadTooLarge(f"the body is larger than {BODY_BYTES_MAX} bytes")
        if not message.get("more_body"):
            return bytes(body)


def parse_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object, or InvalidArgument."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the body is not JSON: {error}", hint="send a JSON object") from None
    if not isinstance(parsed, dict):
        raise InvalidArgument("the body must be a JSON object")
    return parsed


async def send_json(send: Send, status: int, body: Any, headers: Headers | None = None) -> None:
    content = json.dumps(body).encode()
    start: Headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": start + (headers or [])})
    await send({"type": "http.response.body", "body": content})


async def send_error(send: Send, error: FiredeckError, request_id: str) -> None:
    """An error in the inference API's envelope. Clients are told when to try again: in whole seconds (RFC 9110) and in
    the milliseconds that the SDKs prefer; and not to, where waiting does not help."""
    headers: Headers = [(b"x-request-id", request_id.encode())]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(error.retry_after_s))).encode()))
        headers.append((b"retry-after-ms", str(max(1, math.ceil(error.retry_after_s * 1000))).encode()))
    if error.status == 429:
        headers.append((b"x-should-retry", b"false" if error.retry_after_s is None else b"true"))
    await send_json(send, error.status, error.inference_body(request_id), headers)


async def disconnected(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
