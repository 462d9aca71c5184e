"""firedeck's own `node list`, `event list` and `alerts`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from client.cli import output as out
from client.cli.lists import list_options, show
from client.cli.nouns import Noun
from client.cli.options import run, shared
from client.fleet_types import AlertView, Event, NodeView
from client.listing import ListOptions
from client.resources import Client

NODE_HEADER = ("NAME", "REGION", "ACCELERATOR TYPE", "FREE/ALL", "FREE MEMORY", "FREE THREADS", "PRICE/H", "STATE")
ALERT_HEADER = ("STATE", "SEVERITY", "DEPLOYMENT", "ALERT", "VALUE", "SINCE", "WHAT TO DO")
EVENTS_SHOWN = 50
EVENT_HEADER = ("TIME", "KIND", "REASON", "DEPLOYMENT", "MESSAGE")


@click.group(cls=Noun)
def node() -> None:
    """The machines that replicas are placed on."""


@node.command(name="list")
@list_options("'freeAccelerators>0 AND region=\"EU_*\"'", "pricePerHour")
@shared
def list_nodes(asked: ListOptions, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """Every node, its labels, and what is free on it now."""

    async def work(client: Client) -> None:
        found = await client.fleet.nodes(**asked)
        simulated = "SIMULATED: virtual nodes" if any(one.simulated for one in found) else ""
        show(found, NODE_HEADER, _node_row, output, simulated)

    run(work, base_url, api_key, account)


@click.group(cls=Noun)
def event() -> None:
    """What happened to deployments."""


@event.command(name="list")
@click.option("--deployment", help="Only this deployment's.")
@click.option("--limit", type=click.IntRange(1, 1000), help="The newest so many.  [default: 50]")
@list_options("'kind=Warning AND message:memory'", "time desc", quiet="Their numbers alone, one a line.")
@shared
def list_events(
    deployment: str | None, limit: int | None, asked: ListOptions, output: str,
    base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """The newest events, oldest first; with an order, pages or --no-paginate all that there are."""
    paged = bool(asked.get("order_by") or asked.get("page_size") or asked.get("page_token")) or "page_size" not in asked
    if paged and limit is not None:
        raise click.UsageError("--limit goes with neither an order nor pages")

    async def work(client: Client) -> None:
        if paged:
            await _list_events(client, deployment, asked, output)
        else:
            await _newest_events(client, deployment, limit or EVENTS_SHOWN, asked.get("filter"), output)

    run(work, base_url, api_key, account)


async def _list_events(client: Client, deployment: str | None, asked: ListOptions, output: str) -> None:
    numbers = output == out.QUIET
    found = await client.fleet.list_events(deployment, **asked)
    show(found, ("SEQ",) if numbers else EVENT_HEADER, _seq if numbers else _event_row, output)


async def _newest_events(
    client: Client, deployment: str | None, limit: int, filter_text: str | None, output: str
) -> None:
    found = await client.fleet.events(deployment, limit=limit, filter_text=filter_text)
    full = len(found) == limit  # there may be older ones: how many is not known
    cut = f"the newest {limit}: --limit shows older ones, where there are any" if full else ""
    numbers = output == out.QUIET
    out.show(
        found, ("SEQ",) if numbers else EVENT_HEADER, _seq if numbers else _event_row, output, cut, counted=not full
    )


@click.command()
@shared
def alerts(output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """What is wrong with deployments now: latency, errors, use, cost, acceptance of drafts."""

    async def work(client: Client) -> None:
        found = (await client.fleet.alerts()).alerts
        out.show(found, ALERT_HEADER, _alert_row, output)

    run(work, base_url, api_key, account)


def _alert_row(a: AlertView) -> Sequence[str]:
    deployment = a.deployment.rpartition("/")[2]
    return (a.state, a.severity, deployment, a.name, f"{a.summary}: {a.text}", out.local_time(a.since), a.action)


def _node_row(n: NodeView) -> Sequence[str]:
    price = "-" if n.price_per_hour is None else f"{n.price_per_hour:.2f}"
    accelerators = f"{n.free_accelerators}/{n.accelerators}" if n.accelerators else "-"
    memory = f"{out.size(n.free_memory_bytes)} of {out.size(n.memory_bytes)}"
    return (
        n.name, out.known(n.region) or "-", out.known(n.accelerator_type) or "-", accelerators, memory,
        str(n.free_threads), price, f"closed: {n.closed}" if n.closed else "open",
    )  # fmt: skip


def _seq(e: Event) -> Sequence[str]:
    return (str(e.seq),)


def _event_row(e: Event) -> Sequence[str]:
    return (out.local_time(e.time), e.kind, e.reason, e.deployment.rpartition("/")[2], e.message)
