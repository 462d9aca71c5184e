"""What an `LLM` may be given, what must hold between it, and the deployment that it stands for. Pure.

    data   LLMOptions     every argument but the model and the deployment type
           BadArgument    what is refused before anything is sent; a ValueError too
    verbs  check          what must hold between arguments
           without_effect what of it an engine of one's own keeps, and does nothing with
           declared       the settings of a deployment that arguments ask for; what was not given stays unset

Windows are 1 s up, 1 min down and 5 min to zero unless given, as the class is documented, and are always sent.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # before Python 3.12 pydantic takes no other

from client.errors import InvalidArgument
from client.names import check_id
from client.types import AutoscalingPolicy, AutoTune, DeploymentSpec, Placement, kept_because

DeploymentType = Literal["serverless", "on-demand", "auto", "on-demand-lora"]
DEPLOYMENT_TYPES: tuple[str, ...] = get_args(DeploymentType)
SCALE_UP, SCALE_DOWN, SCALE_TO_ZERO = timedelta(seconds=1), timedelta(minutes=1), timedelta(minutes=5)
MAX_RETRIES = 10


class BadArgument(InvalidArgument, ValueError):
    """An argument that no engine could take."""


class LLMOptions(TypedDict, total=False):
    """Source: the documentation of the class `LLM`."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    id: str | None  # of the deployment; required for on-demand
    deployment_display_name: str | None  # default: the name of the file in which the LLM was made
    base_id: str | None  # the deployment that an adapter goes onto; required for on-demand-lora
    api_key: str | None
    base_url: str | None
    max_retries: int
    scale_up_window: timedelta
    scale_down_window: timedelta
    scale_to_zero_window: timedelta
    accelerator_type: str | None
    region: str | None
    multi_region: str | None
    min_replica_count: int | None
    max_replica_count: int | None
    replica_count: int | None  # both of them
    accelerator_count: int | None
    precision: str | None
    world_size: int | None
    generator_count: int | None
    disaggregated_prefill_count: int | None
    disaggregated_prefill_world_size: int | None
    max_batch_size: int | None
    max_peft_batch_size: int | None
    kv_cache_memory_pct: int | None
    enable_addons: bool | None
    live_merge: bool | None  # one adapter that all requests use, replaced by the next one
    draft_token_count: int | None
    draft_model: str | None
    ngram_speculation_length: int | None
    long_prompt_optimized: bool | None
    temperature: float | None  # of requests that name none
    num_peft_device_cached: int | None
    enable_metrics: bool | None  # mean time to the last token, of whole answers
    perf_metrics_in_response: bool | None
    description: str | None
    annotations: dict[str, str] | None
    cluster: str | None
    enable_session_affinity: bool | None
    direct_route_api_keys: list[str] | None
    direct_route_type: str | None
    direct_route_handle: str | None


_OPTIONS: TypeAdapter[LLMOptions] = TypeAdapter(LLMOptions)
_SAME_NAME = (
    "description", "annotations", "accelerator_type", "accelerator_count", "precision", "world_size", "generator_count",
    "disaggregated_prefill_count", "disaggregated_prefill_world_size", "max_batch_size", "max_peft_batch_size",
    "kv_cache_memory_pct", "enable_addons", "draft_token_count", "draft_model", "ngram_speculation_length",
    "num_peft_device_cached", "enable_session_affinity", "direct_route_api_keys", "direct_route_type",
)  # fmt: skip
_SERVER_SIDE = ("cluster", "direct_route_handle")  # an engine gives them, nobody chooses them
_ARGUMENTS = {"display_name": "deployment_display_name", "long_prompt": "long_prompt_optimized"}  # by a field's name
_EXCLUDING = (("region", "multi_region"), ("draft_model", "ngram_speculation_length"))


