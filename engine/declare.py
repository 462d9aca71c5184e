"""A declaration of a deployment: read, filled in with defaults, changed. Pure functions over wire types; what it may
not be is `engine.declare_checks`.

Source: https://docs.fireworks.ai/guides/ondemand-deployments and the SDK's field documentation.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from client.enums import MULTI_REGIONS, STRICT, said
from client.errors import FiredeckError, InvalidArgument
from client.names import Name
from client.types import (
    IMMUTABLE,
    OUTPUT_ONLY,
    AutoscalingPolicy,
    AutoTune,
    ColdOptions,
    Deployment,
    Placement,
    Wire,
)
from engine import long_prompt, masks
from engine.control.windows import Limits
from engine.declare_checks import CONTEXT_TOKENS_MIN, check
from engine.wire_paths import find

DEFAULT_LOAD_TARGETS = {"default": 0.8}
HOLD_TIMEOUT_DEFAULT = timedelta(minutes=5)
CACHE_TTL_DEFAULT = timedelta(minutes=5)

# The fields of a deployment that are messages: an update mask may name a field below them.
_MESSAGES: dict[str, type[Wire]] = {
    "autoscaling_policy": AutoscalingPolicy, "auto_tune": AutoTune, "firedeck": ColdOptions, "placement": Placement,
}  # fmt: skip
_FIELDS = frozenset(Deployment.model_fields).union(*(message.model_fields for message in _MESSAGES.values()))


_NOT_READ = OUTPUT_ONLY | {to_camel(name) for name in OUTPUT_ONLY}


def read(body: Any) -> Deployment:
    """The deployment in a request's body; unknown fields and wrong types are refused by name."""
    if not isinstance(body, dict):
        raise InvalidArgument("the body must be a JSON object")
    # Output-only fields may stand in a request (clients send back what they got); they mean nothing there.
    given = {name: value for name, value in body.items() if name not in _NOT_READ}
    try:
        return Deployment.model_validate(given, extra="forbid", context=STRICT)
    except ValidationError as error:
        raise from_pydantic(error, body) from None


def create(spec: Deployment, name: Name, context_limit: int | None, limits: Limits) -> Deployment:
    """`spec` with every default filled in, or InvalidArgument. `context_limit` is the model's, in tokens."""
    whole = _whole(spec.model_copy(update={"name": str(name)}), context_limit, limits)
    check(whole, context_limit, limits)
    return whole


def update(
    current: Deployment, changes: Deployment, mask: frozenset[str] | None, context_limit: int | None, limits: Limits
) -> Deployment:
    """`current` with the fields of `mask` (or those that `changes` sets) taken over, checked as a whole."""
    paths = changes.model_fields_set - OUTPUT_ONLY if mask is None else mask
    taken: dict[str, Any] = {}
    for path in sorted(paths):
        top, *below = _path(path)
        kind = _MESSAGES.get(top)
        taken[top] = masks.taken(taken.get(top, getattr(current, top)), getattr(changes, top), below, kind)
    for field in IMMUTABLE & taken.keys():
        if _meant(taken[field]) != _meant(getattr(current, field)):
            raise InvalidArgument(
                f"{_wire(field)} cannot be changed after creation", field=_wire(field), hint="create a new deployment"
            )
    changed = long_prompt.switched(current, current.model_copy(update=taken), taken, _most_tokens(context_limit))
    changed = _whole(changed, context_limit, limits)
    check(changed, context_limit, limits)
    return changed


