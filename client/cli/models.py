"""`firedeck model list|get|create|update|prepare|upload|download|delete|pull`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from client import files
from client.cli import completing, finding, model_text, precisions, rehearsal
from client.cli import output as out
from client.cli.grammar import Announced
from client.cli.instants import DATE
from client.cli.lists import list_options, show
from client.cli.options import check_given, delete_each, dry_run_option, names_argument, quiet_option, run, shared
from client.errors import NotFound
from client.files import Progress, unwatched
from client.listing import ListOptions
from client.model_types import Model, ModelSpec, PeftDetails
from client.names import LIBRARY_ACCOUNT
from client.resources import Client


@click.command(cls=Announced, entry_points="firedeck.commands.model")
def model() -> None:
    """Models: the library's and your own GGUF files."""


def _described(command: Any) -> Any:
    """What can be said of a model that no file says."""
    for option in reversed(_DESCRIPTION):
        command = option(command)
    return command


_DESCRIPTION = (
    click.option("--display-name"),
    click.option("--description"),
    click.option("--public/--no-public", default=None, help="Whether other accounts may use it."),
    click.option(
        "--default-draft-model",
        shell_complete=completing.MODELS,
        help="What drafts for it where a deployment says nothing.",
    ),
    click.option("--default-draft-token-count", type=click.IntRange(0, 31)),
    click.option("--github-url"),
    click.option("--hugging-face-url"),
    click.option("--supports-tools/--no-supports-tools", default=None),
)


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
        _tell_deprecated(found, output)

    run(work, base_url, api_key, account)


@model.command()
@click.argument("name", shell_complete=completing.MODELS)
@quiet_option("Its name alone.")
@shared
def get(name: str, output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """One model, with the precisions that it was prepared in."""

    async def work(client: Client) -> None:
        found = await finding.model(client, name)
        model_text.show(found, output)
        _tell_deprecated([found], output)

    run(work, base_url, api_key, account)


@model.command()
@click.argument("model_id")
@click.argument("path", required=False)
@click.option(
    "--file", help="PATH: a GGUF file, or a folder as transformers or PEFT save one, on the engine's machine."
)
@click.option("--base-model", help="What a LoRA adapter was trained on; for adapters alone.")
@_described
@dry_run_option
@quiet_option("The new model's full name alone.")
@shared
def create(
    model_id: str, path: str | None, file: str | None, base_model: str | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None, **described: Any,
) -> None:  # fmt: skip
    """Make a GGUF file of your own a model, or a LoRA adapter of one. The file stays where it is.

    PATH may be the folder of an adapter that PEFT has saved, or of a model that transformers have saved (config,
    safetensors, tokenizer): the engine makes a GGUF file of it. `firedeck docs models` has the families.
    """
    given = [one for one in (path, file) if one is not None]
    if len(given) != 1:
        raise click.UsageError("give the file once: firedeck model create MODEL_ID PATH")
    whole = os.path.abspath(os.path.expanduser(given[0]))  # the engine's own folder is another one
    spec = _spec(described)

    async def work(client: Client) -> None:
        made = await client.models.create_from_file(model_id, whole, base_model=base_model, described=spec)
        model_text.show(made, output)

    run(work, base_url, api_key, account)


@model.command()
@click.argument("name", shell_complete=completing.OWN_MODELS)
@click.option("--deprecation-date", type=DATE, help="From this day on nobody deploys it anew, e.g. 2027-12-31.")
@_described
@dry_run_option
@quiet_option("Its name alone.")
@shared
def update(
    name: str, output: str, base_url: str | None, api_key: str | None, account: str | None, **given: Any
) -> None:
    """Change what is given, nothing else."""
    check_given(given.values())
    changes = _spec(given)

    async def work(client: Client) -> None:
        model_text.show(await client.models.update(name, changes), output)

    run(work, base_url, api_key, account)


@model.command()
@click.argument("model_id", shell_complete=completing.OWN_MODELS)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--base-model", help="What a LoRA adapter was trained on; for adapters alone.")
@_described
@dry_run_option
@quiet_option("The model's full name alone.")
@shared
def upload(
    model_id: str, path: Path, base_model: str | None, output: str,
    base_url: str | None, api_key: str | None, account: str | None, **described: Any,
) -> None:  # fmt: skip
    """Send PATH, a GGUF file or a folder of files, to the engine and make it a model; the engine may be elsewhere.

    A model of this id that is still UPLOADING gets the files; where there is none it is made.
    """
    adapter = {
        "kind": "HF_PEFT_ADDON",
        "peft_details": PeftDetails(base_model=base_model or "", r=0, target_modules=[]),
    }
    spec = _spec(described | (adapter if base_model else {}))

    if not path.exists():
        raise click.BadParameter(f"there is no {path}", param_hint="PATH")

    if rehearsal.is_wanted():
        for one in files.within(path):
            out.tell(f"to be sent: {one.name}, {out.size(files.size_of(one))}", output)

    async def work(client: Client) -> None:
        try:
            found = await client.models.get(model_id)
        except NotFound:
            found = await client.models.create(model_id, spec)
        checked = await client.models.upload(found.name, path, _watched(output))
        for warning in checked.warnings:
            out.tell(f"warning: {warning}", output)
        model_text.show(await client.models.get(found.name), output)

    run(work, base_url, api_key, account)


@model.command()
@click.argument("name", shell_complete=completing.MODELS)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
@quiet_option("Nothing but the files' paths.")
@shared
def download(
    name: str, folder: Path, output: str, base_url: str | None, api_key: str | None, account: str | None
) -> None:
    """Fetch the files of a model into FOLDER; one that was interrupted goes on where it was."""
    folder.mkdir(parents=True, exist_ok=True)

    async def work(client: Client) -> None:
        found = await finding.model(client, name)
        for file in await client.models.download(found.name, folder, _watched(output)):
            out.say(str(file))

    run(work, base_url, api_key, account)


def _spec(given: dict[str, Any]) -> ModelSpec:
    return ModelSpec.model_validate({key: value for key, value in given.items() if value is not None})


def _tell_deprecated(models: Sequence[Model], output: str) -> None:
    for one in models:
        if (day := one.deprecation_date) is not None and day.year:
            when = f"{day.year}-{day.month or 1:02}-{day.day or 1:02}"
            ends = f"leaves serverless on {when}" if one.supports_serverless else f"is deprecated from {when} on"
            out.tell(f"{one.id} {ends}", output)


def _watched(output: str) -> Progress:
    """A transfer's progress, drawn over itself where somebody watches."""
    if output == out.QUIET or not sys.stderr.isatty():
        return unwatched

    def tell(done_bytes: int, total_bytes: int | None) -> None:
        of = f" of {out.size(total_bytes)}" if total_bytes is not None else ""
        click.echo(f"\r{out.size(done_bytes)}{of}\x1b[K", nl=done_bytes == total_bytes, err=True)

    return tell


@model.command()
@names_argument(complete=completing.OWN_MODELS)
@dry_run_option
@quiet_option("Nothing but errors.")
@shared
def delete(names: tuple[str, ...], output: str, base_url: str | None, api_key: str | None, account: str | None) -> None:
    """Forget a model; its file stays."""

    async def work(client: Client) -> None:
        await delete_each(names, client.models.delete, output)

    run(work, base_url, api_key, account)


model.add_command(precisions.prepare)
