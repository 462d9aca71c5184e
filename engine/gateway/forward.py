"""One request through one replica: bytes in, bytes out, and another try elsewhere when the replica is lost.

A replica that dies before it has sent a byte costs the client nothing: the request goes to another one. A stream that
had begun goes on there from the tokens that the client has, by the journal that its replicas write (`sse.Journal`): the
next one gets it in front of the body, and the client sees one stream. Where that cannot be (no journal, other settings,
too many tries, a request that ends replicas) an error event ends the stream, never a silent cut. Which requests were
with a replica when it died is told to `engine.fleet.suspects`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from client.errors import BadGateway, FiredeckError, Internal, InvalidArgument, ScalingUp, Unavailable
from engine.asgi import Headers, Send
from engine.control.quarantine import digest_of
from engine.control.route import Prompt
from engine.fleet.hop import Broken, Garbled, Reply, Unreached
from engine.fleet.keeper import Keeper
from engine.fleet.replica import Asked, Replica
from engine.fleet.trials import Trial
from engine.gateway import verdict
from engine.gateway.sse import Journal, Sent, StreamReader, answer_in, usage_of
from engine.keys import Principal
from engine.telemetry import metrics, tracing
from engine.telemetry.meter import Usage

TRIES = 4  # replicas that one request may meet: some may be about to end
SCALING_UP_RETRY_S = 5.0
TIME_LEFT_MIN_S = 0.001  # the least that a replica takes as a timeout
REPLICA_ENDED = "the replica ended while it was answering"
PROVEN_GROUPS = 16  # so far beyond the point where its replica died, a stream has not ended it
SCALING_UP = "Deployment is currently scaled to zero and is scaling up. Please retry your request in a few minutes."
_EVENTS = b"text/event-stream"
_TENANT_HEADER = "x-firedeck-tenant"  # to the replica: whose fair share a request counts against
ADDON_HEADER = "x-firedeck-addon"  # to the replica: the adapter that the request's model string stands for
JOURNAL_HEADER = "x-firedeck-journal"  # to the replica: write one, and its length in front of the body; back: "1"/"0"
_TIMEOUT_HEADER = "x-request-timeout"  # how many seconds the client gives its request
_SENT_HEADERS = ("x-prompt-cache-isolation-key", _TIMEOUT_HEADER)  # of the client's, to the replica
_PASSED_HEADERS = frozenset({b"content-type", b"retry-after", b"x-should-retry", b"x-firedeck-simulated"})


class ReplicaLost(Exception):
    """The replica cannot answer this to its end; `reached`: it had the request; `garbled`: it gave no answer, but
    something else."""

    def __init__(self, *, reached: bool, garbled: bool = False) -> None:
        super().__init__()
        self.reached, self.garbled = reached, garbled


@dataclass(slots=True)
class Exchange:
    """One request on its way: what was asked, what was sent back, what came of it. Instants are monotonic seconds."""

    path: str
    body: bytes
    stream: bool
    request_id: str
    began_at: float
    now: Callable[[], float]
    sent_headers: dict[str, str]
    answering: bool = False  # the status line has been sent
    ttft_s: float | None = None
    status: int = 500
    usage: Usage = field(default_factory=Usage)  # as the replica told it, at the end
    sent: Sent = field(default_factory=Sent)
    journal: Journal = field(default_factory=Journal)
    generation: str = ""  # of the replicas that can go on with what was sent
    lost: bool = False  # a replica died under it, or seemed to
    prompt: Prompt = field(default_factory=Prompt)  # what routing may know of it
    held: bool = False  # what replicas answered waits for a guard, and the client has seen nothing of it
    cached: bool = False  # it was answered without a replica
    garbled: bool = False  # the last one gave something that is no answer
    whole: bool = False  # its last token and its usage are here, and about to be sent
    broken: bool = False  # it was ended by an error event: that the client is gone then is no news

    @property
    def over(self) -> bool:
        """Something was sent, and nobody could go on after it."""
        return self.answering and not self.journal.usable

    @property
    def used(self) -> Usage:
        """What it is charged: what the replica says at its end, else what the client was sent."""
        return self.sent.used(self.usage)

    @property
    def charged(self) -> Usage:
        """What of it is billed: what a cache answered, or a guard holds back, nobody was sent."""
        return Usage() if self.cached or self.held else self.used

    def token_seen(self) -> None:
        if self.ttft_s is None:
            self.ttft_s = self.now() - self.began_at


@dataclass(frozen=True, slots=True)
class Try:
    """One request at one replica."""

    replica: Replica
    asked: Asked
    trial: Trial
    acquit: Callable[[], None]  # what was held against the request was not its fault


def sent_headers(headers: dict[str, str], caller: Principal) -> dict[str, str]:
    """Those of the client's headers that a replica must see, and whose request it is: the key says that, never the
    client. InvalidArgument for what HTTP cannot carry on."""
    sent = {name: headers[name] for name in _SENT_HEADERS if name in headers}
    for name, value in sent.items():
        if not value.isascii():
            raise InvalidArgument(f"the header {name} must be ASCII", field=name)
    return sent | {_TENANT_HEADER: f"{caller.account}/{caller.key_id}"}


def time_left(exchange: Exchange) -> float | None:
    """Seconds that are left of what the client gives its request; None when it gives no number above 0.

    A value that is no such number goes on as it is: the replica says what is wrong with it.
    """
    try:
        seconds = float(exchange.sent_headers.get(_TIMEOUT_HEADER, ""))
    except ValueError:
        return None
    return max(TIME_LEFT_MIN_S, seconds - (exchange.now() - exchange.began_at)) if seconds > 0 else None


async def forward(keeper: Keeper, exchange: Exchange, send: Send) -> None:
    """Answer the client. Raises a FiredeckError only while nothing has been sent."""
    try:
        await _tries(keeper, exchange, send)
    except FiredeckError as error:
        if not exchange.answering and exchange.garbled and isinstance(error, Unavailable):
            raise BadGateway("what the replica sent for this request is no answer", hint="try again") from error
        if not exchange.answering:
            raise
        await break_off(exchange, send, REPLICA_ENDED)


async def _tries(keeper: Keeper, exchange: Exchange, send: Send) -> None:
    """Until it is answered, or nobody can go on with what was sent. Raises a FiredeckError when no try is left."""
    until = _held_until(keeper, exchange)
    failed: frozenset[str] = frozenset()
    digest = digest_of(exchange.body)
    keeper.router.asked()
    for number in range(TRIES):
        keeper.suspects.refuse_quarantined(digest)
        if number and not exchange.answering:
            verdict.refuse_retry(keeper)
        refuse_cold(keeper)
        with keeper.suspects.trial(digest) as trial:
            avoid = failed | _unlike(keeper, exchange)
            left_s = max(0.0, until - exchange.now())
            async with keeper.lobby.place(left_s, avoid, trial, exchange.prompt) as replica:
                keeper.suspects.refuse_quarantined(digest)  # found out while it waited
                lost = await _once(keeper, replica, exchange, send, trial, digest)
                if lost is not None and exchange.over:
                    await break_off(exchange, send, REPLICA_ENDED)
            if lost is None:
                keeper.suspects.answered(digest)
                return
            if lost.reached and not lost.garbled:
                await keeper.suspects.autopsy(replica, digest)
            await verdict.lost(keeper, replica)
        if exchange.over:
            return
        until = _held_until(keeper, exchange) if exchange.answering else until  # anew: it has waited for nothing yet
        failed |= {replica.id}
    keeper.suspects.refuse_quarantined(digest)
    raise Unavailable("the replicas that were given this request ended before they answered", hint="try again")


def _held_until(keeper: Keeper, exchange: Exchange) -> float:
    """How long from now the request may wait for a place: as long as is held for, and no longer than its client."""
    options = keeper.deployment.firedeck
    until = exchange.now() + (options.hold_timeout.total_seconds() if options and options.hold_timeout else 0.0)
    left = time_left(exchange)
    return until if left is None else min(until, exchange.now() + left)


def _unlike(keeper: Keeper, exchange: Exchange) -> frozenset[str]:
    """Replicas whose settings or model differ from those that a stream began with."""
    if not exchange.answering:
        return frozenset()
    return frozenset(replica.id for replica in keeper.ready() if replica.generation != exchange.generation)


async def _once(
    keeper: Keeper, replica: Replica, exchange: Exchange, send: Send, trial: Trial, digest: str
) -> ReplicaLost | None:
    """One try; None when it was answered, else how the replica was lost."""
    if exchange.answering:
        if replica.generation != exchange.generation:
            raise Unavailable("no replica is left of those that this stream began with")
        metrics.RESUMED.labels(keeper.name).inc()
    taken, resumed = exchange.prompt.taken, exchange.answering
    with replica.asked(taken.unread if taken else 0) as asked:
        try:
            await _ask(Try(replica, asked, trial, partial(keeper.suspects.answered, digest)), exchange, send)
        except asyncio.CancelledError:
            keeper.suspects.left(replica, digest, trial)
            raise
        except ReplicaLost as loss:
            keeper.lost(replica)
            exchange.lost, exchange.garbled = True, loss.garbled
            tracing.lost(reached=loss.reached)
            return loss
    began_after_s = asked.took_s if exchange.stream and not resumed else None
    await verdict.answered(keeper, replica, exchange.status, exchange.prompt, began_after_s)
    return None


def refuse_cold(keeper: Keeper) -> None:
    """Raises when nobody serves, and waiting is not offered or would be in vain."""
    if keeper.serves():
        return
    reason = keeper.hopeless()
    if reason is not None:
        keeper.wake()  # it may have been mended meanwhile
        raise reason
    options = keeper.deployment.firedeck
    if options and options.cold_policy == "reject":
        keeper.wake()
        raise ScalingUp(SCALING_UP, retry_after_s=SCALING_UP_RETRY_S)


async def _ask(one: Try, exchange: Exchange, send: Send) -> None:
    """ReplicaLost when the replica gave no whole answer."""
    hop = one.replica.hop
    if hop is None:
        raise ReplicaLost(reached=False)
    headers = {"content-type": "application/json", "x-request-id": exchange.request_id, **exchange.sent_headers}
    headers |= tracing.sends()
    left = time_left(exchange)
    if left is not None:
        headers[_TIMEOUT_HEADER] = f"{left:.3f}"
    body = exchange.body
    if exchange.stream:
        headers[JOURNAL_HEADER] = str(len(exchange.journal.text))
        body = bytes(exchange.journal.text) + body if exchange.journal.text else body
    try:
        reply = await hop.post(exchange.path, headers, body)
        try:
            await _pass(reply, one, exchange, send)
        finally:
            reply.close()
    except (Unreached, Broken) as error:
        raise ReplicaLost(reached=isinstance(error, Broken), garbled=isinstance(error, Garbled)) from error


async def _pass(reply: Reply, one: Try, exchange: Exchange, send: Send) -> None:
    tracing.reported(reply.status, reply.headers)
    if reply.status == 503:
        await one.replica.look()  # is it leaving, or did its engine break?
        raise ReplicaLost(reached=one.replica.broken)
    if exchange.stream and reply.status == 200:
        await _pass_stream(reply, one, exchange, send)
    elif exchange.answering:
        raise Internal(f"a replica would not go on with the stream ({reply.status})")
    else:
        await _pass_whole(reply, one, exchange, send)


async def _pass_whole(reply: Reply, one: Try, exchange: Exchange, send: Send) -> None:
    content = await reply.whole()
    answer = answer_in(reply.status, content)
    if answer is None:
        raise ReplicaLost(reached=True, garbled=True)
    one.asked.answered()
    exchange.status, exchange.generation = reply.status, one.replica.generation
    if reply.status == 200:
        exchange.usage = usage_of(answer)
        exchange.sent.told(reply.header)
        exchange.whole = True
        if exchange.usage.generated:  # embeddings have no first token
            exchange.ttft_s = _whole_ttft(reply, exchange)
    exchange.answering = True
    headers = [*_headers(reply, exchange), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _pass_stream(reply: Reply, one: Try, exchange: Exchange, send: Send) -> None:
    """Chunk by chunk, as they come. The status line waits for the first chunk: until then another try is free."""
    if not (reply.header(b"content-type") or b"").startswith(_EVENTS):
        raise ReplicaLost(reached=True, garbled=True)
    resumed, kept = exchange.answering, reply.header(JOURNAL_HEADER.encode())
    exchange.journal.usable = kept == b"1" and (exchange.journal.usable or not resumed)
    exchange.sent.told(reply.header)
    exchange.generation = one.replica.generation
    reader, in_doubt = StreamReader(None if kept is None else exchange.journal, exchange.sent), True
    while chunk := await reply.chunk():
        if reader.done:
            break  # whatever follows the end is no part of it
        passed = reader.feed(chunk)
        if not passed:
            if reader.garbled:
                break
            continue
        one.asked.answered()
        if not exchange.answering:
            headers = [*_headers(reply, exchange), (b"cache-control", b"no-cache")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            exchange.answering, exchange.status = True, 200
        exchange.usage = reader.usage or exchange.usage
        exchange.whole = reader.done
        if reader.started:
            exchange.token_seen()
        if in_doubt and (not resumed or reader.groups >= PROVEN_GROUPS):  # past where its replica died
            in_doubt = False
            one.trial.over()
            if exchange.lost:
                one.acquit()
        await send({"type": "http.response.body", "body": passed, "more_body": True})
        if reader.garbled:
            break
    tracing.measured(reader.perf)
    if reader.error:
        exchange.status = Internal.status  # the replica has told the client itself, and lives
    elif not reader.done:
        raise ReplicaLost(reached=True, garbled=reader.garbled)
    await send({"type": "http.response.body", "body": b""})


async def break_off(exchange: Exchange, send: Send, why: str) -> None:
    """End an answer that cannot be finished: a stream says so in an error event, never a silent cut."""
    exchange.status, exchange.broken = 502, True
    body = Internal(why, hint="send the request again").inference_body(exchange.request_id)
    await send({"type": "http.response.body", "body": f"data: {json.dumps(body)}\n\n".encode()})


def _headers(reply: Reply, exchange: Exchange) -> Headers:
    passed = [one for one in reply.headers if one[0] in _PASSED_HEADERS or one[0].startswith(b"fireworks-")]
    return [*passed, (b"x-request-id", exchange.request_id.encode())]


def _whole_ttft(reply: Reply, exchange: Exchange) -> float:
    """What the first token would have taken on a stream: waiting here, plus what the replica measured."""
    elapsed = exchange.now() - exchange.began_at
    try:
        generating = float(reply.header(b"fireworks-server-processing-time") or "")
        first = float(reply.header(b"fireworks-server-time-to-first-token") or "")
    except ValueError:
        return elapsed
    return max(0.0, elapsed - generating) + first