def from_pydantic(error: ValidationError, body: Any) -> FiredeckError:
    """The first problem of `body`, by its wire path; a field that there is not comes before one that is missing."""
    found = error.errors(include_url=False, include_input=False)
    first = min(found, key=lambda problem: problem["type"] != "extra_forbidden")
    field = ".".join(_wire(str(part)) if part in _FIELDS else str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        if other := _other_spelling(body, first["loc"]):
            twice = f"{field!r} is given twice, as {first['loc'][-1]} and as {other}"
            return InvalidArgument(twice, field=field, hint="give it once")
        return InvalidArgument(f"unknown field {field!r}", field=field)
    message = first["msg"].removeprefix("Value error, ")
    wider = f"multiRegion takes {', '.join(said(MULTI_REGIONS))}" if field.startswith("placement.region") else None
    return InvalidArgument(f"{field}: {message[:1].lower()}{message[1:]}", field=field, hint=wider)


def _other_spelling(body: Any, at: tuple[int | str, ...]) -> str:
    """The field at a path of `body` once more, in its other spelling; "" where it stands there only once."""
    *above, name = at
    for part in above:
        inside = isinstance(body, dict) or (isinstance(body, list) and isinstance(part, int))
        body = body[part] if inside else None
    beside = body if isinstance(body, dict) else {}
    return next((one for one in beside if one != name and to_camel(one) == to_camel(str(name))), "")


def _whole(spec: Deployment, context_limit: int | None, limits: Limits) -> Deployment:
    """`spec` with a default in every field that it leaves open."""
    minimum = spec.min_replica_count or 0
    maximum = spec.max_replica_count if spec.max_replica_count is not None else max(minimum, 1)
    context = spec.max_context_length or min(long_prompt.context_tokens(spec), _most_tokens(context_limit))
    return spec.model_copy(
        update={
            "display_name": spec.display_name or spec.id,
            "min_replica_count": minimum,
            "max_replica_count": maximum,
            "autoscaling_policy": _policy(spec.autoscaling_policy, limits),
            "accelerator_count": spec.accelerator_count or 1,
            "placement": spec.placement if _meant(spec.placement) != _meant(None) else Placement(multi_region="GLOBAL"),
            "max_batch_size": spec.max_batch_size or long_prompt.slots(spec),
            "max_context_length": context,
            "firedeck": _cold(spec.firedeck),
        }
    )


def _most_tokens(context_limit: int | None) -> int:
    return max(context_limit or long_prompt.CONTEXT_TOKENS, CONTEXT_TOKENS_MIN)


def _policy(given: AutoscalingPolicy | None, limits: Limits) -> AutoscalingPolicy:
    given = given or AutoscalingPolicy()
    windows = (given.scale_up_window, given.scale_down_window, given.scale_to_zero_window)
    up, down, zero = (None if window is None else window.total_seconds() for window in windows)
    whole = limits.resolve(up, down, zero)
    return AutoscalingPolicy(
        scale_up_window=timedelta(seconds=whole.up_s),
        scale_down_window=timedelta(seconds=whole.down_s),
        scale_to_zero_window=timedelta(seconds=whole.zero_s),
        load_targets=dict(given.load_targets or DEFAULT_LOAD_TARGETS),
    )


def _cold(given: ColdOptions | None) -> ColdOptions:
    given = given or ColdOptions()
    return ColdOptions(
        cold_policy=given.cold_policy or "hold",
        hold_timeout=_default(given.hold_timeout, HOLD_TIMEOUT_DEFAULT),
        max_queue_wait=given.max_queue_wait,
        threads=given.threads,
        panic=given.panic,
        forecast_floor=given.forecast_floor,
        response_cache=given.response_cache,
        response_cache_ttl=_default(given.response_cache_ttl, CACHE_TTL_DEFAULT)
        if given.response_cache
        else given.response_cache_ttl,
    )


def _meant(value: Any) -> Any:
    """An immutable field's value with the spellings of "not said" made one: unset, empty, UNSPECIFIED, GLOBAL."""
    unset = (None, "", "GLOBAL", "MULTI_REGION_UNSPECIFIED", "REGION_UNSPECIFIED", "ACCELERATOR_TYPE_UNSPECIFIED")
    if isinstance(value, Placement):
        where = {name: said for name, said in value.to_wire().items() if said not in unset and said != []}
        return where or None
    return None if value in unset else value


def _path(path: str) -> tuple[str, ...]:
    """A path of an update mask, by its names; InvalidArgument when no such field can be set."""
    leaf = find(Deployment, path)
    if leaf is not None and leaf.names[0] in OUTPUT_ONLY:
        raise InvalidArgument(
            f"{_wire(leaf.names[0])} cannot be changed: the engine sets it", field="updateMask",
            hint="name fields that can be set",
        )  # fmt: skip
    if leaf is None:
        raise InvalidArgument(
            f"unknown field {path[:80]!r} in the update mask", field="updateMask", hint="name fields that can be set"
        )
    return leaf.names


def _default(value: timedelta | None, default: timedelta) -> timedelta:
    return default if value is None else value


def _wire(field: str) -> str:
    head, *rest = field.split("_")
    return head + "".join(part.title() for part in rest)
