"""Field masks: which fields an update takes over (`updateMask`), which an answer shows (`readMask`). Pure.

Paths are in either spelling, joined by commas; a path below a message or a map names that part alone
(https://google.aip.dev/161, https://google.aip.dev/157).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic.alias_generators import to_camel

from client.errors import InvalidArgument
from client.wire import Wire
from engine.wire_paths import find

EVERYTHING = "*"
PATHS_MAX = 200


def update_paths(text: str) -> frozenset[str] | None:
    """The paths of an `updateMask`; None, all fields given, where there is none and for `*` (google.aip.dev/134)."""
    paths = frozenset(_paths(text, "updateMask"))
    return None if EVERYTHING in paths else paths or None


def taken(current: Any, wanted: Any, names: Sequence[str], fresh: type[Wire] | None = None) -> Any:
    """`current` with what `wanted` has at `names`. A message at the end is merged field by field; a scalar, a list
    and a map are replaced, a key that `wanted` lacks is removed. `fresh`: the class of a message that is not set."""
    if not names:
        return _merged(current, wanted)
    name, below = names[0], names[1:]
    if isinstance(current, dict) or (fresh is None and current is None):
        kept = dict(current or {})
        kept.pop(name, None)
        given = wanted.get(name) if isinstance(wanted, dict) else None
        return kept if given is None else {**kept, name: given}
    base = current if current is not None else fresh() if fresh else None
    assert isinstance(base, Wire)
    leaf = find(type(base), name)
    inner = leaf.kind if leaf and leaf.is_message else None
    return base.model_copy(update={name: taken(getattr(base, name), getattr(wanted, name, None), below, inner)})


def shown(message: Wire, read_mask: str, within: str = "") -> dict[str, Any]:
    """The message as JSON with only the fields of `readMask`; all of them when it is empty or `*`.

    `within`: the list whose items the mask is about; what stands beside that list stays.
    """
    wire = message.to_wire()
    paths = _paths(read_mask, "readMask")
    if not paths or EVERYTHING in paths:
        return wire
    kind = type(message)
    if within:
        field = kind.model_fields[within].annotation
        item: type[Wire] = field.__args__[0] if field is not None else kind
        alias = to_camel(within)
        tree = _tree(item, paths)
        return {**wire, alias: [_pruned(one, tree) for one in wire.get(alias, [])]}
    return {name: _pruned(value, below) for name, value, below in _kept(wire, _tree(kind, paths))}


def _paths(text: str, parameter: str) -> list[str]:
    paths = [path.strip() for path in text.split(",") if path.strip()]
    if len(paths) > PATHS_MAX:
        raise InvalidArgument(f"{parameter} has more than {PATHS_MAX} paths", field=parameter)
    return paths


_Tree = dict[str, Any]


def _tree(kind: type[Wire], paths: Sequence[str]) -> _Tree:
    """The wanted fields by wire name; an empty tree below a name is all of it."""
    tree: _Tree = {}
    for path in paths:
        leaf = find(kind, path)
        if leaf is None:
            raise InvalidArgument(
                f"readMask names an unknown field {path[:80]!r}",
                field="readMask",
                hint="paths are fields joined by commas, e.g. name,state; * is all of them",
            )
        names = [name if leaf.keyed and name == leaf.names[-1] else to_camel(name) for name in leaf.names]
        node = tree
        for position, name in enumerate(names):
            last = position == len(names) - 1
            if name in node and not node[name]:
                break  # all of it is wanted already
            node = node.setdefault(name, {})
            if last:
                node.clear()
    return tree


def _pruned(wire: Any, tree: _Tree) -> Any:
    if not tree or not isinstance(wire, dict):
        return wire
    return {name: _pruned(value, below) for name, value, below in _kept(wire, tree)}


def _kept(wire: dict[str, Any], tree: _Tree) -> list[tuple[str, Any, _Tree]]:
    return [(name, value, tree[name]) for name, value in wire.items() if name in tree]


def _merged(current: Any, wanted: Any) -> Any:
    """A message is merged field by field (a new window does not reset the targets); a scalar is replaced."""
    if not isinstance(wanted, Wire) or not isinstance(current, Wire):
        return wanted
    return current.model_copy(update={name: getattr(wanted, name) for name in wanted.model_fields_set})
