"""`firedeck load-lora`, `unload-lora` and `firedeck deployed-model list|get|update`, with firectl's flags."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import click

from client.addon_types import DeployedModel, DeployedModelSpec
from client.cli import completing
from client.cli import output as out
from client.cli.lists import list_options, show
from client.cli.nouns import Noun
from client.cli.options import check_given, dry_run_option, quiet_option, run, shared
from client.cli.waiting import teller, wait_options
from client.errors import FailedPrecondition, NotFound
from client.listing import ListOptions
from client.names import LIBRARY_ACCOUNT
from client.resources import Client

HEADER = ("NAME", "MODEL", "DEPLOYMENT ID", "STATE", "DEFAULT", "PUBLIC", "CREATE TIME", "STATUS")


@click.group(cls=Noun, name="deployed-model")
def deployed_model() -> None:
    """What is deployed where: base models, and the LoRA adapters beside them."""


@deployed_model.command(name="list")
@list_options("state=DEPLOYED")
@shared
def list_all(asked: ListOptions, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """All deployed models of the account."""

    async def work(client: Client) -> None:
        show(await client.deployed_models.list(**asked), HEADER, _row, output)

    run(work, base_url, api_key, account)


@deployed_model.command()
@click.argument("name")
@quiet_option("Its name alone.")
@shared
def get(name: str, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """One deployed model."""

    async def work(client: Client) -> None:
        _show(await client.deployed_models.get(name), output)

    run(work, base_url, api_key, account)


@deployed_model.command()
@click.argument("name")
@click.option("--default", "default", is_flag=True, default=None, help="Where the model's bare name goes.")
@click.option("--public/--no-public", default=None, help="Reachable by other accounts.")
@click.option("--display-name")
@click.option("--description")
@dry_run_option
@shared
def update(
    name: str, output: str, base_url: str | None, api_key: str | None, account: str | None, **given: bool | str | None
) -> None:
    """Change what is given, nothing else."""
    check_given(given.values())
    changes = DeployedModelSpec.model_validate({key: value for key, value in given.items() if value is not None})

    async def work(client: Client) -> None:
        _show(await client.deployed_models.update(name, changes), output)

    run(work, base_url, api_key, account)


@click.command(name="load-lora")
@click.argument("model", shell_complete=completing.ADAPTERS)
@click.option(
    "--deployment",
    shell_complete=completing.DEPLOYMENTS,
    help="One of the adapter's base, with --enable-addons.  [default: the serverless one of its base]",
)
@click.option("--replace-merged-addon", is_flag=True, help="In place of the one on a hot-reload deployment.")
@dry_run_option
@wait_options("when every replica has it", "30m")
@quiet_option("The deployed model's id alone.")
@shared
def load_lora(
    model: str, deployment: str | None, replace_merged_addon: bool, patience: timedelta | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """Load the LoRA adapter MODEL onto a deployment of its base."""

    async def work(client: Client) -> None:
        where = deployment or await _serverless(client, model)
        made = await client.deployed_models.load(model, where, replace_merged=replace_merged_addon)
        if patience is not None:
            telling = teller(quiet=output == out.QUIET)
            made = await client.wait.loaded(made.name, made.deployment or where, patience, telling)
        _show(made, output)

    run(work, base_url, api_key, account)


@click.command(name="unload-lora")
@click.argument("model", shell_complete=completing.ADAPTERS)
@click.option("--deployment", shell_complete=completing.DEPLOYMENTS, help="Where from, when it is on several.")
@dry_run_option
@wait_options("when no request uses it and no replica has it", "30m")
@quiet_option("Nothing but errors.")
@shared
def unload_lora(
    model: str, deployment: str | None, patience: timedelta | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """Take the LoRA adapter MODEL off its deployment; requests under way end with it."""

    async def work(client: Client) -> None:
        found = await client.deployed_models.of_model(model, deployment)
        if not found:
            raise NotFound(
                f"{model} is not deployed{f' on {deployment}' if deployment else ''}", field="model",
                hint="`firedeck deployed-model list` shows what is",
            )  # fmt: skip
        if len(found) > 1:
            places = ", ".join(str(one.deployment) for one in found)
            raise FailedPrecondition(f"{model} is on {places}", field="deployment", hint="say which with --deployment")
        await client.deployed_models.unload(found[0].name)
        out.tell(f"unloading {found[0].model} from {found[0].deployment}", output)
        if patience is not None:
            await client.wait.unloaded(found[0].name, patience, teller(quiet=output == out.QUIET))

    run(work, base_url, api_key, account)


async def _serverless(client: Client, model: str) -> str:
    """The deployment that all accounts share of the model that the adapter was trained on."""
    adapter = await client.models.get(model)
    base = await client.models.get(adapter.peft_details.base_model if adapter.peft_details else adapter.name)
    if not base.supports_serverless:
        raise FailedPrecondition(
            f"{base.name} is not served serverless here", field="deployment",
            hint="say where to load it with --deployment",
        )  # fmt: skip
    return f"accounts/{LIBRARY_ACCOUNT}/deployments/{base.id}"


def _show(found: DeployedModel, output: str) -> None:
    out.show(found, HEADER, _row, output)


def _row(one: DeployedModel) -> Sequence[str]:
    return (
        one.id, one.model or "", (one.deployment or "").rpartition("/")[2], out.known(one.state),
        "yes" if one.default else "no", "yes" if one.public else "no", out.local_time(one.create_time),
        one.status.message if one.status else "",
    )  # fmt: skip
