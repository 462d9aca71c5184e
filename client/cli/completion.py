"""`firedeck completion`: the script that makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from client.cli.examples import epilog

SHELLS = ("bash", "zsh", "fish")


@click.command(epilog=epilog("firedeck completion bash", "firedeck completion fish"))
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that completes commands and options in your shell: for bash, append it to ~/.bashrc."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(kind(ctx.find_root().command, {}, "firedeck", "_FIREDECK_COMPLETE").source())
