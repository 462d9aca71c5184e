"""The `firedeck` command."""

from __future__ import annotations

import importlib.metadata

import click

from client.cli.bench import bench
from client.cli.deployed_models import deployed_model, load_lora, unload_lora
from client.cli.deployments import deployment
from client.cli.grammar import Fireworks
from client.cli.models import model
from client.cli.shapes import deployment_shape


@click.command(
    cls=Fireworks, entry_points="firedeck.commands", context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(importlib.metadata.version("firedeck"), prog_name="firedeck")
def main() -> None:
    """Fireworks-style dedicated LLM deployments on your own machines.

    Without a command: the dashboard, on the current engine. Verbs may come first, as in firectl:
    `firedeck create deployment MODEL` is `firedeck deployment create MODEL`.
    """


main.add_command(bench)
main.add_command(deployed_model)
main.add_command(deployment)
main.add_command(deployment_shape)
main.add_command(load_lora)
main.add_command(model)
main.add_command(unload_lora)
