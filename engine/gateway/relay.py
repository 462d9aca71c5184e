"""One request at one replica: its bytes go there, and its answer's to the client as they come.

    data   Try           who was asked, and where to tell that the answer has begun
           ReplicaLost   no whole answer: another may be tried
           Stopped       no more of the answer is wanted
    verbs  ask           the answer, whole or as a stream, is sent on; break_off: a stream that nobody can end
    near   `forward` chooses the replica and tries another, `sse` reads a stream, `engine.fleet.hop` has the connections

The client's status line waits for the first piece of an answer: until then another try costs it nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from client.errors import Internal
from engine.access.guards import Standing
from engine.asgi import Headers, Send
from engine.fleet.replica import Replica, SentRequest
from engine.fleet.reply import Broken, Garbled, Reply, Unreached
from engine.fleet.trials import Trial
from engine.gateway.exchange import TIMEOUT_HEADER, Exchange, time_left
from engine.gateway.sse import StreamReader, answer_in, usage_of
from engine.telemetry import tracing

JOURNAL_HEADER = "x-firedeck-journal"  # to the replica: write one, and its length in front of the body; back: "1"/"0"
PROVEN_GROUPS = 16  # so far beyond the point where its replica died, a stream has not ended it
_EVENTS = b"text/event-stream"
_PASSED_HEADERS = frozenset({b"content-type", b"retry-after", b"x-should-retry", b"x-firedeck-simulated"})


class ReplicaLost(Exception):
    """The replica cannot answer this to its end; `reached`: it had the request; `garbled`: it gave no answer, but
    something else."""

    def __init__(self, *, reached: bool, garbled: bool = False) -> None:
        super().__init__()
        self.reached, self.garbled = reached, garbled


class Stopped(Exception):
    """Raised by a `send` that lets no more of a stream through, by the guard that stands against it (`guard`): neither
    the replica nor the client is at fault, and nothing is tried again."""

    def __init__(self, guard: Standing) -> None:
        super().__init__()
        self.guard = guard


@dataclass(frozen=True, slots=True)
class Try:
    """One request at one replica."""

    replica: Replica
    sent: SentRequest
    trial: Trial
    acquit: Callable[[], None]  # what was held against the request was not its fault


async def ask(one: Try, exchange: Exchange, send: Send) -> None:
    """ReplicaLost when the replica gave no whole answer."""
    hop = one.replica.hop
    if hop is None:
        raise ReplicaLost(reached=False)
    headers = {"content-type": "application/json", "x-request-id": exchange.request_id, **exchange.sent_headers}
    headers |= tracing.sends()
    left = time_left(exchange)
    if left is not None:
        headers[TIMEOUT_HEADER] = f"{left:.3f}"
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
    one.sent.answered()
    exchange.status, exchange.generation = reply.status, one.replica.generation
    if reply.status == 200:
        exchange.usage = usage_of(answer)
        exchange.sent.told(reply.header)
        tracing.drafted(*exchange.sent.drafts)
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
    accepted, rejected = exchange.sent.drafts  # elsewhere
    reader, in_doubt = StreamReader(None if kept is None else exchange.journal, exchange.sent), True
    while chunk := await reply.chunk():
        if reader.done:
            break  # whatever follows the end is no part of it
        passed = reader.feed(chunk)
        del chunk  # who does not take what was passed on keeps that alone
        if not passed:
            if reader.garbled:
                break
            continue
        one.sent.answered()
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
    tracing.drafted(exchange.sent.accepted - accepted, exchange.sent.rejected - rejected)
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
