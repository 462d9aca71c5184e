"""`firedeck deployment create|list|get|update|scale|delete|undelete`, with firectl's flags."""

from __future__ import annotations

import math
import sys
from datetime import timedelta
from typing import Any

import click

from client.cli import deployment_text, rehearsal
from client.cli import output as out
from client.cli.durations import DURATION
from client.cli.lists import list_options, show
from client.cli.options import each, names_argument, quiet_option, run, shared
from client.cli.waiting import until_deleted, until_ready, until_scaled, until_settled, wait_options
from client.errors import NotFound
from client.listing import ListOptions
from client.resources import Client
from client.types import (
    MULTI_REGIONS,
    AutoscalingPolicy,
    AutoTune,
    ColdOptions,
    Deployment,
    DeploymentSpec,
    Placement,
)

Given = dict[str, Any]
OWN = ("cold_policy", "max_queue_wait", "panic", "forecast_floor")  # options of firedeck alone


@click.group()
def deployment() -> None:
    """Deployments: models on replicas of your own."""


def settings(command: Any) -> Any:
    """What `create` and `update` can set."""
    for option in reversed(
        (
            click.option("--display-name"),
            click.option("--description"),
            click.option("--min-replica-count", type=int, help="0 allows scaling to zero."),
            click.option("--max-replica-count", type=int),
            click.option("--scale-up-window", help="e.g. 30s", type=DURATION),
            click.option("--scale-down-window", help="e.g. 10m", type=DURATION),
            click.option("--scale-to-zero-window", help="e.g. 1h, at least 5m", type=DURATION),
            click.option("--load-targets", help="e.g. default=0.8,concurrent_requests=4", callback=_targets),
            click.option("--max-context-length", type=int, help="Tokens a sequence."),
            click.option("--max-batch-size", type=int, help="Sequences that one replica runs at once."),
            click.option("--draft-model", help="A smaller model with the same vocabulary, that drafts for this one."),
            click.option("--draft-token-count", type=int, help="Tokens drafted a step, 1 to 31; 0 drafts none."),
            click.option("--ngram-speculation-length", type=int, help="Draft what followed n tokens before, 1 to 16."),
            click.option("--enable-addons/--no-enable-addons", default=None, help="LoRA adapters beside the model."),
            click.option("--max-peft-batch-size", type=int, help="Sequences with an adapter at once."),
            click.option("--num-peft-device-cached", type=int, help="Adapters in a replica's memory at once."),
            click.option("--accelerator-count", type=int, help="GPUs a replica, where there are any."),
            click.option(
                "--enable-session-affinity/--no-enable-session-affinity",
                default=None,
                help="Keep a session on one replica (on).",
            ),
            click.option("--long-prompt", type=bool, is_flag=False, flag_value=True, help="Kept as declared."),
            click.option("--cold-policy", type=click.Choice(["hold", "reject"]), help="Requests at zero replicas."),
            click.option("--max-queue-wait", help="e.g. 2s: who would wait longer gets 429 at once.", type=DURATION),
            click.option("--panic/--no-panic", default=None, help="Whether a burst may skip the scale-up window."),
            click.option("--forecast-floor/--no-forecast-floor", default=None, help="Keep up with the expected load."),
        )
    ):
        command = option(command)
    return command


def _targets(ctx: click.Context, param: click.Parameter, value: str | None) -> dict[str, float] | None:
    if value is None:
        return None
    try:
        targets = {key.strip(): float(number) for key, number in (part.split("=") for part in value.split(","))}
    except ValueError:
        raise click.BadParameter("write NAME=NUMBER,NAME=NUMBER") from None
    if not all(math.isfinite(number) for number in targets.values()):
        raise click.BadParameter("targets are finite numbers")
    return targets


