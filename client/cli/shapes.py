"""`firedeck deployment-shape list|get` and `firedeck deployment-shape-version list|get`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from client.addon_types import DeploymentShape, DeploymentShapeVersion
from client.cli import output as out
from client.cli.lists import list_options, show
from client.cli.nouns import Noun
from client.cli.options import quiet_option, run, shared
from client.listing import ListOptions
from client.resources import Client

HEADER = ("NAME", "PRESET", "MODEL", "CONTEXT", "SEQUENCES", "DESCRIPTION")
VERSION_HEADER = ("NAME", "VALIDATED", "LATEST", "PUBLIC", "CREATE TIME")

own_option = click.option("--own", is_flag=True, help="Those of this account's models, from the engine's --shapes.")


@click.group(cls=Noun, name="deployment-shape")
def deployment_shape() -> None:
    """Sets of settings that are known to work for a model."""


@deployment_shape.command(name="list")
@list_options("presetType=FAST")
@click.option("--model", help="Only those for this base model.")
@own_option
@shared
def list_all(
    model: str | None, own: bool, asked: ListOptions, output: str, base_url: str | None, api_key: str | None,
    account: str | None,
) -> None:  # fmt: skip
    """The shapes of the library's models."""

    async def work(client: Client) -> None:
        show(await client.shapes.list(model, own=own, **asked), HEADER, _row, output)

    run(work, base_url, api_key, account)


@deployment_shape.command()
@click.argument("name")
@quiet_option("Its name alone.")
@shared
def get(name: str, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """One shape."""

    async def work(client: Client) -> None:
        out.show(await client.shapes.get(name), HEADER, _row, output)

    run(work, base_url, api_key, account)


@click.group(cls=Noun, name="deployment-shape-version")
def deployment_shape_version() -> None:
    """Shapes as they stood at one time."""


@deployment_shape_version.command(name="list")
@list_options("latestValidated=true", "createTime desc")
@click.argument("shape", default="-")
@own_option
@shared
def list_versions(
    shape: str, own: bool, asked: ListOptions, output: str, base_url: str | None, api_key: str | None,
    account: str | None,
) -> None:  # fmt: skip
    """The versions of SHAPE, or of all shapes."""

    async def work(client: Client) -> None:
        show(await client.shapes.versions(shape, own=own, **asked), VERSION_HEADER, _version_row, output)

    run(work, base_url, api_key, account)


@deployment_shape_version.command(name="get")
@click.argument("name")
@quiet_option("Its name alone.")
@shared
def get_version(name: str, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """One version, by its name as `list` shows it."""

    async def work(client: Client) -> None:
        out.show(await client.shapes.version(name), VERSION_HEADER, _version_row, output)

    run(work, base_url, api_key, account)


def _row(shape: DeploymentShape) -> Sequence[str]:
    return (
        shape.name.rpartition("/")[2], out.known(shape.preset_type), shape.base_model,
        str(shape.max_context_length or ""), str(shape.max_batch_size or ""), shape.description or "",
    )  # fmt: skip


def _version_row(version: DeploymentShapeVersion) -> Sequence[str]:
    name = version.name.partition("/deploymentShapes/")[2] or version.name
    yes_no = ("yes" if flag else "no" for flag in (version.validated, version.latest_validated, version.public))
    return (name, *yes_no, out.local_time(version.create_time))
