"""What a declaration of a deployment may not be: limits and exclusions. Pure functions over wire types.

Source: https://docs.fireworks.ai/guides/ondemand-deployments and the SDK's field documentation. Every refusal names
the field in wire spelling and says what to do.
"""

from __future__ import annotations

from datetime import timedelta

from pydantic.alias_generators import to_camel

from client import durations
from client.errors import FailedPrecondition, InvalidArgument
from client.types import LOAD_TARGETS, ColdOptions, Deployment, DeploymentSpec, refused_because
from engine.control import windows
from engine.control.windows import Limits

CONTEXT_TOKENS_MIN = 256
DRAFT_TOKENS_MAX = 31  # a step reads the logits of 32 tokens: the drafted ones and the sequence's own next
NGRAM_LENGTH_MAX = 16
HOLD_TIMEOUT_MAX = timedelta(hours=1)
CACHE_TTL_MAX = timedelta(hours=24)


def check(deployment: Deployment, context_limit: int | None, limits: Limits) -> None:
    """InvalidArgument or FailedPrecondition for a declaration that is whole (`engine.declare`) and cannot be served.

    `context_limit` is the model's, in tokens; None where that is not known."""
    _check_replicas(deployment)
    _check_policy(deployment, limits)
    _check_speculation(deployment)
    _check_served(deployment)
    _check_placement(deployment)
    if deployment.auto_tune and deployment.deployment_template:
        raise InvalidArgument(
            "autoTune and deploymentTemplate exclude each other", field="deploymentTemplate", hint="leave one out"
        )
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
    declared = {
        windows.UP_FIELD: policy.scale_up_window, windows.DOWN_FIELD: policy.scale_down_window,
        windows.ZERO_FIELD: policy.scale_to_zero_window,
    }  # fmt: skip
    up, down, zero = (w.total_seconds() if w else 0.0 for w in declared.values())
    for field, sentence in windows.check(limits, up, down, zero):
        raise InvalidArgument(f"{field} {sentence}, is {durations.to_go(declared[field] or timedelta(0))}", field=field)
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
    for name in DeploymentSpec.model_fields:
        if getattr(deployment, name) and (why := refused_because(name)):
            field = to_camel(name)
            raise FailedPrecondition(f"{field} is not served by this engine: {why}", field=field, hint="leave it out")
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
