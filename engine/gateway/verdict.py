"""What a request tells of the replica that had it, and whether it may be tried again.

Neighbours: `engine.gateway.forward` asks at the end of each try; `engine.fleet.balancer` counts and decides. What came
of the whole request `engine.gateway.routes` asks, for the adapter that it ran with.
"""

from __future__ import annotations

from client.errors import Unavailable
from engine.control.reconcile import Stage
from engine.control.route import Prompt
from engine.fleet.keeper import Keeper
from engine.fleet.replica import Replica
from engine.gateway.exchange import Exchange
from engine.telemetry import metrics

OK = 200
RETRY_LATER_S = 5.0
FAULTS = frozenset({500, 502})  # of a replica that lives; 504 is the client's own deadline


def failed(exchange: Exchange) -> bool | None:
    """Whether its replicas failed it: by an error of theirs, or by their end. None where that tells nothing of them: of
    the client's own errors, and of what no replica took."""
    if exchange.status in FAULTS or (exchange.status > max(FAULTS) and exchange.lost):
        return True
    return False if exchange.status == OK and not exchange.cached else None


def refuse_retry(keeper: Keeper) -> None:
    """Raises when too many requests are being tried again: where replicas refuse under load, that makes it worse."""
    if keeper.balancer.allow_retry(keeper.replicas.replicas.values()):
        return
    metrics.RETRIES_REFUSED.labels(keeper.name).inc()
    raise Unavailable(
        "the replica that was given this request gave no answer, and too many requests are being tried again already",
        hint="try again later", retry_after_s=RETRY_LATER_S,
    )  # fmt: skip


def lost(keeper: Keeper, replica: Replica) -> None:
    """It gave no whole answer. One that has ended, or is about to, gets no request anyway."""
    if replica.stage == Stage.READY and keeper.replicas.alive(replica):
        _tell(keeper, replica, keeper.balancer.failed(replica))


def answered(keeper: Keeper, replica: Replica, status: int, prompt: Prompt, began_after_s: float | None) -> None:
    """It did. `began_after_s`: of a stream that began there, None for other answers."""
    if status in FAULTS:
        _tell(keeper, replica, keeper.balancer.failed(replica))
    else:
        _tell(keeper, replica, keeper.balancer.answered(replica, prompt, began_after_s))


def _tell(keeper: Keeper, replica: Replica, why: str | None) -> None:
    if why is not None:
        message = f"it gets no request for a while, but where there is no other: {why}"
        keeper.herald.announce_soon("Warning", "ReplicaEjected", message, replica.id)
