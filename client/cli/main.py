"""The `firedeck` command."""

from __future__ import annotations

import importlib.metadata

import click

from client.cli.accounts import account
from client.cli.audit import audit_logs
from client.cli.bench import bench
from client.cli.completion import completion
from client.cli.deployed_models import deployed_model, load_lora, unload_lora
from client.cli.deployments import deployment
from client.cli.docs import docs
from client.cli.examples import attach
from client.cli.fleet import alerts, event, node
from client.cli.grammar import Fireworks
from client.cli.guards import guard
from client.cli.models import model
from client.cli.quotas import quota
from client.cli.requests import explain, requests
from client.cli.routers import router
from client.cli.secrets import secret
from client.cli.shapes import deployment_shape, deployment_shape_version
from client.cli.signin import profile, signin, signout, version
from client.cli.usage import usage
from client.cli.users import api_key, user, whoami


@click.command(
    cls=Fireworks, entry_points="firedeck.commands", context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(importlib.metadata.version("firedeck"), prog_name="firedeck")
def main() -> None:
    """Fireworks-style dedicated LLM deployments on your own machines.

    Without a command: the dashboard, on the current engine. Verbs may come first, as in firectl:
    `firedeck create deployment MODEL` is `firedeck deployment create MODEL`.
    """


for command in (
    account, alerts, api_key, audit_logs, bench, completion, deployed_model, deployment, deployment_shape,
    deployment_shape_version, docs, event, explain, guard, load_lora, model, node, profile, quota, requests, router,
    secret, signin, signout, unload_lora, usage, user, version, whoami,
):  # fmt: skip
    main.add_command(command)
attach(main)
