"""Which engine, which key, which account: from arguments, the SDKs' environment, or the local engine's folder."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from client.names import LOCAL_ACCOUNT

DEFAULT_PORT = 8700
DEFAULT_BASE_URL = f"http://127.0.0.1:{DEFAULT_PORT}"
ADMIN_KEY_FILE = "admin.key"
URL_FILE = "engine.url"  # where the engine of this folder serves, while it runs
SIGN_IN_FILE = "signin.json"  # which engine commands ask, and with which key, where nobody says otherwise
KEY_VARIABLES = ("FIREDECK_API_KEY", "FIREWORKS_API_KEY")  # the first one that is set is taken


def default_data_dir() -> Path:
    """Where an engine keeps its state unless `--data-dir` says otherwise."""
    return Path(os.environ.get("FIREDECK_DATA_DIR") or platformdirs.user_data_dir("firedeck"))


@dataclass(frozen=True, slots=True)
class Context:
    """One engine and one identity there. `prod` contexts are read-only until unlocked.

    `key_note` says where the key came from, and how to come to the local engine's own: for who is refused with it.
    """

    base_url: str = DEFAULT_BASE_URL
    api_key: str = field(default="", repr=False)
    account: str = LOCAL_ACCOUNT
    name: str = "local"
    prod: bool = False
    key_note: str = field(default="", repr=False, compare=False)

    @classmethod
    def resolve(cls, base_url: str | None = None, api_key: str | None = None, account: str | None = None) -> Context:
        """Arguments first, then the environment, then the local engine's own files; its key goes to it alone.

        A key that anybody has given is the one used, wherever it goes: who asks as somebody must never be answered as
        the admin. Of the environment, `FIREDECK_API_KEY` goes before `FIREWORKS_API_KEY`; an empty one is none. What
        `firedeck signin` keeps comes after it, its key for its engine alone.
        `FIREDECK_CONTEXT` names the engine on the screen; a name that starts with `prod` makes it a `prod` context.
        """
        env = os.environ
        local_url = _line(default_data_dir() / URL_FILE) or DEFAULT_BASE_URL
        signed = SignIn.read() or SignIn(local_url, "", "")
        url = _without_inference(base_url or env.get("FIREWORKS_BASE_URL") or signed.base_url)
        key, note = _key_of(api_key, default_data_dir() / ADMIN_KEY_FILE if url == local_url else None)
        account = account or env.get("FIREWORKS_ACCOUNT_ID") or (signed.account if url == signed.base_url else "")
        if url == signed.base_url and signed.api_key and api_key is None and not _named():
            key, note = signed.api_key, "the key is that of firedeck signin; firedeck signout forgets it"
        name = env.get("FIREDECK_CONTEXT") or "local"
        return cls(url, key, account or LOCAL_ACCOUNT, name, prod=name.startswith("prod"), key_note=note)


@dataclass(frozen=True, slots=True)
class SignIn:
    """What `firedeck signin` keeps: the engine that is asked unless another is named, and the key that goes to it."""

    base_url: str
    api_key: str = field(repr=False)
    account: str

    @classmethod
    def read(cls) -> SignIn | None:
        text = _line(default_data_dir() / SIGN_IN_FILE)
        try:
            return cls(**json.loads(text)) if text else None
        except (ValueError, TypeError):
            return None  # not written by us: as if nobody had signed in

    def write(self) -> Path:
        """Readable by its owner alone."""
        file = default_data_dir() / SIGN_IN_FILE
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = file.with_suffix(".new")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            json.dump({"base_url": self.base_url, "api_key": self.api_key, "account": self.account}, out)
        draft.replace(file)
        return file

    @staticmethod
    def forget() -> bool:
        """Whether somebody had signed in."""
        file = default_data_dir() / SIGN_IN_FILE
        was = file.exists()
        file.unlink(missing_ok=True)
        return was


def _named() -> list[str]:
    """The variables that give a key."""
    return [name for name in KEY_VARIABLES if os.environ.get(name)]


def _key_of(given: str | None, local: Path | None) -> tuple[str, str]:
    """The key, and what to tell who is refused with it. `local`: the local engine's own, where that engine is asked."""
    own = _line(local) if local else ""
    if given is not None:
        return given, "the key is that of --api-key"
    named = _named()
    if not named:
        return own, f"the key is that of {local}; an engine started with FIREDECK_API_KEY has that" if own else ""
    without = " ".join(f"-u {name}" for name in named)
    file = shlex.quote(str(local))
    remedy = f"; for the local engine's own: env {without} firedeck ..., or FIREDECK_API_KEY=$(cat {file})"
    return os.environ[named[0]], f"the key is that of the variable {named[0]}{remedy if own else ''}"


def _without_inference(url: str) -> str:
    """SDK users point at `.../inference/v1`; the control plane lies beside it."""
    return url.rstrip("/").removesuffix("/v1").removesuffix("/inference")


def _line(file: Path) -> str:
    """A line that the local engine wrote into its folder, or nothing."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""
