"""`firedeck requests` and `firedeck explain REQUEST-ID`: what happened to single requests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import click

from client import durations
from client.cli import output as out
from client.cli.lists import tell_more
from client.cli.options import quiet_option, run, shared
from client.errors import FiredeckError
from client.resources import Client
from client.trace_resources import PAGE_MAX
from client.trace_types import RequestSummary, RequestTrace, TraceSpan

HEADER = (
    "REQUEST ID", "TIME", "ROUTER", "DEPLOYMENT", "STATUS", "TOOK", "TTFT", "TOKENS IN/CACHED/OUT", "TRIES", "REPLICA"
)  # fmt: skip
BAR_CELLS = 32
SHOWN = 50  # unless a limit or a page says how many


def _duration(ctx: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    try:
        return None if value is None else durations.parse(value, param.opts[0])
    except FiredeckError as error:
        raise click.BadParameter(error.text) from None


@click.command()
@click.option("--deployment", help="Those of one deployment.")
@click.option("--status", help="200, 4xx, 5xx, failed (400 and up) or open (under way).")
@click.option("--slower-than", callback=_duration, help="e.g. 2s: those that took longer, from first to last byte.")
@click.option("--filter", "filter_text", help="e.g. 'router:canary AND generatedTokens>100'; fields as in -o json.")
@click.option("--limit", type=click.IntRange(min=1), help="The newest so many.  [default: 50]")
@click.option("--page-size", type=click.IntRange(1, PAGE_MAX), help="One page of so many of all.")
@click.option("--page-token", help="The page after the one that named this token.")
@quiet_option("Their ids alone, one a line, as explain takes them.")
@shared
def requests(
    deployment: str | None, status: str | None, slower_than: timedelta | None, filter_text: str | None,
    limit: int | None, page_size: int | None, page_token: str | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """The newest requests to the account's deployments that the engine has in memory, newest first."""

    if limit is not None and (page_size or page_token):
        raise click.UsageError("--limit goes not with pages")

    async def work(client: Client) -> None:
        found = await client.requests.list(
            deployment=deployment, status=status, slower_than=slower_than, filter_text=filter_text,
            limit=limit or SHOWN, page_size=page_size, page_token=page_token,
        )  # fmt: skip
        out.show(found.requests, HEADER, row, output, out.SIMULATED if found.simulated else "")
        tell_more(found.next_page_token)

    run(work, base_url, api_key, account)


@click.command()
@click.argument("request_id", metavar="REQUEST-ID")
@shared
def explain(request_id: str, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """What happened to one request: the `x-request-id` of its answer names it."""

    async def work(client: Client) -> None:
        found = await client.requests.get(request_id)
        out.say(out.machine_form(found, output) or text(found))

    run(work, base_url, api_key, account)


def row(one: RequestSummary) -> Sequence[str]:
    tokens = "-"
    if one.prompt_tokens is not None:
        tokens = f"{one.prompt_tokens}/{one.cached_tokens}/{one.generated_tokens}"
    return (
        one.request_id, out.local_time(one.start_time), _short(one.router), _short(one.deployment),
        (str(one.status) if one.status is not None else "open") + (" synthetic" if one.synthetic else ""),
        milliseconds(one.duration_s * 1000), "-" if one.ttft_s is None else milliseconds(one.ttft_s * 1000),
        tokens, str(one.tries), one.replica or "-",
    )  # fmt: skip


def _short(name: str | None) -> str:
    return (name or "-").rpartition("/")[2]


def text(found: RequestTrace) -> str:
    """Sentences, then the spans, each below its parent, over the time of the whole."""
    one = found.request
    head = out.lines([("Request", one.request_id), ("Trace", one.trace_id), ("Time", out.local_time(one.start_time))])
    note = ["", out.SIMULATED] if found.simulated else []
    return "\n".join([head, "", *found.explanation, "", _waterfall(found), *note])


def _waterfall(found: RequestTrace) -> str:
    whole = max([found.request.duration_s * 1000, *(s.offset_ms + (s.duration_ms or 0) for s in found.spans)])
    depth: dict[str, int] = {}
    rows: list[Sequence[str]] = []
    for span in found.spans:
        depth[span.span_id] = depth.get(span.parent_span_id, -1) + 1
        lasted = "open" if span.duration_ms is None else milliseconds(span.duration_ms)
        name = "  " * depth[span.span_id] + span.name
        rows.append((name, milliseconds(span.offset_ms), lasted, _bar(span, whole), _notes(span)))
    return out.table(("SPAN", "FROM", "TOOK", "", ""), rows)


def _bar(span: TraceSpan, whole_ms: float) -> str:
    scale = BAR_CELLS / whole_ms if whole_ms > 0 else 0.0
    start = min(BAR_CELLS - 1, int(span.offset_ms * scale))
    lasted = whole_ms - span.offset_ms if span.duration_ms is None else span.duration_ms
    cells = max(1, min(BAR_CELLS - start, round(lasted * scale)))
    return (" " * start + "=" * cells).ljust(BAR_CELLS)


def _notes(span: TraceSpan) -> str:
    """What went wrong in it, and what happened besides."""
    happened = [event.name.removeprefix("firedeck.").replace("_", " ") for event in span.events]
    return "; ".join([*([f"ERROR {span.error}"] if span.error else []), *happened])


def milliseconds(ms: float) -> str:
    return f"{ms:.3g} ms" if ms < 1000 else f"{ms / 1000:.2f} s"
