"""`firedeck router create|get|list|update|delete|shift`: traffic between deployments."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import click

from client.cli import output as out
from client.cli import router_text
from client.cli.durations import DURATION
from client.cli.lists import list_options, show
from client.cli.nouns import Noun
from client.cli.options import check_given, delete_each, dry_run_option, names_argument, quiet_option, run, shared
from client.cli.waiting import teller, wait_options
from client.listing import ListOptions
from client.resources import Client
from client.router_types import ComplexityRule, Router, RouterShiftSpec, RouterSpec, RouterTarget, WeightedRoutes

Given = dict[str, Any]


@click.group(cls=Noun)
def router() -> None:
    """Routers: one name for requests, several deployments behind it."""


def _targets(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> list[RouterTarget] | None:
    targets = []
    for value in values:
        deployment, _, weight = value.rpartition("=")
        try:
            number = float(weight)
        except ValueError:
            number = math.nan
        if not deployment or not math.isfinite(number) or number < 0:
            raise click.BadParameter(f"{value!r}: write DEPLOYMENT=WEIGHT, as in stable=90")
        targets.append(RouterTarget(deployment=deployment, weight=number))
    return targets or None


def _settings(command: click.decorators.FC) -> click.decorators.FC:
    for option in reversed(
        (
            click.option(
                "--target", "targets", multiple=True, callback=_targets, metavar="DEPLOYMENT=WEIGHT",
                help="A weighted router's; once for each. Weights are parts of their sum.",
            ),
            click.option("--sticky/--no-sticky", default=None, help="Whether a session stays with one deployment."),
            click.option("--small", metavar="DEPLOYMENT", help="Where simple requests go."),
            click.option("--large", metavar="DEPLOYMENT", help="Where all others go."),
            click.option("--max-prompt-chars", type=click.IntRange(min=0), help="Of a simple request's prompt."),
            click.option("--max-tokens", type=click.IntRange(min=0), help="Of a simple request, which must set it."),
            click.option("--max-turns", type=click.IntRange(min=0), help="The user's messages in a simple request."),
            click.option("--allow-tools/--no-allow-tools", default=None, help="Whether it may have tools."),
            click.option("--allow-response-format/--no-allow-response-format", default=None, help="Or a format."),
            click.option("--display-name"),
            click.option("--description"),
        )
    ):  # fmt: skip
        command = option(command)
    return command


@router.command()
@click.argument("router_id", metavar="ID", required=False)
@dry_run_option
@quiet_option("The new router's id alone.")
@_settings
@shared
def create(
    router_id: str | None, output: str, base_url: str | None, api_key: str | None, account: str | None,
    **given: Any,
) -> None:  # fmt: skip
    """Make a router: by weights (--target), or by complexity (--small, --large and the limits of a simple request)."""

    async def work(client: Client) -> None:
        made = await client.routers.create(_spec(given), router_id)
        _show(made, output)

    run(work, base_url, api_key, account)


@router.command(name="list")
@list_options("shift.state=SHIFTING", "createTime desc")
@shared
def list_routers(
    asked: ListOptions, output: str, base_url: str | None, api_key: str | None, account: str | None
) -> None:
    """All routers of the account."""

    async def work(client: Client) -> None:
        found = await client.routers.list(**asked)
        note = out.SIMULATED if any(one.simulated for one in found) else ""
        show(found, router_text.HEADER, router_text.row, output, note)

    run(work, base_url, api_key, account)


@router.command()
@click.argument("name")
@quiet_option("Its name alone.")
@shared
def get(name: str, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """One router: wanted and measured shares, and the steps of its last shift."""

    async def work(client: Client) -> None:
        _show(await client.routers.get(name), output)

    run(work, base_url, api_key, account)


@router.command()
@click.argument("name")
@dry_run_option
@_settings
@shared
def update(
    name: str, output: str, base_url: str | None, api_key: str | None, account: str | None,
    **given: Any,
) -> None:  # fmt: skip
    """Change what is given, nothing else; --target replaces all targets."""
    check_given(given.values())

    async def work(client: Client) -> None:
        changed = await client.routers.update(name, _spec(given))
        _show(changed, output)

    run(work, base_url, api_key, account)


@router.command()
@click.argument("name")
@click.option("--to", metavar="DEPLOYMENT", help="Where all traffic is to go in the end.")
@click.option("--over", type=DURATION, help="From the first step to the end of the last.  [default: 10m]")
@click.option("--step", "step_percent", type=click.FloatRange(1, 100), help="Per cent at a time.  [default: 10]")
@click.option("--max-error-rate", type=click.FloatRange(0, 1), help="Back beyond this share.  [default: 0.05]")
@click.option("--max-ttft-p95", type=DURATION, help="Back beyond this.  [default: first tokens are not judged]")
@click.option("--min-requests", type=click.IntRange(min=0), help="In a step, to be judged by.  [default: 20]")
@click.option("--abort", is_flag=True, default=None, help="Back to what it was before the shift, at once.")
@dry_run_option
@wait_options("when all traffic is there; exit status 1 when it went back")
@shared
def shift(
    name: str, patience: timedelta | None, to: str | None, over: timedelta | None, step_percent: float | None,
    max_error_rate: float | None, max_ttft_p95: timedelta | None, min_requests: int | None, abort: bool | None,
    output: str, base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """Move a weighted router's traffic to one deployment, by steps; it goes back by itself when that does badly."""
    if (to is None) == (abort is None):
        raise click.UsageError("say where with --to, or --abort")
    given = {
        "to": to, "over": over, "step_percent": step_percent, "max_error_rate": max_error_rate,
        "max_ttft_p95": max_ttft_p95, "min_requests": min_requests, "abort": abort,
    }  # fmt: skip
    spec = RouterShiftSpec(**{key: value for key, value in given.items() if value is not None})

    async def work(client: Client) -> None:
        made = await client.routers.shift(name, spec)
        if patience is not None and abort is None:
            made = await client.wait.shifted(made, patience, teller())
        _show(made, output)

    run(work, base_url, api_key, account)


@router.command()
@names_argument()
@dry_run_option
@quiet_option("Nothing but errors.")
@shared
def delete(names: tuple[str, ...], output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """Delete; its deployments stay."""

    async def work(client: Client) -> None:
        await delete_each(names, client.routers.delete, output)

    run(work, base_url, api_key, account)


def _spec(given: Given) -> RouterSpec:
    """The declared fields; what was not given stays unset, so that an update leaves it alone."""
    set_fields = {key: value for key, value in given.items() if value is not None}
    weighted = {key: set_fields.pop(key) for key in WeightedRoutes.model_fields if key in set_fields}
    rule = {key: set_fields.pop(key) for key in ComplexityRule.model_fields if key in set_fields}
    if weighted:
        set_fields["weighted"] = WeightedRoutes(**weighted)
    if rule:
        set_fields["complexity"] = ComplexityRule(**rule)
    return RouterSpec(**set_fields)


def _show(found: Router, output: str) -> None:
    if output == out.QUIET:
        out.say(found.id)
        return
    out.say(out.machine_form(found, output) or router_text.text(found))
