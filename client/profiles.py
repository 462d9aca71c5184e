"""Profiles: engines and keys kept under a name, in an INI file with firectl's names of settings.

[default]
base_url = https://llm.example.com
api_key = fw_...
account_id = acme

data   Profile               an engine, the key that goes to it, and the account there
verbs  read, write, forget   of the file `auth.ini` in a folder, which its owner alone may read; a file that cannot be
                             understood is passed over by `read` alone, and never written over
near   `client.config.Context.resolve` chooses, `firedeck signin --profile NAME` writes
"""

from __future__ import annotations

import configparser
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from client.errors import FailedPrecondition, InvalidArgument

FILE = "auth.ini"
FORMER = "signin.json"  # what signin kept before there were profiles: `default`, as long as there is no auth.ini
DEFAULT = "default"  # the profile of who names none
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Profile:
    name: str
    base_url: str
    api_key: str = field(repr=False)
    account: str


def check_name(name: str) -> str:
    """`name` itself; InvalidArgument where a file could not have it."""
    if not _NAME.fullmatch(name):
        hint = "use letters, digits and . _ -, at most 63 of them"
        raise InvalidArgument(f"{name[:80]!r} is no name for a profile", field="profile", hint=hint)
    return name


def read(folder: Path) -> dict[str, Profile]:
    """All that there are, by name; what is not whole, or no such file at all, is as if nobody had written it."""
    try:
        parser = _parsed(folder)
    except FailedPrecondition:
        return {}
    found = {name: section for name, section in parser.items() if section.get("base_url")}
    return {
        name: Profile(name, section["base_url"], section.get("api_key", ""), section.get("account_id", ""))
        for name, section in found.items()
    }


def write(folder: Path, profile: Profile) -> Path:
    """The others in the file stay; FailedPrecondition where there is a file that cannot be understood."""
    parser = _parsed(folder)
    settings = {"base_url": profile.base_url, "api_key": profile.api_key, "account_id": profile.account}
    parser[check_name(profile.name)] = settings
    return _written(folder, parser)


def forget(folder: Path, name: str) -> bool:
    """Whether it was there; FailedPrecondition as in `write`."""
    parser = _parsed(folder)
    was = parser.remove_section(name)
    if was:
        _written(folder, parser)
    former = folder / FORMER
    if name == DEFAULT and former.exists():
        former.unlink()
        return True
    return was


def _parsed(folder: Path) -> configparser.ConfigParser:
    """What the file says; without a file, nothing. FailedPrecondition where that cannot be told."""
    # Keys may have any character: nothing is interpolated. No section is every other's default.
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    file = folder / FILE
    try:
        parser.read_string(file.read_text(), source=FILE)
    except FileNotFoundError:
        parser.read_dict(_former(folder))
    except (OSError, ValueError, configparser.Error) as error:
        # An error in a line has that line, and the line may have a key: no more is told than where it is.
        line = getattr(error, "lineno", None) or next((at for at, _ in getattr(error, "errors", ())), None)
        why = error.strerror if isinstance(error, OSError) else f"line {line}" if line else "not as such a file is"
        hint = "mend that file, or move it away, and try again; it is left as it is, for the keys in it"
        raise FailedPrecondition(f"the profiles in {file} cannot be read: {why}", hint=hint) from None
    return parser


def _former(folder: Path) -> dict[str, dict[str, str]]:
    """What the former file says, as sections; nothing where there is none, or none that signin wrote."""
    try:
        kept = json.loads((folder / FORMER).read_text())
        settings = {"base_url": kept["base_url"], "api_key": kept["api_key"], "account_id": kept["account"]}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return {DEFAULT: settings} if all(isinstance(value, str) for value in settings.values()) else {}


def _written(folder: Path, parser: configparser.ConfigParser) -> Path:
    """Appears whole, readable by its owner alone."""
    file = folder / FILE
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_suffix(".new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        parser.write(out)
    draft.replace(file)
    return file
