"""The dashboard's config file: TOML, read once at start. Every setting has a default, every slip a sentence."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

import platformdirs

from client.config import Context
from client.errors import InvalidArgument
from tui.core.keys import Keys
from tui.core.series import Symbols

CONFIG_VARIABLE = "FIREDECK_DASHBOARD_CONFIG"
COLOURS = {
    "blue": "healthy",
    "cyan": "working",
    "orange": "attention",
    "red": "failed",
    "grey": "idle",
    "violet": "neutral",
}


@dataclass(frozen=True, slots=True)
class ContextSettings:
    """One place to look at: `[contexts.NAME]`. The key is read from a variable or a file, never written here."""

    base_url: str = ""
    account: str = ""
    api_key_env: str = ""
    api_key_file: str = ""
    prod: bool = False
    colour: str = ""
    prometheus: str = ""  # the URL of the server that has its charts' history
    prometheus_labels: Mapping[str, str] = field(default_factory=dict)  # of its series there, where it has others too

    def resolved(self, name: str) -> Context:
        """The engine and the identity there; what is not set here comes from where it always does."""
        key = os.environ.get(self.api_key_env) if self.api_key_env else _line(self.api_key_file)
        if key is None:
            raise InvalidArgument(f"[contexts.{name}] {self.api_key_env} is not set", hint="export it, or use a file")
        found = Context.resolve(self.base_url or None, key or None, self.account or None)
        return replace(found, name=name, prod=self.prod)


def _line(file: str) -> str:
    if not file:
        return ""
    try:
        return Path(file).expanduser().read_text().strip()
    except OSError as error:
        raise InvalidArgument(f"{file} cannot be read: {error}", hint="it holds the key of a context") from None


@dataclass(frozen=True, slots=True)
class Config:
    """`theme`, `symbols`: how it looks. `mouse` false leaves the mouse to the terminal. `remember`: the last view."""

    theme: str = ""
    symbols: Symbols = "block"
    mouse: bool = True
    remember: bool = True
    context: str = ""
    keys: Keys = field(default_factory=dict)
    contexts: Mapping[str, ContextSettings] = field(default_factory=dict)

    def context_of(self, name: str) -> Context:
        """The context of this name. Raises InvalidArgument where there is none."""
        if name not in self.contexts:
            there = f"there are {', '.join(sorted(self.contexts))}" if self.contexts else "there is none in the file"
            raise InvalidArgument(f"no context is called {name}", hint=there)
        return self.contexts[name].resolved(name)

    def tone_of(self, context: Context) -> str:
        """The tone that the context's name is shown in: its own, red in production, else none."""
        settings = self.contexts.get(context.name)
        colour = settings.colour if settings is not None else ""
        return COLOURS.get(colour, "failed" if context.prod else "")


def config_path() -> Path:
    """The file that is read: of the environment, else the user's own (Linux: `~/.config/firedeck/dashboard.toml`)."""
    given = os.environ.get(CONFIG_VARIABLE)
    return Path(given) if given else Path(platformdirs.user_config_dir("firedeck")) / "dashboard.toml"


def load(path: Path) -> Config:
    """The settings of `path`; the defaults where there is no such file. Raises InvalidArgument with the file's name."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} cannot be read: {error}", hint="repair it, or move it away") from None
    try:
        return read(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{path}: {error}", hint="it is TOML: see the manual") from None
    except InvalidArgument as error:
        raise InvalidArgument(f"{path}: {error.message}", hint=error.hint) from None


def read(data: Mapping[str, Any]) -> Config:
    """The settings of a parsed file. Raises InvalidArgument for what it does not know."""
    _refuse_unknown("", data, {*Config.__dataclass_fields__})
    return Config(
        theme=_text(data, "theme"),
        symbols=_symbols(_text(data, "symbols") or "block"),
        mouse=_flag(data, "mouse", True),
        remember=_flag(data, "remember", True),
        context=_text(data, "context"),
        keys={name: _keys(name, value) for name, value in _section(data, "keys").items()},
        contexts={name: _context(name, value) for name, value in _section(data, "contexts").items()},
    )


def _context(name: str, data: Any) -> ContextSettings:
    where = f"contexts.{name}"
    if not isinstance(data, Mapping):
        raise InvalidArgument(f"[{where}] must be a section", hint="see the manual")
    plain = {key.replace("-", "_"): value for key, value in data.items()}
    _refuse_unknown(where, plain, {*ContextSettings.__dataclass_fields__})
    colour = _text(plain, "colour")
    if colour and colour not in COLOURS:
        raise InvalidArgument(f"[{where}] colour = {colour!r} is not known", hint=f"there are {', '.join(COLOURS)}")
    texts = {key: _text(plain, key) for key in ("base_url", "account", "api_key_env", "api_key_file", "prometheus")}
    labels = _section(plain, "prometheus_labels")
    prod = _flag(plain, "prod", name.startswith("prod"))
    return ContextSettings(
        **texts, prod=prod, colour=colour, prometheus_labels={name: _text(labels, name) for name in labels}
    )


def _symbols(name: str) -> Symbols:
    for known in get_args(Symbols):
        if name == known:
            return cast(Symbols, known)
    raise InvalidArgument(f"symbols = {name!r} is not known", hint=f"there are {', '.join(get_args(Symbols))}")


def _refuse_unknown(where: str, data: Mapping[str, Any], known: set[str]) -> None:
    for name in data:
        if name not in known:
            at = f"[{where}] " if where else ""
            raise InvalidArgument(f"{at}{name} is not known", hint=f"there are {', '.join(sorted(known))}")


def _section(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = data.get(name, {})
    if not isinstance(found, Mapping):
        raise InvalidArgument(f"{name} must be a section", hint=f"write [{name}]")
    return found


def _text(data: Mapping[str, Any], name: str) -> str:
    found = data.get(name, "")
    if not isinstance(found, str):
        raise InvalidArgument(f"{name} must be a text", hint=f'write {name} = "..."')
    return found


def _flag(data: Mapping[str, Any], name: str, default: bool) -> bool:
    found = data.get(name, default)
    if not isinstance(found, bool):
        raise InvalidArgument(f"{name} must be true or false", hint=f"write {name} = true")
    return found


def _keys(name: str, value: Any) -> tuple[str, ...]:
    """A key, or several: `"x"`, `["x", "delete"]`."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(key, str) for key in found):
        raise InvalidArgument(f"[keys] {name} must be a key or a list of keys", hint=f'write {name} = "x"')
    return tuple(found)
