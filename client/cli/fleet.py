"""firedeck's own `node list`, `event list` and `alerts`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from client.cli import output as out
from client.cli.lists import show
from client.cli.options import quiet_option, run, shared
from client.fleet_types import AlertView, Event, NodeView
from client.listing import PAGE_SIZE_MAX, ListOptions
from client.resources import Client

NODE_HEADER = ("NAME", "REGION", "ACCELERATOR TYPE", "FREE/ALL", "FREE MEMORY", "FREE THREADS", "PRICE/H", "STATE")
ALERT_HEADER = ("STATE", "SEVERITY", "DEPLOYMENT", "ALERT", "VALUE", "SINCE", "WHAT TO DO")
EVENTS_SHOWN = 50
EVENT_HEADER = ("TIME", "KIND", "REASON", "DEPLOYMENT", "MESSAGE")


@click.group()
def node() -> None:
    """The machines that replicas are placed on."""


@node.command(name="list")
@quiet_option("Names alone, one a line.")
@shared
def list_nodes(output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """Every node, its labels, and what is free on it now."""

    async def work(client: Client) -> None:
        found = await client.fleet.nodes()
        simulated = "SIMULATED: virtual nodes" if any(one.simulated for one in found) else ""
        out.show(found, NODE_HEADER, _node_row, output, simulated)

    run(work, base_url, api_key, account)


@click.group()
def event() -> None:
    """What happened to deployments."""


@event.command(name="list")
@click.option("--deployment", help="Only this deployment's.")
@click.option("--filter", "filter_text", help="e.g. 'kind=Warning AND message:memory'")
@click.option("--limit", type=click.IntRange(1, 1000), help="The newest so many.  [default: 50]")
@click.option("--order-by", help="e.g. 'time desc': all of them, and not the newest alone")
@click.option("--page-size", type=click.IntRange(1, PAGE_SIZE_MAX), help="One page of so many of all.")
@click.option("--page-token", help="The page after the one that named this token.")
@quiet_option("Their numbers alone, one a line.")
@shared
def list_events(
    deployment: str | None, filter_text: str | None, limit: int | None, order_by: str | None, page_size: int | None,
    page_token: str | None, output: str, base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """The newest events, oldest first; with an order or pages all that there are."""
    paged = order_by is not None or page_size is not None or page_token is not None
    if paged and limit is not None:
        raise click.UsageError("--limit goes with neither an order nor pages")

    async def work(client: Client) -> None:
        if paged:
            asked = ListOptions(filter=filter_text, order_by=order_by, page_size=page_size, page_token=page_token)
            await _list_events(client, deployment, asked, output)
        else:
            await _newest_events(client, deployment, limit or EVENTS_SHOWN, filter_text, output)

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
