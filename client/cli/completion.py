"""`firedeck completion SHELL`: what makes a shell complete firedeck's commands, nouns and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

PROGRAM, VARIABLE = "firedeck", "_FIREDECK_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what SHELL is to read, so that it completes what is typed after `firedeck`.

    In ~/.bashrc: eval "$(firedeck completion bash)"; zsh likewise; fish: write it into its folder of completions.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, PROGRAM, VARIABLE).source())