@deployment.command()
@click.argument("model")
@click.option("--deployment-id", help="Your own id.  [default: a random one]")
@click.option("--deployment-shape", help="Settings known to work for the model: a shape's name, or 'default'.")
@click.option("--dry-run", is_flag=True, help="Show what would be made; make nothing.")
@click.option("--accelerator-type", help="e.g. NVIDIA_H100_80GB; cannot be changed later.")
@click.option("--precision", help="FP16 or BF16 where that is the file's own.")
@click.option("--region", help="GLOBAL, US, EUROPE, APAC, or regions (US_IOWA_1,EU_PARIS_1); cannot be changed later.")
@wait_options("when the deployment is READY")
@quiet_option("The new deployment's id alone.")
@settings
@shared
def create(
    model: str, deployment_id: str | None, deployment_shape: str | None, dry_run: bool, patience: timedelta | None,
    output: str, base_url: str | None, api_key: str | None, account: str | None, **given: Any,
) -> None:  # fmt: skip
    """Deploy MODEL: a full name (`accounts/fireworks/models/ID`), or the bare id of the library's or your own."""

    async def work(client: Client) -> None:
        spec = _spec({"base_model": model, "deployment_shape": deployment_shape, **given})
        made = await client.deployments.create(spec, deployment_id, validate_only=dry_run)
        if patience is not None and not dry_run:
            await until_ready(client, made.name, patience, quiet=output == out.QUIET)
            made = await client.deployments.get(made.name)
        _show(made, output, rehearsed="this would be created" if dry_run else "")

    run(work, base_url, api_key, account)


@deployment.command(name="list")
@click.option("--show-deleted", is_flag=True, help="Deleted ones too: they can be brought back.")
@list_options("'state=READY AND display_name=\"chat\"'", "createTime desc")
@shared
def list_all(
    show_deleted: bool, asked: ListOptions, output: str, base_url: str | None, api_key: str | None, account: str | None
) -> None:
    """All deployments of the account."""

    async def work(client: Client) -> None:
        found = await client.deployments.list(show_deleted=show_deleted, **asked)
        show(found, deployment_text.HEADER, deployment_text.row, output, deployment_text.note(found))

    run(work, base_url, api_key, account)


