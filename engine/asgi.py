"""The few HTTP things that the hot path needs, on bare ASGI: nothing stands between socket and socket."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from client.errors import FiredeckError, InvalidArgument, PayloadTooLarge, RequestTimeout

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

CLIENT_GONE = 499  # nginx's code for a client that left: logs, metrics and traces see it, nobody else
BODY_BYTES_MAX = 8 << 20  # as much as a replica takes
BODY_S = 30.0  # how long a body may take to come, and a second more for each BODY_BYTES_PER_S bytes of it
BODY_BYTES_PER_S = 4096
# Of one body: an interpreter that builds millions of objects stands still for everybody. Token ids are the most that
# anybody needs: as many as a replica takes, with as much around them as all other fields can hold.
STRUCTURE_MAX = 1 << 17  # objects, arrays and members of objects
ELEMENTS_MAX = (1 << 20) + STRUCTURE_MAX
LOOKED_INTO_BYTES = 1 << 18  # shorter bodies hold too few to count
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


class ClientGone(Exception):
    """The client closed its connection before it was answered."""


def headers_of(scope: Scope) -> dict[str, str]:
    return {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}


async def read_body(scope: Scope, receive: Receive, most: int = BODY_BYTES_MAX) -> bytes:
    """The whole body. PayloadTooLarge as soon as it is known to be over `most` bytes: by its declared length before a
    byte is read. RequestTimeout when it comes too slowly."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if declared.isdigit() and int(declared[:20]) > most:
        raise _too_large(most)
    began, body = asyncio.get_running_loop().time(), bytearray()
    try:
        async with asyncio.timeout(BODY_S) as patience:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                body += message.get("body", b"")
                if len(body) > most:
                    raise _too_large(most)
                if not message.get("more_body"):
                    return bytes(body)
                patience.reschedule(began + BODY_S + len(body) / BODY_BYTES_PER_S)
    except TimeoutError:
        raise RequestTimeout("the body took too long to come", hint="send the request again") from None


def _too_large(most: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body is larger than {most} bytes")


def parse_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object (RFC 8259: UTF-8, no byte order mark, no NaN), or InvalidArgument. Of a key that is
    there twice the last one counts, as everywhere in Python: so here and in a replica alike."""
    _refuse_crowded(body)
    try:
        parsed = json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the body is not JSON: {error}", hint="send a JSON object in UTF-8") from None
    if not isinstance(parsed, dict):
        raise InvalidArgument("the body must be a JSON object")
    return parsed


def _refuse_crowded(body: bytes) -> None:
    """Text may hold any number of commas and brackets, so those within it are left out where there are many."""
    if len(body) < LOOKED_INTO_BYTES or not _crowded(body):
        return
    if _crowded(_STRINGS.sub(b"", body)):
        raise InvalidArgument(
            f"the body has more than {STRUCTURE_MAX} objects, arrays and members, or {ELEMENTS_MAX} elements",
            hint="send less in one request",
        )


def _crowded(body: bytes) -> bool:
    return body.count(b"[") + body.count(b"{") + body.count(b":") > STRUCTURE_MAX or body.count(b",") > ELEMENTS_MAX


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON value")


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
    if error.status in (429, 501):
        headers.append((b"x-should-retry", b"false" if error.retry_after_s is None else b"true"))
    await send_json(send, error.status, error.inference_body(request_id), headers)


def with_header(send: Send, name: bytes, value: bytes) -> Send:
    """Every answer has this header, whoever makes it, once."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            others = [one for one in message.get("headers", ()) if one[0].lower() != name]
            message = {**message, "headers": [*others, (name, value)]}
        await send(message)

    return sending


async def disconnected(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
