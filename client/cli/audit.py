"""`firedeck audit-logs list|verify`, with firectl's flags."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime

import click

from client.access_types import AuditLogEntry
from client.cli import output as out
from client.cli.instants import INSTANT
from client.cli.lists import list_options, show
from client.cli.nouns import Noun
from client.cli.options import run, shared
from client.listing import ListOptions
from client.resources import Client

HEADER = ("TIMESTAMP", "PRINCIPAL", "CODE", "MESSAGE", "RESOURCE", "DETAIL")
SHOWN = 50  # unless a limit or a page says how many


@click.group(cls=Noun, name="audit-logs")
def audit_logs() -> None:
    """Who did what, when, and what came of it: 30 days back."""


@audit_logs.command(name="list")
@list_options('\'message="CreateDeployment" AND resource:"chat"\'', "timestamp")
@click.option("--start", "--start-time", "start", type=INSTANT, help="This machine's time unless it has an offset.")
@click.option("--end", "--end-time", "end", type=INSTANT, help="The same; not included.")
@click.option("--limit", type=click.IntRange(min=1), help="So many.  [default: 50]")
@shared
def list_logs(
    asked: ListOptions, start: datetime | None, end: datetime | None, limit: int | None,
    output: str, base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """Records, newest first (admins)."""

    paged = bool(asked.get("page_size") or asked.get("page_token")) or "page_size" not in asked  # --no-paginate
    if paged and limit is not None:
        raise click.UsageError("--limit goes not with pages")
    most = None if paged else limit or SHOWN

    async def work(client: Client) -> None:
        found = await client.audit_logs.list(start=start, end=end, limit=most, **asked)
        which = "first" if asked.get("order_by") else "newest"
        cut = f"the {which} {most} only: --limit shows more" if most and len(found) < found.total_size else ""
        ids = output == out.QUIET
        show(found, ("ID",) if ids else HEADER, _id if ids else _row, output, cut)

    run(work, base_url, api_key, account)


@audit_logs.command()
@shared
def verify(output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """Check that no record was changed or removed; exit status 1 when one was."""

    async def work(client: Client) -> None:
        found = await client.audit_logs.verify()
        good = f"{found.checked} records are as they were written" + (f"; but {found.reason}" if found.reason else "")
        bad = f"record {found.first_bad_id}: {found.reason} ({found.checked} before it are good)"
        out.say(out.machine_form(found, output) or (good if found.valid else bad))
        if not found.valid:
            sys.exit(1)

    run(work, base_url, api_key, account)


def _id(e: AuditLogEntry) -> Sequence[str]:
    return (e.id,)


def _row(e: AuditLogEntry) -> Sequence[str]:
    code, detail = (e.status.code, e.status.message) if e.status else ("", "")
    return (out.local_time(e.timestamp), e.principal or "-", code, e.message, e.resource, detail)
