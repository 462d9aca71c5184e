"""The engine's commands that need no engine to run: `firedeck backup` and `firedeck model pull`."""

from __future__ import annotations

import io
import re
import shlex
import sys
from pathlib import Path

import click

from client.cli import exits
from client.cli.examples import epilog
from client.config import default_data_dir
from client.errors import FiredeckError, InvalidArgument


@click.command(epilog=epilog("firedeck backup ~/firedeck-backup"))
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--data-dir", type=click.Path(path_type=Path), help="Whose state.  [default: the user's own]")
def backup(folder: Path, data_dir: Path | None) -> None:
    """Copy the engine's state into the new FOLDER, also while it runs.

    The copy is a data folder: `firedeck serve --data-dir FOLDER` starts from it. It holds the keys, so keep it private.
    Model files are not copied.
    """
    from engine.backup import back_up

    source = (data_dir or default_data_dir()).expanduser().absolute()
    try:
        made = back_up(source, folder.expanduser().absolute())
    except FiredeckError as error:
        click.echo(f"firedeck backup: {error.text}", err=True)
        sys.exit(1)
    click.echo(f"{source} was copied to {made.folder}: {made.size_bytes} bytes, checked")
    click.echo(f"restore: firedeck serve --data-dir {shlex.quote(str(made.folder))}")
    for file in made.left_out:
        click.echo(f"not copied: {file}", err=True)


def _sha256(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch("[0-9a-f]{64}", value.lower()):
        raise click.BadParameter("a SHA-256 is 64 hexadecimal digits")
    return value.lower() if value else None


@click.command(
    epilog=epilog(
        "firedeck model pull smollm2-135m-instruct",
        "firedeck model pull hf:ORG/REPO/FILE.gguf",
        f"firedeck model pull https://example.com/model.gguf --sha256 {'0123456789abcdef' * 4}",
        "firedeck model pull -q hf:ORG/REPO@REVISION/FILE.gguf",
    )
)
@click.argument("model")
@click.option("--sha256", callback=_sha256, help="What the file has to be; one that is here already is read for it.")
@click.option("-q", "--quiet", is_flag=True, help="The file's path alone.")
def pull(model: str, sha256: str | None, quiet: bool) -> None:
    """Fetch MODEL into the cache folder: a library model, hf:ORG/REPO/FILE.gguf (of the hub), an address or a path.

    One that was interrupted goes on where it was. Of a hub's file the commit is kept: fetched again, it is of that one.
    The file of a hub or an address is then made a model of your own with `firedeck model create ID --file PATH`.
    """
    from engine.models import catalogue
    from engine.models.__main__ import fetch_one

    try:
        entry = catalogue.sourced(model, sha256)
    except InvalidArgument as error:
        raise click.UsageError(error.text) from None
    except FiredeckError as error:
        raise click.ClickException(error.text) from None
    try:
        path = fetch_one(entry, io.StringIO() if quiet else sys.stderr, verified=sha256 is not None)
    except FiredeckError as error:
        click.echo(f"error: {error.text}", err=True)
        sys.exit(exits.FAILED)
    if quiet:
        click.echo(path)
