"""A form's texts become a deployment's settings; everything that is wrong is collected, each with its field.

The rules are the product's: minimum not above maximum, windows in Go's duration syntax. The server checks again;
here they are said while the user types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from client import durations
from client.errors import FiredeckError
from client.types import AutoscalingPolicy, ColdOptions, DeploymentSpec

Form = Mapping[str, str]
MAX_REPLICAS = 1000
MAX_DIGITS = 20  # int() refuses to read thousands of them, with a sentence of its own


@dataclass(frozen=True, slots=True)
class Problem:
    """What must be put right before sending; `field` is a form field's id, or empty for the whole form."""

    field: str
    text: str


class Fields:
    """Reads a form's texts into a spec and collects every problem instead of stopping at the first."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self.problems: list[Problem] = []

    def text(self, field: str) -> str | None:
        return self._form.get(field, "").strip() or None

    def parsed(self, field: str, parse: Callable[[str], Any]) -> Any:
        """The field's value, None when it is empty or wrong (then a problem is noted)."""
        text = self.text(field)
        if text is None:
            return None
        try:
            return parse(text)
        except FiredeckError as error:
            self.problems.append(Problem(field, error.text))
        except ValueError as error:
            self.problems.append(Problem(field, str(error)))
        return None

    def refuse(self, field: str, text: str) -> None:
        self.problems.append(Problem(field, text))


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        readable = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
        value = int(text) if readable else None
        if value is None or not lowest <= value <= highest:
            raise ValueError(f"must be a whole number from {lowest} to {highest}")
        return value

    return parse


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise ValueError("must be a number above 0")
    return value


def read_spec(fields: Fields) -> DeploymentSpec:
    """The form's precision and scaling; only what was filled in is set. Problems are left in `fields`."""
    spec = {
        "min_replica_count": fields.parsed("min_replica_count", whole(0, MAX_REPLICAS)),
        "max_replica_count": fields.parsed("max_replica_count", whole(0, MAX_REPLICAS)),
        "precision": fields.text("precision"),
        "autoscaling_policy": _policy(fields),
        "firedeck": ColdOptions.model_validate({"cold_policy": cold}) if (cold := fields.text("cold_policy")) else None,
    }
    _check_limits(fields, spec["min_replica_count"], spec["max_replica_count"])
    return DeploymentSpec.model_validate({name: value for name, value in spec.items() if value is not None})


def _policy(fields: Fields) -> AutoscalingPolicy | None:
    policy: dict[str, Any] = {
        name: fields.parsed(name, durations.parse)
        for name in ("scale_up_window", "scale_down_window", "scale_to_zero_window")
    }
    target = fields.parsed("load_target_value", positive)
    if target is not None:
        policy["load_targets"] = {fields.text("load_target") or "default": target}
    given = {name: value for name, value in policy.items() if value is not None}
    return AutoscalingPolicy.model_validate(given) if given else None


def _check_limits(fields: Fields, least: int | None, most: int | None) -> None:
    if most == 0:
        fields.refuse("max_replica_count", "must be at least 1")
    if least is not None and most is not None and least > most:
        fields.refuse("max_replica_count", f"must not be below the minimum ({least})")
