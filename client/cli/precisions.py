"""`firedeck model prepare`, and how precisions that were prepared are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

import click

from client.cli import completing, finding
from client.cli import output as out
from client.cli.constants import Constant
from client.cli.options import dry_run_option, quiet_option, run, shared
from client.cli.waiting import teller, wait_options
from client.enums import AUTO, PRECISIONS
from client.resources import Client
from client.types import Model, PreparedPrecision

HEADER = (
    "PRECISION", "MADE AS", "STATE", "SIZE", "AGREEMENT", "PERPLEXITY", "PREFILL TOKENS/S", "DECODE TOKENS/S", "NOTE",
)  # fmt: skip


@click.command()
@click.argument("name", shell_complete=completing.MODELS)
@click.option(
    "--precision",
    type=Constant((*PRECISIONS[1:], AUTO)),
    default=AUTO,
    show_default=True,
    help="FP16, BF16, FP8, FP4, NF4 or FP4_MX_MOE; AUTO: the first four.",
)
@dry_run_option
@wait_options("when it is prepared")
@quiet_option("Nothing but errors.")
@shared
def prepare(
    name: str, precision: str, patience: timedelta | None, output: str, base_url: str | None, api_key: str | None,
    account: str | None,
) -> None:  # fmt: skip
    """Make a model in another precision, beside its own file, so that deployments may ask for it.

    What it is made as, how large and how fast it came out here, and how far its text departs from that of the model's
    own file is shown by `firedeck model get NAME`.
    """

    async def work(client: Client) -> None:
        asked = (await finding.model(client, name)).name
        await client.models.prepare(asked, precision)
        if patience is not None:
            await client.wait.prepared(asked, precision, patience, teller(quiet=output != "text"))
        found = await client.models.get(asked)
        if output == "json":
            out.say(out.as_json(found))
        elif output != out.QUIET:
            out.say(text(found) or f"{found.name} is in {precision} as it is")

    run(work, base_url, api_key, account)


def text(model: Model) -> str:
    """A table of what was asked for, below the file that it was made of; empty where nothing was."""
    prepared = (model.firedeck.prepared if model.firedeck else None) or []
    return out.table(HEADER, [*_source(prepared), *map(_row, prepared)]) if prepared else ""


def _source(prepared: Iterable[PreparedPrecision]) -> list[Sequence[str]]:
    """The model's own file, as the last report has it."""
    reports = [one.report for one in sorted(prepared, key=lambda one: str(one.update_time)) if one.report]
    if not reports:
        return []
    file = reports[-1].source
    return [
        (
            "its own", file.quantization, "READY", out.size(file.size_bytes), "1.000", f"{file.perplexity:.2f}",
            f"{file.prefill_speed:.0f}", f"{file.decode_speed:.0f}", "",
        )
    ]  # fmt: skip


def _row(one: PreparedPrecision) -> Sequence[str]:
    why = one.status.message if one.status else one.stage or ""
    report = one.report
    if report is None:
        return (one.precision, one.quantization, one.state, "-", "-", "-", "-", "-", why)
    made, source = report.made, report.source
    times = made.decode_speed / source.decode_speed
    threads = f"{report.threads} thread{'' if report.threads == 1 else 's'}"
    note = f"{times:.2f} x its own in decoding, {threads}, {report.device}"
    return (
        one.precision, one.quantization, one.state, out.size(made.size_bytes), f"{report.agreement:.3f}",
        f"{made.perplexity:.2f}", f"{made.prefill_speed:.0f}", f"{made.decode_speed:.0f}", why or note,
    )  # fmt: skip
