"""What `LLM.apply` would do, as Terraform plans it: compared with what is there, and shown before it is done. Pure.

data   Plan     create, update, undelete or nothing, of which name, with each field that differs
verbs  plan_of  the plan that brings what is there to what is declared; FailedPrecondition where nothing can
       str(plan) as people read it
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from client.errors import FailedPrecondition
from client.types import IMMUTABLE, Deployment, DeploymentSpec, Wire

Action = Literal["create", "update", "undelete", "nothing"]
_WORDS = {
    "create": "will be created", "update": "will be changed", "undelete": "will be brought back",
    "nothing": "is as declared: nothing to change",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """A field, by its path; `before` is None where it is new."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Plan:
    """`changes`: each field that differs; `changed`: what is sent, of a new deployment all that is declared."""

    action: Action
    name: str
    changes: tuple[Change, ...] = ()
    changed: DeploymentSpec | None = None

    def __str__(self) -> str:
        return "\n".join([f"{self.name} {_WORDS[self.action]}", *(f"  {_line(change)}" for change in self.changes)])


def plan_of(name: str, declared: DeploymentSpec, found: Deployment | None) -> Plan:
    """`found`: what has this name now, deleted ones that can be brought back among them."""
    if found is None:
        return Plan(
            "create", name, tuple(Change(path, None, value) for path, value in _flat(_wire(declared))), declared
        )
    before, after = dict(_flat(_wire(found))), dict(_flat(_wire(declared)))
    changes = tuple(
        Change(path, before.get(path), value) for path, value in after.items() if not _same(before.get(path), value)
    )
    fixed = sorted({change.path for change in changes} & _fixed_paths(after))
    if fixed:
        raise FailedPrecondition(
            f"{name} cannot become what is declared: {', '.join(_said(c) for c in changes if c.path in fixed)}",
            field=fixed[0],
            hint="these never change: use another id, or delete the deployment first",
        )
    tops = sorted({_snake(change.path.split(".")[0]) for change in changes})
    changed = DeploymentSpec(**{top: _over(getattr(found, top), getattr(declared, top)) for top in tops})
    action: Action = "undelete" if found.delete_time is not None else "update" if changes else "nothing"
    return Plan(action, name, changes, changed if changes else None)


def _over(before: Any, declared: Any) -> Any:
    """What is declared of a message or a map over what is there: the rest of it stays."""
    if isinstance(before, Wire) and isinstance(declared, Wire):
        return before.model_copy(update={name: getattr(declared, name) for name in declared.model_fields_set})
    return {**before, **declared} if isinstance(before, dict) else declared


def _wire(spec: DeploymentSpec) -> dict[str, Any]:
    return spec.model_dump(
        mode="json", by_alias=True, exclude_none=True, include=set(DeploymentSpec.model_fields) & spec.model_fields_set
    )


def _flat(wire: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in wire.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _same(before: Any, after: Any) -> bool:
    """What is not declared there is as if it were off."""
    return bool(before == after or (before is None and after in (0, False, "", [])))


def _fixed_paths(paths: dict[str, Any]) -> set[str]:
    return {path for path in paths if _snake(path.split(".")[0]) in IMMUTABLE}


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _line(change: Change) -> str:
    if change.before is None:
        return f"+ {change.path}: {json.dumps(change.after)}"
    return f"~ {_said(change)}"


def _said(change: Change) -> str:
    return f"{change.path}: {json.dumps(change.before)} -> {json.dumps(change.after)}"
