"""The same as the dashboard shows, for a shell: `firedeck`, `firectl` and `curl` about one deployment. Pure."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from client.config import Context

if TYPE_CHECKING:
    from client.types import Deployment


def lines(deployment: Deployment, context: Context) -> tuple[tuple[str, str], ...]:
    """What it is for, and the line. Keys are named by their variable, never shown."""
    body = {"model": deployment.model_string, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 32}
    # Double quotes let the shell put the key in.
    curl = (
        f"curl {shlex.quote(context.base_url + '/inference/v1/chat/completions')} "
        f'-H "Authorization: Bearer $FIREDECK_API_KEY" -H "Content-Type: application/json" '
        f"-d {shlex.quote(json.dumps(body))}"
    )
    parts = deployment.name.split("/")
    account = parts[1] if len(parts) > 1 else context.account
    return (
        ("model", deployment.model_string),
        ("firedeck", shlex.join(["firedeck", "deployment", "get", deployment.id, "--base-url", context.base_url])),
        ("firectl", shlex.join(["firectl", "deployment", "get", deployment.id, "--account-id", account])),
        (
            "requests",
            shlex.join(["firedeck", "requests", "--deployment", deployment.id, "--base-url", context.base_url]),
        ),
        ("curl", curl),
    )
