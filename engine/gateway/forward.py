"""One request through one replica: bytes in, bytes out, and another try elsewhere while nothing was sent.

A replica that dies before it has sent a byte costs the client nothing: the request goes to another one. After that the
client gets an error event at the end of its stream, never a silent cut.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from client.errors import Internal, ScalingUp, Unavailable
from engine.control.lifecycle import FAILED
from engine.fleet.keeper import Keeper
from engine.fleet.replica import Replica
from engine.gateway.http import Headers, Send
from engine.gateway.sse import StreamReader, usage_of
from engine.telemetry.meter import Usage

TRIES = 3  # replicas that one request may meet
SCALING_UP_RETRY_S = 5.0
SCALING_UP = "Deployment is currently scaled to zero and is scaling up. Please retry your request in a few minutes."
_PASSED_HEADERS = ("content-type", "retry-after", "x-should-retry")


class ReplicaLost(Exception):
    """The replica ended, or refused as it is about to end, and the client has been sent nothing."""


@dataclass(slots=True)
class Exchange:
    """One request on its way: what was asked, what was sent back, what came of it. Instants are monotonic seconds."""

    path: str
    body: bytes
    stream: bool
    request_id: str
    began_at: float
    now: Callable[[], float]
    answering: bool = False  # the status line has been sent
    ttft_s: float | None = None
    status: int = 500
    usage: Usage = field(default_factory=Usage)

    def token_seen(self) -> None:
        if self.ttft_s is None:
            self.ttft_s = self.now() - self.began_at


async def forward(keeper: Keeper, exchange: Exchange, send: Send) -> None:
    """Answer the client. Raises a FiredeckError only while nothing has been sent."""
    refuse_cold(keeper)
    options = keeper.deployment.firedeck
    hold_s = options.hold_timeout.total_seconds() if options and options.hold_timeout else 0.0
    failed: frozenset[str] = frozenset()
    for _ in range(TRIES):
        async with keeper.lobby.place(hold_s, failed) as replica:
            try:
                await _once(replica, exchange, send)
                return
            except ReplicaLost:
                failed |= {replica.id}
                keeper.lost(replica)
    raise Unavailable("the replicas that were given this request ended before they answered", hint="try again")


def refuse_cold(keeper: Keeper) -> None:
    """Raises when nobody serves and waiting is not offered, or would be in vain."""
    if keeper.ready():
        return
    deployment = keeper.deployment
    if deployment.max_replica_count == 0:
        raise Unavailable("the deployment is switched off: its maxReplicaCount is 0", hint="raise it")
    if deployment.state == FAILED:
        why = deployment.status.message if deployment.status else ""
        keeper.rouse()  # it may have been mended meanwhile
        raise Unavailable(f"the deployment has failed: {why}", retry_after_s=SCALING_UP_RETRY_S)
    if deployment.firedeck and deployment.firedeck.cold_policy == "reject":
        keeper.rouse()
        raise ScalingUp(SCALING_UP, retry_after_s=SCALING_UP_RETRY_S)


async def _once(replica: Replica, exchange: Exchange, send: Send) -> None:
    """One try. ReplicaLost when it may be tried elsewhere."""
    if replica.http is None:
        raise ReplicaLost
    headers = {"content-type": "application/json", "x-request-id": exchange.request_id}
    try:
        async with replica.http.stream("POST", exchange.path, content=exchange.body, headers=headers) as response:
            if response.status_code == 503:
                raise ReplicaLost
            if exchange.stream and response.status_code == 200:
                await _pass_stream(response, exchange, send)
            else:
                await _pass_whole(response, exchange, send)
    except httpx.HTTPError as error:
        if not exchange.answering:
            raise ReplicaLost from error
        await _break_off(exchange, send)


async def _pass_whole(response: httpx.Response, exchange: Exchange, send: Send) -> None:
    content = await response.aread()
    exchange.status = response.status_code
    if response.status_code == 200:
        exchange.usage = usage_of(json.loads(content))
        exchange.ttft_s = _whole_ttft(response, exchange)
    exchange.answering = True
    headers = [*_headers(response, exchange), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _pass_stream(response: httpx.Response, exchange: Exchange, send: Send) -> None:
    """Chunk by chunk, as they come. The status line waits for the first chunk: until then another try is free."""
    reader = StreamReader()
    async for chunk in response.aiter_raw():
        if not exchange.answering:
            headers = [*_headers(response, exchange), (b"cache-control", b"no-cache")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            exchange.answering, exchange.status = True, 200
        reader.feed(chunk)
        if reader.started:
            exchange.token_seen()
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    if not exchange.answering:
        raise ReplicaLost
    exchange.usage = reader.usage or exchange.usage
    if not reader.done:
        await _break_off(exchange, send)
        return
    await send({"type": "http.response.body", "body": b""})


async def _break_off(exchange: Exchange, send: Send) -> None:
    """The replica died while it was answering: say so, then end."""
    exchange.status = 502
    error = Internal("the replica ended while it was answering", hint="send the request again")
    event = f"data: {json.dumps(error.inference_body(exchange.request_id))}\n\n".encode()
    await send({"type": "http.response.body", "body": event if exchange.stream else b""})


def _headers(response: httpx.Response, exchange: Exchange) -> Headers:
    passed = [
        (name.encode(), value.encode())
        for name, value in response.headers.items()
        if name in _PASSED_HEADERS or name.startswith("fireworks-")
    ]
    return [*passed, (b"x-request-id", exchange.request_id.encode())]


def _whole_ttft(response: httpx.Response, exchange: Exchange) -> float:
    """What the first token would have taken on a stream: waiting here, plus what the replica measured."""
    elapsed = exchange.now() - exchange.began_at
    try:
        generating = float(response.headers["fireworks-server-processing-time"])
        first = float(response.headers["fireworks-server-time-to-first-token"])
    except (KeyError, ValueError):
        return elapsed
    return max(0.0, elapsed - generating) + first
