"""Which replica answers a request, and another try elsewhere when that one is lost.

A replica that dies before it has sent a byte costs the client nothing: the request goes to another one. A stream that
had begun goes on there from the tokens that the client has, by the journal that its replicas write (`sse.Journal`): the
next one gets it in front of the body, and the client sees one stream. Where that cannot be (no journal, other settings,
too many tries, a request that ends replicas) an error event ends the stream, never a silent cut. Which requests were
with a replica when it died is told to `engine.fleet.suspects`.

Neighbours: `engine.gateway.relay` is one try, `engine.gateway.verdict` hears what came of each, `engine.fleet.lobby`
gives the places.
"""

from __future__ import annotations

import asyncio
from functools import partial

from client.errors import BadGateway, FiredeckError, ScalingUp, Unavailable
from engine.asgi import Send
from engine.control.quarantine import digest_of
from engine.fleet.keeper import Keeper
from engine.fleet.replica import Replica
from engine.fleet.trials import Trial
from engine.gateway import verdict
from engine.gateway.exchange import Exchange, time_left
from engine.gateway.relay import ReplicaLost, Stopped, Try, ask, break_off
from engine.telemetry import metrics, tracing

TRIES = 4  # replicas that one request may meet: some may be about to end
SCALING_UP_RETRY_S = 5.0
REPLICA_ENDED = "the replica ended while it was answering"
SCALING_UP = "Deployment is currently scaled to zero and is scaling up. Please retry your request in a few minutes."


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
    keeper.balancer.asked()
    for number in range(TRIES):
        keeper.suspects.refuse_quarantined(digest)
        if number and not exchange.answering:
            verdict.refuse_retry(keeper)
        _refuse_cold(keeper)
        with keeper.suspects.trial(digest) as trial:
            avoid = failed | _unlike(keeper, exchange)
            left_s, answered_in_s = max(0.0, until - exchange.now()), time_left(exchange)
            async with keeper.lobby.place(left_s, avoid, trial, exchange.prompt, answered_in_s) as replica:
                keeper.suspects.refuse_quarantined(digest)  # found out while it waited
                lost = await _once(keeper, replica, exchange, send, trial, digest)
                if lost is not None and exchange.over:
                    await break_off(exchange, send, REPLICA_ENDED)
            if lost is None:
                keeper.suspects.answered(digest)
                return
            if lost.reached and not lost.garbled:
                await keeper.suspects.autopsy(replica, digest)
            verdict.lost(keeper, replica)
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
    with replica.asked(taken.unread if taken else 0) as sent:
        try:
            await ask(Try(replica, sent, trial, partial(keeper.suspects.answered, digest)), exchange, send)
        except (asyncio.CancelledError, Stopped):
            keeper.suspects.left(replica, digest, trial)
            raise
        except ReplicaLost as loss:
            keeper.lost(replica)
            exchange.lost, exchange.garbled = True, loss.garbled
            tracing.lost(reached=loss.reached)
            return loss
    began_after_s = sent.took_s if exchange.stream and not resumed else None
    verdict.answered(keeper, replica, exchange.status, exchange.prompt, began_after_s)
    return None


def _refuse_cold(keeper: Keeper) -> None:
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
