"""`firedeck model list|get|create|prepare|delete|pull`."""

from __future__ import annotations

import os

import click

from client.cli import output as out
from client.cli import precisions
from client.cli.grammar import Announced
from client.cli.lists import list_options, show
from client.cli.options import delete_each, names_argument, quiet_option, run, shared
from client.listing import ListOptions
from client.names import LIBRARY_ACCOUNT
from client.resources import Client


@click.command(cls=Announced, entry_points="firedeck.commands.model")
def model() -> None:
    """Models: the library's and your own GGUF files."""


@model.command(name="list")
@list_options('displayName="chat"', "createTime desc")
@shared
def list_all(asked: ListOptions, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """The library's models and the account's own; pages are of the account's own (`-a fireworks`: the library's)."""
    paged = bool(asked.get("page_size") or asked.get("page_token"))

    async def work(client: Client) -> None:
        found = await client.models.list(**asked)
        if not paged and client.context.account != LIBRARY_ACCOUNT:
            library = await client.models.list(LIBRARY_ACCOUNT, **asked)
            found[:0], found.total_size = library, library.total_size + found.total_size
        show(found, out.MODEL_HEADER, out.model_row, output)

    run(work, base_url, api_key, account)


@model.command()
@click.argument("name")
@quiet_option("Its name alone.")
@shared
def get(name: str, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """One model, with the precisions that it was prepared in."""

    async def work(client: Client) -> None:
        found = await client.models.get(name)
        out.show(found, out.MODEL_HEADER, out.model_row, output, precisions.text(found))

    run(work, base_url, api_key, account)


@model.command()
@click.argument("model_id")
@click.argument("path", required=False)
@click.option(
    "--file", help="PATH: a GGUF file, or a folder as transformers or PEFT save one, on the engine's machine."
)
@click.option("--display-name")
@click.option("--base-model", help="What a LoRA adapter was trained on; for adapters alone.")
@quiet_option("The new model's full name alone.")
@shared
def create(
    model_id: str, path: str | None, file: str | None, display_name: str | None, base_model: str | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None,
) -> None:  # fmt: skip
    """Make a GGUF file of your own a model, or a LoRA adapter of one. The file stays where it is.

    PATH may be the folder of an adapter that PEFT has saved, or of a model of the llama family that transformers have
    saved (config, safetensors, tokenizer): the engine makes a GGUF file of it.
    """
    given = [one for one in (path, file) if one is not None]
    if len(given) != 1:
        raise click.UsageError("give the file once: firedeck model create MODEL_ID PATH")
    whole = os.path.abspath(os.path.expanduser(given[0]))  # the engine's own folder is another one

    async def work(client: Client) -> None:
        made = await client.models.create_from_file(model_id, whole, display_name, base_model)
        out.show(made, out.MODEL_HEADER, out.model_row, output)

    run(work, base_url, api_key, account)


@model.command()
@names_argument()
@quiet_option("Nothing but errors.")
@shared
def delete(names: tuple[str, ...], output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """Forget a model; its file stays."""

    async def work(client: Client) -> None:
        await delete_each(names, client.models.delete, output)

    run(work, base_url, api_key, account)


model.add_command(precisions.prepare)
