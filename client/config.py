"""Which engine, which key, which account: from arguments, the SDKs' environment, or the local engine's folder."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from client.names import LOCAL_ACCOUNT

DEFAULT_PORT = 8700
DEFAULT_BASE_URL = f"http://127.0.0.1:{DEFAULT_PORT}"
ADMIN_KEY_FILE = "admin.key"
URL_FILE = "engine.url"  # where the engine of this folder serves, while it runs


def default_data_dir() -> Path:
    """Where an engine keeps its state unless `--data-dir` says otherwise."""
    return Path(os.environ.get("FIREDECK_DATA_DIR") or platformdirs.user_data_dir("firedeck"))


@dataclass(frozen=True, slots=True)
class Context:
    """One engine and one identity there. `prod` contexts are read-only until unlocked."""

    base_url: str = DEFAULT_BASE_URL
    api_key: str = field(default="", repr=False)
    account: str = LOCAL_ACCOUNT
    name: str = "local"
    prod: bool = False

    @classmethod
    def resolve(cls, base_url: str | None = None, api_key: str | None = None, account: str | None = None) -> Context:
        """Arguments first, then the environment, then the local engine's own files; its key goes to it alone.

        `FIREDECK_CONTEXT` names the engine on the screen; a name that starts with `prod` makes it a `prod` context.
        """
        env = os.environ
        local_url = _local(URL_FILE) or DEFAULT_BASE_URL
        url = _without_inference(base_url or env.get("FIREWORKS_BASE_URL") or local_url)
        theirs, ours = env.get("FIREWORKS_API_KEY"), env.get("FIREDECK_API_KEY")
        # The local engine's key goes to it alone, and there before a key of the real service that happens to be set.
        own = _local(ADMIN_KEY_FILE) if url == local_url else ""
        keys = (theirs, ours, own) if base_url or env.get("FIREWORKS_BASE_URL") else (ours, own, theirs)
        key = api_key or next((key for key in keys if key), "")
        account = account or env.get("FIREWORKS_ACCOUNT_ID") or LOCAL_ACCOUNT
        name = env.get("FIREDECK_CONTEXT") or "local"
        return cls(url, key, account, name, prod=name.startswith("prod"))


def _without_inference(url: str) -> str:
    """SDK users point at `.../inference/v1`; the control plane lies beside it."""
    return url.rstrip("/").removesuffix("/v1").removesuffix("/inference")


def _local(file: str) -> str:
    """A line that the local engine wrote into its folder, or nothing."""
    try:
        return (default_data_dir() / file).read_text().strip()
    except OSError:
        return ""
