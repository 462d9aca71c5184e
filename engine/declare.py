"""What a valid declaration of a deployment is: defaults, limits, exclusions. Pure functions over wire types.

Source: https://docs.fireworks.ai/guides/ondemand-deployments and the SDK's field documentation. Every refusal names
the field in wire spelling and says what to do.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from client import durations
from client.enums import MULTI_REGIONS, STRICT, said
from client.errors import FailedPrecondition, FiredeckError, InvalidArgument
from client.names import Name
from client.types import (
    IMMUTABLE,
    LOAD_TARGETS,
    OUTPUT_ONLY,
    AutoscalingPolicy,
    AutoTune,
    ColdOptions,
    Deployment,
    Placement,
    Wire,
)
from engine import masks
from engine.control.windows import Limits, check
from engine.wire_paths import find

DEFAULT_LOAD_TARGETS = {"default": 0.8}
# Sequences that one replica runs at once. Fireworks' default is 16; here each has room for its whole context, and that
# in the memory of somebody's own machine.
DEFAULT_SLOTS = 8
DEFAULT_CONTEXT_TOKENS = 2048  # per sequence, or the model's own limit where that is smaller
CONTEXT_TOKENS_MIN = 256
DRAFT_TOKENS_MAX = 31  # a step reads the logits of 32 tokens: the drafted ones and the sequence's own next
NGRAM_LENGTH_MAX = 16
HOLD_TIMEOUT_DEFAULT = timedelta(minutes=5)
HOLD_TIMEOUT_MAX = timedelta(hours=1)
CACHE_TTL_DEFAULT = timedelta(minutes=5)
CACHE_TTL_MAX = timedelta(hours=24)

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
        raise from_pydantic(error) from None


def create(spec: Deployment, name: Name, context_limit: int | None, limits: Limits) -> Deployment:
    """`spec` with every default filled in, or InvalidArgument. `context_limit` is the model's, in tokens."""
    whole = _whole(spec.model_copy(update={"name": str(name)}), context_limit, limits)
    _check(whole, context_limit, limits)
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
    changed = _whole(current.model_copy(update=taken), context_limit, limits)
    _check(changed, context_limit, limits)
    return changed


