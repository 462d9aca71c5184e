"""What an endpoint has to offer, when the user named nothing."""

from __future__ import annotations

from urllib.parse import urlsplit

from client.bench.wire import Endpoint
from client.config import Context
from client.errors import FailedPrecondition, FiredeckError
from client.http import Transport
from client.resources import Client

SHOWN = 5


async def only_model(endpoint: Endpoint, key_note: str = "") -> str:
    """The one deployment that `GET /models` lists, or the one model. FailedPrecondition when there are several."""
    async with Transport(endpoint.url, endpoint.key, key_note=key_note) as transport:
        listed = await transport.get("/models")
    items = listed.get("data") if isinstance(listed, dict) else None
    names = [str(m["id"]) for m in items or [] if isinstance(m, dict) and "id" in m]
    found = [name for name in names if "/deployments/" in name] or names
    if len(found) == 1:
        return found[0]
    if not found:
        raise FailedPrecondition(
            f"{endpoint.url} serves no model", hint="create a deployment, or name one with --model"
        )
    raise FailedPrecondition(
        f"{endpoint.url} serves several: {', '.join(found[:SHOWN])}", hint="choose one with --model"
    )


async def ready_replicas(context: Context, endpoint: Endpoint, model: str) -> int:
    """How many replicas of the deployment are ready, as its engine says; 1 where nobody can say."""
    if "/deployments/" not in model or urlsplit(context.base_url).netloc != endpoint.parts.netloc:
        return 1
    try:
        async with Client(context) as client:
            stats = (await client.deployments.get(model)).replica_stats
    except FiredeckError:
        return 1
    return max(1, stats.ready_replica_count) if stats else 1
