"""The `firedeck` command."""

from __future__ import annotations

import click

from client.cli.grammar import Fireworks

# Each is imported when it is typed: all of them together take three times as long as the one that is meant.
COMMANDS = {
    "account": "client.cli.accounts:account",
    "alerts": "client.cli.fleet:alerts",
    "api-key": "client.cli.users:api_key",
    "audit-logs": "client.cli.audit:audit_logs",
    "bench": "client.cli.bench:bench",
    "completion": "client.cli.completion:completion",
    "deployed-model": "client.cli.deployed_models:deployed_model",
    "deployment": "client.cli.deployments:deployment",
    "deployment-shape": "client.cli.shapes:deployment_shape",
    "deployment-shape-version": "client.cli.shapes:deployment_shape_version",
    "docs": "client.cli.docs:docs",
    "event": "client.cli.fleet:event",
    "explain": "client.cli.requests:explain",
    "guard": "client.cli.guards:guard",
    "load-lora": "client.cli.deployed_models:load_lora",
    "model": "client.cli.models:model",
    "node": "client.cli.fleet:node",
    "profile": "client.cli.signin:profile",
    "quota": "client.cli.quotas:quota",
    "requests": "client.cli.requests:requests",
    "router": "client.cli.routers:router",
    "secret": "client.cli.secrets:secret",
    "signin": "client.cli.signin:signin",
    "signout": "client.cli.signin:signout",
    "unload-lora": "client.cli.deployed_models:unload_lora",
    "usage": "client.cli.usage:usage",
    "user": "client.cli.users:user",
    "version": "client.cli.signin:version",
    "whoami": "client.cli.users:whoami",
}


@click.command(
    cls=Fireworks,
    places=COMMANDS,
    entry_points="firedeck.commands",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="firedeck", prog_name="firedeck")
def main() -> None:
    """Fireworks-style dedicated LLM deployments on your own machines.

    Without a command: the dashboard, on the current engine. Verbs may come first, as in firectl:
    `firedeck create deployment MODEL` is `firedeck deployment create MODEL`.
    """
