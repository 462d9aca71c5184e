"""The user's own keys: the table of actions with the config file's changes, checked before anything is drawn."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from client.errors import InvalidArgument
from tui.core.actions import ACTIONS, MOVES, SHOWN, Action

# Terminal multiplexers take these for themselves, terminals stop or resume the output with s and q, and J is Enter.
NEVER = frozenset(f"ctrl+{letter}" for letter in "abjosq")
TABLE: tuple[Action, ...] = (*MOVES, *ACTIONS)
Keys = Mapping[str, Sequence[str]]

_SIGNS = {sign: name for name, sign in SHOWN.items()} | {" ": "space"}
_KEY = re.compile(r"(?:(?:ctrl|alt|shift|super)\+)*(?:[A-Za-z0-9]|[a-z][a-z0-9_]+)\Z")


def remapped(changes: Keys, table: Sequence[Action] = TABLE) -> tuple[Action, ...]:
    """`table` with the keys that `changes` has by the actions' names. Raises InvalidArgument with the slip."""
    known = {action.name for action in table}
    for name in changes:
        if name not in known:
            hint = f"there are {', '.join(sorted(known))}"
            raise InvalidArgument(f"[keys] {name}: no action is called so", hint=hint)
    found = tuple(_with(action, changes[action.name]) if action.name in changes else action for action in table)
    _refuse_clashes(found)
    return found


def _with(action: Action, keys: Sequence[str]) -> Action:
    if not keys:
        raise InvalidArgument(f"[keys] {action.name}: needs a key", hint="every action must be reachable by one")
    return replace(action, keys=tuple(_key(action.name, key) for key in keys))


def _key(name: str, text: str) -> str:
    """Textual's name of a key that is written as people write it."""
    key = _SIGNS.get(text, text)
    if not _KEY.match(key):
        raise InvalidArgument(f"[keys] {name}: {text!r} is no key", hint="write x, X, f5, ctrl+x, pageup or a sign")
    if key in NEVER:
        raise InvalidArgument(f"[keys] {name}: {key} does not reach programs in every terminal", hint="take another")
    return key


def _refuse_clashes(table: Sequence[Action]) -> None:
    for one, other in combinations(table, 2):
        both = set(one.keys) & set(other.keys)
        if both and set(one.places) & set(other.places):
            raise InvalidArgument(
                f"[keys] {one.name} and {other.name} both have {', '.join(sorted(both))}", hint="give one another key"
            )


def keymap(table: Sequence[Action]) -> dict[str, str]:
    """The keys that differ from the default ones, by the ids of Textual's bindings."""
    former = {action.name: action.keys for action in TABLE}
    changed = [action for action in table if former.get(action.name) != action.keys]
    moves = {move.name for move in MOVES}
    return {
        f"{prefix}{action.name}": ",".join(action.keys)
        for action in changed
        for prefix in (("table.", "events.") if action.name in moves else ("",))
    }


def shown(table: Sequence[Action], name: str) -> str:
    """The key of the action of this name, as the screen calls it."""
    return next(action.shown_key for action in table if action.name == name)
