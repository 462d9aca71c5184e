"""`firedeck usage`: hours of replicas and accelerators, tokens of requests, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click

from client.cli import output as out
from client.cli.instants import UTC_INSTANT
from client.cli.options import run, shared
from client.cli.usage_tokens import TIME, as_rows, tokens_text
from client.resources import Client
from client.usage_tokens_types import DIMENSIONS
from client.usage_types import ACCELERATOR_TYPE, DEPLOYMENT, NO_ACCELERATOR, TIMES, Usage, UsageRow, UsageSum

_GROUPINGS = {"deployment": DEPLOYMENT, "accelerator-type": ACCELERATOR_TYPE} | {name: name for name in TIMES}
_WORDS = {name: word.replace("-", " ").upper() for word, name in _GROUPINGS.items()}
_HOUR_S = 3600.0
_BY = f"Tokens of requests by some of {', '.join(DIMENSIONS)}, tag:NAME, and {' or '.join(TIMES)} (UTC)."


def _groups(_context: click.Context, _option: click.Parameter, text: str) -> str:
    """As the API calls them."""
    unknown = [name for name in text.split(",") if name not in _GROUPINGS]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is none; there are {', '.join(_GROUPINGS)}")
    return ",".join(_GROUPINGS[name] for name in text.split(","))


@click.command()
@click.option(
    "--start-time",
    "--start",
    "start",
    type=UTC_INSTANT,
    help="UTC unless it has an offset.  [default: the first of this month]",
)
@click.option("--end-time", "--end", "end", type=UTC_INSTANT, help="The same; not included.  [default: now]")
@click.option(
    "--group-by",
    metavar="NAMES",
    default="deployment",
    show_default=True,
    callback=_groups,
    help=f"Hours by some of {', '.join(_GROUPINGS)}.",
)
@click.option("--by", metavar="NAMES", help=_BY)
@click.option("--filter", "filter_text", help="Of those requests, e.g. 'tags.team=search AND user=ada'.")
@click.option("--csv", "as_csv", is_flag=True, help="The rows of --by as comma-separated values.")
@click.option("--json", "as_json", is_flag=True, help="The same as --output json.")
@shared
def usage(
    start: datetime | None, end: datetime | None, group_by: str, by: str | None, filter_text: str | None,
    as_csv: bool, as_json: bool,
    output: str, base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """What the account used: time of replicas that took requests, idle or not, and its price. With --by, --filter or
    --csv what requests used: tokens, by whom, of what, for what (guards, the tags of `metadata`), by hour or by day."""
    if as_csv and (as_json or output == "json"):
        raise click.UsageError("--csv and --json exclude each other")
    if output == "flag":
        raise click.UsageError("what was used has no flags: -o takes text and json here")
    as_json = as_json or output == "json"

    async def work(client: Client) -> None:
        if by is not None or filter_text is not None or as_csv:
            names = [DEPLOYMENT] if by is None else by.split(",")
            tokens = await client.usage.tokens(start=start, end=end, group_by=names, filter_text=filter_text)
            out.say(out.as_json(tokens) if as_json else as_rows(tokens) if as_csv else tokens_text(tokens, start, end))
            return
        found = await client.usage.get(start=start, end=end, group_by=group_by)
        out.say(out.as_json(found) if as_json else text(found))

    run(work, base_url, api_key, account)


def text(usage: Usage) -> str:
    """A table in hours, its sum, and what must be known to read it."""
    by = usage.group_by.split(",")
    header = (*(_WORDS[name] for name in by), "REPLICA-HOURS", "GPU-HOURS", "COST USD", "SIMULATED")
    rows: list[Sequence[str]] = [(*(_name(row, name) for name in by), *_cells(row)) for row in usage.rows]
    total = ("TOTAL", *[""] * (len(by) - 1), *_cells(usage.total))
    period = f"{usage.start_time:%Y-%m-%d %H:%M:%S} to {usage.end_time:%Y-%m-%d %H:%M:%S} UTC"
    lines = [period, out.table(header, [*rows, total])]
    if usage.total.unpriced_replica_seconds:
        lines.append(
            f"without a price: {_hours(usage.total.unpriced_replica_seconds)} replica-hours"
            " (give the machine one: firedeck serve --price-per-hour USD)"
        )
    if usage.total.simulated_replica_seconds:
        lines.append("SIMULATED: no machine worked these hours, and nobody pays for them")
    return "\n".join(lines)


def _name(row: UsageRow, name: str) -> str:
    if name in TIMES:
        return "" if row.time is None else f"{row.time:{TIME[name]}}"
    if name == DEPLOYMENT:
        return (row.deployment or "").rpartition("/")[2]
    return "none (CPU)" if row.accelerator_type == NO_ACCELERATOR else row.accelerator_type or ""


def _cells(part: UsageSum) -> tuple[str, str, str, str]:
    cost = "-" if part.cost_usd is None else f"{part.cost_usd:.4f}"
    share = f"{part.simulated_share:.0%}" if part.simulated_replica_seconds else "-"
    return _hours(part.replica_seconds), _hours(part.accelerator_seconds), cost, share


def _hours(seconds: float) -> str:
    return f"{seconds / _HOUR_S:.4f}"