def from_pydantic(error: ValidationError) -> FiredeckError:
    """The first problem of a body, by its wire path; a field that there is not comes before one that is missing."""
    found = error.errors(include_url=False, include_input=False)
    first = min(found, key=lambda problem: problem["type"] != "extra_forbidden")
    field = ".".join(_wire(str(part)) if part in _FIELDS else str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return InvalidArgument(f"unknown field {field!r}", field=field)
    message = first["msg"].removeprefix("Value error, ")
    wider = f"multiRegion takes {', '.join(said(MULTI_REGIONS))}" if field.startswith("placement.region") else None
    return InvalidArgument(f"{field}: {message[:1].lower()}{message[1:]}", field=field, hint=wider)


def _whole(spec: Deployment, context_limit: int | None, limits: Limits) -> Deployment:
    """`spec` with a default in every field that it leaves open."""
    minimum = spec.min_replica_count or 0
    maximum = spec.max_replica_count if spec.max_replica_count is not None else max(minimum, 1)
    most = max(context_limit or DEFAULT_CONTEXT_TOKENS, CONTEXT_TOKENS_MIN)
    context = spec.max_context_length or min(DEFAULT_CONTEXT_TOKENS, most)
    return spec.model_copy(
        update={
            "display_name": spec.display_name or spec.id,
            "min_replica_count": minimum,
            "max_replica_count": maximum,
            "autoscaling_policy": _policy(spec.autoscaling_policy, limits),
            "accelerator_count": spec.accelerator_count or 1,
            "placement": spec.placement if _meant(spec.placement) != _meant(None) else Placement(multi_region="GLOBAL"),
            "max_batch_size": spec.max_batch_size or DEFAULT_SLOTS,
            "max_context_length": context,
            "firedeck": _cold(spec.firedeck),
        }
    )


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


def _check(deployment: Deployment, context_limit: int | None, limits: Limits) -> None:
    _check_replicas(deployment)
    _check_policy(deployment, limits)
    _check_speculation(deployment)
    _check_served(deployment)
    _check_placement(deployment)
    context = deployment.max_context_length or 0
    if context_limit and context > max(context_limit, CONTEXT_TOKENS_MIN):
        raise InvalidArgument(
            f"maxContextLength {context} is more than the model's {context_limit} tokens", field="maxContextLength"
        )
    if context < CONTEXT_TOKENS_MIN:
        raise InvalidArgument(
            f"maxContextLength {context} is less than {CONTEXT_TOKENS_MIN}, llama.cpp's least", field="maxContextLength"
        )
    own = deployment.firedeck or ColdOptions()
    for name, wait, longest in (
        ("holdTimeout", own.hold_timeout, HOLD_TIMEOUT_MAX),
        ("maxQueueWait", own.max_queue_wait, HOLD_TIMEOUT_MAX),
        ("responseCacheTtl", own.response_cache_ttl, CACHE_TTL_MAX),
    ):
        if wait is not None and not timedelta(0) < wait <= longest:
            raise InvalidArgument(
                f"firedeck.{name} must be more than 0s and at most {durations.to_go(longest)}",
                field=f"firedeck.{name}",
            )


def _check_replicas(deployment: Deployment) -> None:
    low, high = deployment.min_replica_count or 0, deployment.max_replica_count or 0
    if high < low:
        raise InvalidArgument(
            f"maxReplicaCount {high} is less than minReplicaCount {low}",
            field="maxReplicaCount",
            hint="raise the maximum or lower the minimum",
        )


def _check_policy(deployment: Deployment, limits: Limits) -> None:
    policy = deployment.autoscaling_policy
    assert policy is not None
    windows = (policy.scale_up_window, policy.scale_down_window, policy.scale_to_zero_window)
    up, down, zero = (w.total_seconds() if w else 0.0 for w in windows)
    for field, sentence in check(limits, up, down, zero):
        raise InvalidArgument(f"{field} {sentence}", field=field)
    for target, value in (policy.load_targets or {}).items():
        field = f"autoscalingPolicy.loadTargets.{target}"
        if target not in LOAD_TARGETS:
            raise InvalidArgument(
                f"unknown load target {target!r}", field=field, hint="known: " + ", ".join(LOAD_TARGETS)
            )
        if not 0 < value < float("inf") or (target == "default" and value > 1):
            wanted = "more than 0 and at most 1" if target == "default" else "more than 0"
            raise InvalidArgument(f"load target {target} must be {wanted}, not {value}", field=field)


def _check_speculation(deployment: Deployment) -> None:
    draft, ngram = deployment.draft_model, deployment.ngram_speculation_length
    if draft and ngram:
        raise InvalidArgument(
            "draftModel and ngramSpeculationLength cannot be used together",
            field="ngramSpeculationLength",
            hint="they are alternatives: remove one",
        )
    if (draft or ngram) and deployment.draft_token_count is None:
        raise InvalidArgument(
            f"draftTokenCount must be set with {'draftModel' if draft else 'ngramSpeculationLength'}",
            field="draftTokenCount",
            hint="4 suits most draft models; 0 turns speculation off",
        )
    for field, value, most in (
        ("draftTokenCount", deployment.draft_token_count, DRAFT_TOKENS_MAX),
        ("ngramSpeculationLength", ngram, NGRAM_LENGTH_MAX),
    ):
        if value is not None and value > most:
            raise InvalidArgument(f"{field} {value} is more than {most}, the most that a step can use", field=field)


def _check_served(deployment: Deployment) -> None:
    """Refuse what changes answers, cost or access and is not done yet.

    Wishes about hardware, placement and shapes are kept as they were declared; this machine has what it has.
    """
    asked = {
        "enableMtp": deployment.enable_mtp,
        "enableHotLoad": deployment.enable_hot_load,
        "directRouteApiKeys": deployment.direct_route_api_keys,
        "extraArgs": deployment.extra_args,
        "extraValues": deployment.extra_values,
    }
    for field, given in asked.items():
        if given:
            raise FailedPrecondition(
                f"{field} is not served by this version of the engine", field=field, hint="leave it out"
            )
    parts = {
        "worldSize": deployment.world_size,
        "generatorCount": deployment.generator_count,
        "disaggregatedPrefillCount": deployment.disaggregated_prefill_count,
        "disaggregatedPrefillWorldSize": deployment.disaggregated_prefill_world_size,
    }
    for field, count in parts.items():
        if count and count > 1:
            raise InvalidArgument(
                f"{field} {count} is more than 1: a replica is one process, which reads prompts and generates",
                field=field, hint="leave it out; more replicas: maxReplicaCount, more accelerators: acceleratorCount",
            )  # fmt: skip


def _check_placement(deployment: Deployment) -> None:
    placement = deployment.placement
    if placement is None:
        return
    given = [name for name in ("multiRegion", "region", "regions") if placement.to_wire().get(name)]
    if len(given) > 1:
        raise InvalidArgument(f"placement takes one of {', '.join(given)}, not several", field="placement")


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
