"""`firedeck deployment create|list|get|update|scale|delete|undelete`, with firectl's flags."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import click

from client.cli import completing, deployment_text
from client.cli import output as out
from client.cli.constants import CONSTANT
from client.cli.deployment_file import below, file_option
from client.cli.deployment_settings import settings, spec, without_effect
from client.cli.lists import list_options, show
from client.cli.nouns import Noun
from client.cli.options import check_given, dry_run_option, each, names_argument, quiet_option, run, shared
from client.cli.waiting import teller, wait_options
from client.dry_run import NotMade
from client.errors import FiredeckError, NotFound
from client.listing import ListOptions
from client.names import LIBRARY_ACCOUNT
from client.resources import Client
from client.types import Deployment, DeploymentSpec

skip_shape_validation = click.option("--skip-shape-validation", is_flag=True, help="Depart from the shape.")


@click.group(cls=Noun)
def deployment() -> None:
    """Deployments: models on replicas of your own."""


@deployment.command()
@click.argument("model", shell_complete=completing.MODELS)
@click.option("--deployment-id", help="Your own id.  [default: a random one]")
@dry_run_option
@click.option("--accelerator-type", type=CONSTANT, help="e.g. NVIDIA_H100_80GB; cannot be changed later.")
@click.option("--preemptible/--no-preemptible", default=None, help="Give places to others that find none; for good.")
@click.option(
    "--region",
    type=CONSTANT,
    help="GLOBAL, US, EUROPE, APAC, or regions (US_IOWA_1,EU_PARIS_1); cannot be changed later.",
)
@click.option("--accept-shapeless-risk", is_flag=True, help="Say that there is to be no shape.")
@click.option("--disable-auto-deploy", is_flag=True, help="The model's bare name does not lead here by default.")
@click.option("--disable-speculative-decoding", is_flag=True, help="Draft nothing, whatever the model has for that.")
@skip_shape_validation
@wait_options("when the deployment is READY")
@quiet_option("The new deployment's id alone.")
@file_option
@settings
@shared
def create(
    model: str, deployment_id: str | None, accept_shapeless_risk: bool, disable_auto_deploy: bool,
    disable_speculative_decoding: bool, skip_shape_validation: bool, file: DeploymentSpec | None,
    patience: timedelta | None, output: str, base_url: str | None, api_key: str | None, account: str | None,
    **given: Any,
) -> None:  # fmt: skip
    """Deploy MODEL: a full name (`accounts/fireworks/models/ID`), or the bare id of the library's or your own."""

    async def work(client: Client) -> None:
        declared = below(file, spec({"base_model": model, **given}))
        _tell_kept(client, declared, output)
        try:
            made = await client.deployments.create(
                declared, deployment_id, skip_shape_validation=skip_shape_validation,
                accept_shapeless_risk=accept_shapeless_risk, disable_auto_deploy=disable_auto_deploy,
                disable_speculative_decoding=disable_speculative_decoding,
            )  # fmt: skip
        except NotMade as rehearsed:
            await _tell_missing(client, Deployment.model_validate(rehearsed.change.after or {}), output)
            raise
        await _tell_missing(client, made, output)
        if patience is not None:
            made = await client.wait.ready(made.name, patience, teller(quiet=output == out.QUIET))
        _show(made, output)

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
@click.argument("name", shell_complete=completing.DEPLOYMENTS)
@quiet_option("Its name alone.")
@shared
def get(name: str, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """One deployment."""

    async def work(client: Client) -> None:
        found = await client.deployments.get(name)
        if output != "text":
            _show(found, output)
            return
        _show(found, output, **await _observed(client, found))

    run(work, base_url, api_key, account)


@deployment.command()
@click.argument("name", shell_complete=completing.DEPLOYMENTS)
@dry_run_option
@skip_shape_validation
@wait_options("when it is READY, with as many replicas as wanted, all of them as declared")
@file_option
@settings
@shared
def update(
    name: str, skip_shape_validation: bool, file: DeploymentSpec | None, patience: timedelta | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None, **given: Any,
) -> None:  # fmt: skip
    """Change what is given, nothing else. --dry-run says what that is, and whether replicas are replaced."""

    check_given((file, *given.values()))

    async def work(client: Client) -> None:
        declared = below(file, spec(given))
        _tell_kept(client, declared, output)
        changed = await client.deployments.update(name, declared, skip_shape_validation=skip_shape_validation)
        settled = await _settled(client, changed, patience)
        _show(settled, output, hits=await _hits(client, settled, output))

    run(work, base_url, api_key, account)


@deployment.command()
@click.argument("name", shell_complete=completing.DEPLOYMENTS)
@click.option("--replica-count", type=int, required=True)
@dry_run_option
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
            await client.wait.scaled(name, replica_count, patience, teller())
        scaled = await client.deployments.get(name)
        _show(scaled, output, hits=await _hits(client, scaled, output))

    run(work, base_url, api_key, account)


@deployment.command()
@names_argument(complete=completing.DEPLOYMENTS)
@click.option("--hard", is_flag=True, help="For good: no undelete.")
@click.option("--ignore-checks", is_flag=True, help="Although it is in use.")
@dry_run_option
@wait_options("when its replicas have ended")
@quiet_option("Nothing but errors.")
@shared
def delete(
    names: tuple[str, ...], hard: bool, ignore_checks: bool, patience: timedelta | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """Delete; `undelete` brings it back within seven days unless --hard."""

    async def work(client: Client) -> None:
        async def begin(name: str) -> Deployment:
            found = await client.deployments.get(name)
            await client.deployments.delete(name, hard=hard, ignore_checks=ignore_checks)
            return found

        async def end(found: Deployment) -> None:
            if patience is not None:
                await client.wait.deleted(found.name, patience, teller(quiet=output == out.QUIET))
            again = "" if hard else f"; bring it back with: firedeck deployment undelete {found.id}"
            out.tell(f"deleted {found.name}{again}", output)

        await each(await each(names, begin), end)

    run(work, base_url, api_key, account)


@deployment.command()
@click.argument("name")
@dry_run_option
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


async def _tell_missing(client: Client, made: Deployment, output: str) -> None:
    """Which models of the library are still to be fetched: a replica that starts does so. A hint, as far as it is to be
    had: what was made is told all the same."""
    own, draft = made.base_model if not made.precision else None, made.draft_model if made.draft_token_count else None
    asked = [name for name in (own, draft) if name and name.startswith(f"accounts/{LIBRARY_ACCOUNT}/")]
    for name in asked if output != out.QUIET and not made.simulated else ():
        with suppress(FiredeckError):
            model = await client.models.get(name)
            if model.firedeck is not None and not model.firedeck.on_disk:
                told = f"{model.id} is not here yet: a replica fetches it first, or: firedeck model pull {model.id}"
                out.tell(told, output)


def _tell_kept(client: Client, declared: DeploymentSpec, output: str) -> None:
    if client.context.is_fireworks:
        return
    for told in without_effect(declared):
        out.tell(told, output)


async def _settled(client: Client, changed: Deployment, patience: timedelta | None) -> Deployment:
    """As it is once the change has come about, where somebody waits for that."""
    if patience is None:
        return changed
    return await client.wait.settled(changed.name, patience, teller())


async def _observed(client: Client, d: Deployment) -> dict[str, str]:
    """What holds it up, as far as its status does not tell already, and the hits of its response cache; nothing where
    the server has no routes but the documented ones."""
    try:
        status = await client.fleet.status(d.name)
    except NotFound:
        return {}
    held_up = deployment_text.holding_up(status.conditions, said=d.status.message if d.status else "")
    return {"held_up": held_up, "hits": deployment_text.cache_hits(status.stats)}


async def _hits(client: Client, d: Deployment, output: str) -> str:
    """Of its response cache, where it has one and text is shown."""
    cached = d.firedeck is not None and d.firedeck.response_cache
    return (await _observed(client, d)).get("hits", "") if cached and output == "text" else ""


def _show(d: Deployment, output: str, *, held_up: str = "", hits: str = "") -> None:
    """`held_up`: what keeps it from being as declared, and when there is the next try; `hits`: of its response
    cache."""
    if output == out.QUIET:
        out.say(d.id)
        return
    out.say(out.machine_form(d, output) or deployment_text.text(d, held_up, hits))