def check(deployment_type: str, given: LLMOptions) -> LLMOptions:
    """The arguments that say something, by their types; BadArgument names one that is wrong."""
    if deployment_type not in DEPLOYMENT_TYPES:
        raise BadArgument(
            f"deployment_type {deployment_type!r} is not known", field="deployment_type",
            hint=f"use one of {', '.join(DEPLOYMENT_TYPES)}",
        )  # fmt: skip
    options = _typed(given)
    for field in ("id", "base_id"):
        if (value := options.get(field)) is not None:
            check_name(str(value), field)
    if deployment_type == "on-demand" and not options.get("id"):
        raise BadArgument("an on-demand LLM needs an id", field="id", hint='e.g. id="my-deployment"')
    if deployment_type == "on-demand-lora" and not options.get("base_id"):
        raise BadArgument(
            "an on-demand-lora LLM needs a base_id", field="base_id", hint="the id of its base model's deployment"
        )
    if options.get("max_retries", 0) < 0:
        raise BadArgument("max_retries must be 0 or more", field="max_retries")
    _check_together(options)
    declared("", options, options.get("deployment_display_name") or "")
    return options


def check_name(value: str, field: str) -> None:
    """An id; BadArgument where it is none."""
    try:
        check_id(value, field)
    except InvalidArgument as error:
        raise BadArgument(error.message, field=field, hint=error.hint) from None


def _typed(given: LLMOptions) -> LLMOptions:
    named = {name: value for name, value in given.items() if value is not None}
    try:
        return _OPTIONS.validate_python(named, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0])
        why = "is no argument of LLM" if first["type"] == "extra_forbidden" else first["msg"]
        raise BadArgument(f"{field}: {why}", field=field) from None


def _check_together(options: LLMOptions) -> None:
    for pair in _EXCLUDING:
        if all(options.get(name) for name in pair):
            raise BadArgument(f"{pair[0]} and {pair[1]} exclude each other", field=pair[0], hint="give one of them")
    counts = [name for name in ("min_replica_count", "max_replica_count") if name in options]
    if "replica_count" in options and counts:
        raise BadArgument(
            f"replica_count fixes the count, and {counts[0]} does not", field="replica_count", hint="give one of them"
        )
    drafting = options.get("draft_model") or options.get("ngram_speculation_length")
    if drafting and options.get("draft_token_count") is None:
        raise BadArgument("speculation needs a draft_token_count", field="draft_token_count", hint="4 is typical")
    for name in _SERVER_SIDE:
        if name in options:
            raise BadArgument(f"{name} is the engine's to give", field=name, hint="leave it out")


def without_effect(options: LLMOptions) -> list[str]:
    """What is sent and kept, and does nothing on an engine of one's own: each with the reason, to be told."""
    return [
        f"{name} has no effect on this engine: {reason}"
        for name in options
        if name in _SAME_NAME and (reason := kept_because(name))
    ]


def declared(model: str, options: LLMOptions, display_name: str) -> DeploymentSpec:
    """The deployment of `model`. Its windows are always declared; beside them what was given. BadArgument names a value
    that no deployment has."""
    try:
        return _declared(model, options, display_name)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = str(first["loc"][0])
        field = next((name for name in (_ARGUMENTS.get(path, path), "replica_count") if name in options), path)
        raise BadArgument(f"{field} {first['input']!r}: {first['msg']}", field=field) from None


def _declared(model: str, options: LLMOptions, display_name: str) -> DeploymentSpec:
    fields: dict[str, Any] = {name: options[name] for name in _SAME_NAME if name in options}  # type: ignore[literal-required]
    count = options.get("replica_count")
    fields |= {name: options[name] for name in ("min_replica_count", "max_replica_count") if name in options}
    if count is not None:
        fields |= {"min_replica_count": count, "max_replica_count": count}
    if "region" in options or "multi_region" in options:
        fields["placement"] = Placement(region=options.get("region"), multi_region=options.get("multi_region"))
    if "long_prompt_optimized" in options:
        fields["auto_tune"] = AutoTune(long_prompt=options["long_prompt_optimized"])
    if "live_merge" in options:
        fields["enable_hot_reload_latest_addon"] = options["live_merge"]
    fields["autoscaling_policy"] = AutoscalingPolicy(
        scale_up_window=options.get("scale_up_window", SCALE_UP),
        scale_down_window=options.get("scale_down_window", SCALE_DOWN),
        scale_to_zero_window=options.get("scale_to_zero_window", SCALE_TO_ZERO),
    )
    return DeploymentSpec(base_model=model, display_name=display_name, **fields)