@deployment.command()
@click.argument("name")
@quiet_option("Its name alone.")
@shared
def get(name: str, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """One deployment."""

    async def work(client: Client) -> None:
        found = await client.deployments.get(name)
        if output != "text":
            _show(found, output)
            return
        _show(found, output, held_up=await _held_up(client, found))

    run(work, base_url, api_key, account)


@deployment.command()
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Show what it would be; change nothing.")
@wait_options("when it is READY, with as many replicas as wanted, all of them as declared")
@settings
@shared
def update(
    name: str, dry_run: bool, patience: timedelta | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None, **given: Any,
) -> None:  # fmt: skip
    """Change what is given, nothing else. --dry-run says what that is, and whether replicas are replaced."""

    if all(value in (None, ()) for value in given.values()):
        raise click.UsageError("nothing to change was given")

    async def work(client: Client) -> None:
        before = await client.deployments.get(name) if dry_run else None
        changed = await client.deployments.update(name, _spec(given), validate_only=dry_run)
        if before is not None:
            _show_planned(before, changed, output)
            return
        _show(await _settled(client, changed, patience), output)

    run(work, base_url, api_key, account)


@deployment.command()
@click.argument("name")
@click.option("--replica-count", type=int, required=True)
@wait_options("when so many are ready")
@shared
def scale(
    name: str, replica_count: int, patience: timedelta | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """Ask for just this many replicas now."""

    async def work(client: Client) -> None:
        await client.deployments.scale(name, replica_count)
        if patience is not None:
            await until_scaled(client, name, replica_count, patience)
        _show(await client.deployments.get(name), output)

    run(work, base_url, api_key, account)


@deployment.command()
@names_argument()
@click.option("--hard", is_flag=True, help="For good: no undelete.")
@click.option("--ignore-checks", is_flag=True, help="Although it is in use.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted; delete nothing.")
@wait_options("when its replicas have ended")
@quiet_option("Nothing but errors.")
@shared
def delete(
    names: tuple[str, ...], hard: bool, ignore_checks: bool, dry_run: bool, patience: timedelta | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """Delete; `undelete` brings it back within seven days unless --hard."""

    async def work(client: Client) -> None:
        async def begin(name: str) -> Deployment:
            found = await client.deployments.get(name)
            await client.deployments.delete(name, hard=hard, ignore_checks=ignore_checks, validate_only=dry_run)
            return found

        async def end(found: Deployment) -> None:
            if dry_run:
                _show(found, output, rehearsed="this would be deleted")
                return
            if patience is not None:
                await until_deleted(client, found.name, patience, quiet=output == out.QUIET)
            again = "" if hard else f"; bring it back with: firedeck deployment undelete {found.id}"
            out.tell(f"deleted {found.name}{again}", output)

        if len(await each(await each(names, begin), end)) < len(names):
            sys.exit(1)

    run(work, base_url, api_key, account)


@deployment.command()
@click.argument("name")
@wait_options("when it is READY, with as many replicas as wanted")
@shared
def undelete(
    name: str, patience: timedelta | None, output: str, base_url: str | None, api_key: str | None, account: str | None
) -> None:
    """Bring a deleted deployment back."""

    async def work(client: Client) -> None:
        back = await client.deployments.undelete(name)
        _show(await _settled(client, back, patience), output)

    run(work, base_url, api_key, account)


async def _settled(client: Client, changed: Deployment, patience: timedelta | None) -> Deployment:
    """As it is once the change has come about, where somebody waits for that."""
    if patience is None:
        return changed
    await until_settled(client, changed.name, patience)
    return await client.deployments.get(changed.name)


def _spec(given: Given) -> DeploymentSpec:
    """The declared fields; what was not given stays unset, so that an update leaves it alone."""
    set_fields = {key: value for key, value in given.items() if value is not None}
    policy = {
        key: set_fields.pop(key)
        for key in ("scale_up_window", "scale_down_window", "scale_to_zero_window", "load_targets")
        if key in set_fields
    }
    if policy:
        set_fields["autoscaling_policy"] = AutoscalingPolicy(**policy)
    own = {key: set_fields.pop(key) for key in OWN if key in set_fields}
    if own:
        set_fields["firedeck"] = ColdOptions(**own)
    if "long_prompt" in set_fields:
        set_fields["auto_tune"] = AutoTune(long_prompt=set_fields.pop("long_prompt"))
    if "region" in set_fields:
        set_fields["placement"] = _placement(set_fields.pop("region"))
    return DeploymentSpec.model_construct(_fields_set=set(set_fields), **set_fields)


def _placement(where: str) -> Placement:
    """firectl's one flag for the three forms."""
    regions = [part.strip() for part in where.split(",")]
    if where in MULTI_REGIONS:
        return Placement(multi_region=where)
    return Placement(region=where) if len(regions) == 1 else Placement(regions=regions)


async def _held_up(client: Client, d: Deployment) -> str:
    """What its status does not tell already; nothing where the server has no routes but the documented ones."""
    try:
        conditions = (await client.fleet.status(d.name)).conditions
    except NotFound:
        return ""
    return deployment_text.holding_up(conditions, said=d.status.message if d.status else "")


def _show_planned(before: Deployment, after: Deployment, output: str) -> None:
    if output == "json":
        _show(after, output, rehearsed="it would be this")
        return
    out.tell(f"dry run: nothing was changed; of {before.name} this would change:", output)
    out.say(rehearsal.text(before, after))


def _show(d: Deployment, output: str, *, rehearsed: str = "", held_up: str = "") -> None:
    """`rehearsed`: what is shown is not so yet. Said on standard error, because JSON has to stay JSON.

    `held_up`: what keeps it from being as declared, and when there is the next try.
    """
    if rehearsed:
        out.tell(f"dry run: nothing was changed; {rehearsed}:", output)
    if output == out.QUIET:
        out.say(d.id)
        return
    out.say(out.as_json(d) if output == "json" else deployment_text.text(d, held_up))
