"""Which engine, which key, which account: of arguments, profiles, the environment, or the local engine."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import platformdirs

from client import profiles
from client.errors import InvalidArgument
from client.names import LOCAL_ACCOUNT
from client.profiles import Profile

FIREWORKS_HOST = "api.fireworks.ai"
DEFAULT_PORT = 8700
DEFAULT_BASE_URL = f"http://127.0.0.1:{DEFAULT_PORT}"
ADMIN_KEY_FILE = "admin.key"
URL_FILE = "engine.url"  # where the engine of this folder serves, while it runs
SIMULATED_FOLDER = "simulated"  # below the default folder: a simulated fleet's state
PROFILE_VARIABLE = "FIREDECK_PROFILE"
KEY_VARIABLES = ("FIREDECK_API_KEY", "FIREWORKS_API_KEY")  # the first one that is set is taken
OTHER_KEY = "an engine started with FIREDECK_API_KEY has that"
WITHOUT_KEY = "give one with --api-key or FIREDECK_API_KEY, or keep one: firedeck signin --base-url URL"


def default_data_dir() -> Path:
    """Where an engine keeps its state unless `--data-dir` says otherwise."""
    return Path(os.environ.get("FIREDECK_DATA_DIR") or platformdirs.user_data_dir("firedeck"))


def is_fireworks(base_url: str) -> bool:
    """Whether it leads to Fireworks' own API, and not to an engine of one's own."""
    try:
        return urlsplit(base_url).hostname == FIREWORKS_HOST
    except ValueError:
        return False  # no URL at all: whoever connects says so


def check_url(base_url: str) -> None:
    """Raises InvalidArgument where nobody can be reached by it."""
    try:
        fault = _fault_of(urlsplit(base_url))
    except ValueError as error:  # of a bracket that nothing closes
        fault = str(error)
    if fault:
        raise InvalidArgument(f"{base_url!r} is not a URL: {fault}", hint="write http://HOST:PORT")


def _fault_of(parts: SplitResult) -> str:
    if parts.scheme not in ("http", "https"):
        return "it begins with neither http:// nor https://"
    if not parts.hostname:
        return "it names no host"
    try:
        return "there is no such port" if parts.port == 0 else ""
    except ValueError:
        return "there is no such port"


@dataclass(frozen=True, slots=True)
class Context:
    """One engine and one identity there. `prod` contexts are read-only until unlocked.

    `key_note` says where the key came from, and how to come to the local engine's own: for who is refused with it;
    `absent_note` where an engine is that may be meant, for who gets no answer.
    """

    base_url: str = DEFAULT_BASE_URL
    api_key: str = field(default="", repr=False)
    account: str = LOCAL_ACCOUNT
    name: str = "local"
    prod: bool = False
    key_note: str = field(default="", repr=False, compare=False)
    absent_note: str = field(default="", repr=False, compare=False)

    @property
    def is_fireworks(self) -> bool:
        return is_fireworks(self.base_url)

    @classmethod
    def resolve(
        cls, base_url: str | None = None, api_key: str | None = None, account: str | None = None,
        profile: str | None = None,
    ) -> Context:  # fmt: skip
        """Arguments first, then a profile that is named, the environment, the profile `default`, and the local
        engine's own files; a key goes to the engine alone that it was kept for.

        A key that anybody has given is the one used, wherever it goes: who asks as somebody must never be answered as
        the admin. Of the environment, `FIREDECK_API_KEY` goes before `FIREWORKS_API_KEY`; an empty one is none.
        `FIREDECK_PROFILE` names a profile too; InvalidArgument where there is none of the name.
        `FIREDECK_CONTEXT` names the engine on the screen, or else the profile does; either name makes it a `prod`
        context by starting with `prod`.
        """
        env, folder = os.environ, default_data_dir()
        local_url = _line(folder / URL_FILE) or DEFAULT_BASE_URL
        asked = profile or env.get(PROFILE_VARIABLE)
        named = asked if asked != profiles.DEFAULT else None  # as if nobody had named one
        kept = _profile_of(named, folder, needed=not base_url or api_key is None)

        def first(given: str | None, variable: str, of_profile: str) -> str:
            environment = env.get(variable)
            after = (of_profile, environment) if named else (environment, of_profile)
            return given or after[0] or after[1] or ""

        url = _without_inference(first(base_url, "FIREWORKS_BASE_URL", kept.base_url if kept else "") or local_url)
        mine = kept if kept and url == _without_inference(kept.base_url) else None
        account = first(account, "FIREWORKS_ACCOUNT_ID", mine.account if mine else "")
        key, note = _key_of(api_key, folder / ADMIN_KEY_FILE if url == local_url else None)
        if mine and mine.api_key and api_key is None and (named or not _given_keys()):
            key, note = mine.api_key, f"the key is that of the profile {mine.name}; firedeck signin keeps another"
        name = env.get("FIREDECK_CONTEXT") or named or "local"
        absent = _simulated_beside(folder) if url == local_url else ""
        prod = any(one.startswith("prod") for one in (name, named or ""))
        return cls(url, key, account or LOCAL_ACCOUNT, name, prod, key_note=note, absent_note=absent)


def _profile_of(named: str | None, folder: Path, *, needed: bool) -> Profile | None:
    """The one that is named, or `default` where there is such. InvalidArgument where it is `needed` and missing."""
    there = profiles.read(folder)
    found = there.get(named or profiles.DEFAULT)
    if named and found is None and needed:
        known = f"there are {', '.join(sorted(there))}" if there else "there is none yet"
        hint = f"{known}; firedeck signin --profile {named} makes it"
        raise InvalidArgument(f"there is no profile {named!r}", field="profile", hint=hint)
    return found


def _given_keys() -> list[str]:
    """The variables that give a key."""
    return [name for name in KEY_VARIABLES if os.environ.get(name)]


def _key_of(given: str | None, local: Path | None) -> tuple[str, str]:
    """The key, and what to tell who is refused with it. `local`: the local engine's own, where that engine is asked."""
    own = _line(local) if local else ""
    if given is not None:
        return given, "the key is that of --api-key"
    named = _given_keys()
    if not named:
        return own, f"the key is that of {local}; {OTHER_KEY}" if own else WITHOUT_KEY
    without = " ".join(f"-u {name}" for name in named)
    file = shlex.quote(str(local))
    remedy = f"; for the local engine's own: env {without} firedeck ..., or FIREDECK_API_KEY=$(cat {file})"
    return os.environ[named[0]], f"the key is that of the variable {named[0]}{remedy if own else ''}"


def _simulated_beside(folder: Path) -> str:
    """Of an engine with a simulated fleet, which keeps its state in a folder of its own below `folder`."""
    own = folder / SIMULATED_FOLDER
    url = _line(own / URL_FILE)
    return f"one with a simulated fleet was started at {url}: FIREDECK_DATA_DIR={shlex.quote(str(own))}" if url else ""


def _without_inference(url: str) -> str:
    """SDK users point at `.../inference/v1`; the control plane lies beside it."""
    return url.rstrip("/").removesuffix("/v1").removesuffix("/inference")


def _line(file: Path) -> str:
    """A line that the local engine wrote into its folder, or nothing."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""
