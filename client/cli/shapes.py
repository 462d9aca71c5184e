"""`firedeck deployment-shape list|get`."""

from __future__ import annotations

import click

from client.addon_types import DeploymentShape
from client.cli import output as out
from client.cli.options import run, shared
from client.resources import Client

HEADER = ("NAME", "PRESET", "MODEL", "CONTEXT", "SEQUENCES", "DESCRIPTION")


@click.group(name="deployment-shape")
def deployment_shape() -> None:
    """Sets of settings that are known to work for a model."""


@deployment_shape.command(name="list")
@click.option("--model", help="Only those for this base model.")
@shared
def list_all(model: str | None, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """The library's shapes."""

    async def work(client: Client) -> None:
        _show(await client.shapes.list(model), output)

    run(work, base_url, api_key, account)


@deployment_shape.command()
@click.argument("name")
@shared
def get(name: str, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """One shape."""

    async def work(client: Client) -> None:
        _show([await client.shapes.get(name)], output)

    run(work, base_url, api_key, account)


def _show(found: list[DeploymentShape], output: str) -> None:
    if output == "json":
        out.say(out.as_json(found))
        return
    rows = [
        (
            shape.name.rpartition("/")[2], shape.preset_type or "", shape.base_model,
            str(shape.max_context_length or ""), str(shape.max_batch_size or ""), shape.description or "",
        )
        for shape in found
    ]  # fmt: skip
    out.say(out.table(HEADER, rows))
