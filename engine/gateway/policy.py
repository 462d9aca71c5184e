"""A request that names a router: which deployment it goes to, before anything else is asked about it.

    data   Passage      one request's way through its router: the deployment, and where to tell what came of it
    verbs  passage_of   None where no router is named
    near   `routes` goes on with the deployment as if the request had named it, `engine.fleet.live_router` chooses

What a router does must show: as a span, as attributes of the request's, and in its explanation. Nothing of that is the
client's text: sessions are hashed, of prompts there are numbers alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from client.errors import FiredeckError
from engine.asgi import Scope, headers_of
from engine.control.complexity import facts
from engine.fleet.live_router import ShiftTally
from engine.fleet.routers import Routers
from engine.gateway.exchange import Exchange
from engine.gateway.prompt import session_of
from engine.keys import Principal
from engine.telemetry import tracing


class Passage:
    """`deployment`: in full."""

    __slots__ = ("_tally", "deployment")

    def __init__(self, deployment: str, tally: ShiftTally | None) -> None:
        self.deployment, self._tally = deployment, tally

    def ended(self, exchange: Exchange) -> None:
        """Told once, whatever came of it."""
        if self._tally is not None:
            self._tally.ended(exchange.status, exchange.ttft_s)


def passage_of(
    routers: Routers, fields: Mapping[str, Any], scope: Scope, caller: Principal, request_id: str
) -> Passage | None:
    """None where the request's `model` is no router of its account: to others it is not there. NotFound where the
    router has no deployment left."""
    model = fields.get("model")
    live = routers.find(model, caller.account) if isinstance(model, str) else None
    if live is None:
        return None
    since = tracing.now()
    try:
        chosen = live.choose(session_of(fields, headers_of(scope)), request_id, partial(facts, fields))
    except FiredeckError:
        tracing.routed(live.name, "nowhere: none of its deployments is left", since)
        raise
    tracing.routed(live.name, f"to {chosen.deployment.rpartition('/')[2]}, {chosen.why}", since)
    return Passage(chosen.deployment, live.tally_of(chosen.deployment))
