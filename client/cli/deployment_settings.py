"""What `firedeck deployment create` and `update` can set, and what of it goes over the wire."""

from __future__ import annotations

import math
from typing import Any

import click
from pydantic.alias_generators import to_camel

from client.cli import completing
from client.cli.constants import CONSTANT, Constant
from client.cli.durations import DURATION
from client.cli.instants import INSTANT
from client.enums import AUTO, PRECISION_LABEL, PRECISIONS, SERVERLESS_UNTIL_LABEL, SIMULATED_LABEL
from client.types import (
    MULTI_REGIONS,
    AutoscalingPolicy,
    AutoTune,
    ColdOptions,
    Deployment,
    DeploymentSpec,
    Placement,
    kept_because,
)

Given = dict[str, Any]
OWN = ("cold_policy", "max_queue_wait", "panic", "forecast_floor", "response_cache", "response_cache_ttl")  # firedeck's

_ENGINES_LABELS = frozenset(
    {PRECISION_LABEL, SIMULATED_LABEL, SERVERLESS_UNTIL_LABEL}
)  # annotations that nobody declared


def _targets(ctx: click.Context, param: click.Parameter, value: str | None) -> dict[str, float] | None:
    if value is None:
        return None
    try:
        targets = {key.strip(): float(number) for key, number in (part.split("=") for part in value.split(","))}
    except ValueError:
        raise click.BadParameter("write NAME=NUMBER,NAME=NUMBER") from None
    if not all(math.isfinite(number) for number in targets.values()):
        raise click.BadParameter("targets are finite numbers")
    return targets


def _labels(ctx: click.Context, param: click.Parameter, value: str | None) -> dict[str, str] | None:
    if value is None:
        return None
    parts = [part.partition("=") for part in value.split(",") if part]
    if not all(name and between for name, between, _ in parts):
        raise click.BadParameter("write NAME=TEXT,NAME=TEXT")
    return {name: text for name, _, text in parts}


def _keys(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> list[str] | None:
    return list(value) or None


_SERVED = (  # in which form the model is served
    click.option(
        "--deployment-shape", help="Settings known to work for the model: a shape, a preset (fast) or 'default'."
    ),
    click.option(
        "--precision",
        type=Constant((*PRECISIONS[1:], AUTO)),
        help="FP16, BF16, FP8, FP4 once prepared; AUTO: the fastest that is true enough.",
    ),
)
_SCALE = (  # how it is called, and how many replicas it has
    click.option("--display-name"),
    click.option("--description"),
    click.option("--min-replica-count", type=int, help="0 allows scaling to zero."),
    click.option("--max-replica-count", type=int),
    click.option("--scale-up-window", help="e.g. 30s", type=DURATION),
    click.option("--scale-down-window", help="e.g. 10m", type=DURATION),
    click.option("--scale-to-zero-window", help="e.g. 1h, at least 5m", type=DURATION),
    click.option("--load-targets", help="e.g. default=0.8,concurrent_requests=4", callback=_targets),
)
_MODEL = (  # what each replica holds
    click.option("--max-context-length", type=int, help="Tokens a sequence."),
    click.option("--max-batch-size", type=int, help="Sequences that one replica runs at once."),
    click.option(
        "--draft-model",
        shell_complete=completing.MODELS,
        help="A smaller model with the same vocabulary, that drafts for this one.",
    ),
    click.option("--draft-token-count", type=int, help="Tokens drafted a step, 1 to 31; 0 drafts none."),
    click.option("--ngram-speculation-length", type=int, help="Draft what followed n tokens before, 1 to 16."),
    click.option("--enable-addons/--no-enable-addons", default=None, help="LoRA adapters beside the model."),
    click.option(
        "--enable-hot-reload-latest-addon/--no-enable-hot-reload-latest-addon",
        default=None,
        help="One LoRA adapter for all requests, replaced by the next.",
    ),
    click.option("--max-peft-batch-size", type=int, help="Sequences with an adapter at once."),
    click.option("--num-peft-device-cached", type=int, help="Adapters in a replica's memory at once."),
)
_MACHINE = (  # where each runs, and who comes to it
    click.option("--kv-cache-fraction", type=click.FloatRange(0, 0.9), help="Of memory; no effect here."),
    click.option("--kv-cache-memory-pct", type=int, help="The same in percent."),
    click.option("--accelerator-count", type=int, help="GPUs a replica; 1 is the CPU where no node has any."),
    click.option(
        "--enable-session-affinity/--no-enable-session-affinity",
        default=None,
        help="Keep a session on one replica (on).",
    ),
    click.option(
        "--long-prompt",
        type=bool,
        is_flag=False,
        flag_value=True,
        help="For prompts past 3000 tokens: long context, two GPUs or more.",
    ),
    click.option(
        "--disable-deployment-size-validation/--no-disable-deployment-size-validation",
        default=None,
        help="Take what no node has room for yet.",
    ),
    click.option("--annotations", help="e.g. team=search,tier=gold", callback=_labels),
)
_OWN_SETTINGS = (  # firedeck's own
    click.option("--cold-policy", type=click.Choice(["hold", "reject"]), help="Requests at zero replicas."),
    click.option("--max-queue-wait", help="e.g. 2s: who would wait longer gets 429 at once.", type=DURATION),
    click.option("--panic/--no-panic", default=None, help="Whether a burst may skip the scale-up window."),
    click.option("--forecast-floor/--no-forecast-floor", default=None, help="Keep up with the expected load."),
    click.option("--response-cache/--no-response-cache", default=None, help="Answer equal requests once."),
    click.option("--response-cache-ttl", help="How long an answer is kept, e.g. 5m", type=DURATION),
)
_WITHOUT_USE = (  # firectl's, for which an engine of one's own has nothing: it says so, as its API does
    click.option("--expire-time", type=INSTANT, help="No effect here: nothing is deleted then."),
    click.option("--direct-route-type", type=CONSTANT, help="No effect here: the gateway leads to all."),
    click.option("--direct-route-api-keys", multiple=True, callback=_keys, help="Refused here: keys are users'."),
    click.option("--enable-mtp/--no-enable-mtp", default=None, help="Refused here: llama.cpp has none."),
    click.option("--deployment-template", help="No effect here: there are none."),
    click.option("--max-with-revocable-replica-count", type=int, help="No effect here: no capacity is revocable."),
)


def settings(command: Any) -> Any:
    """What `create` and `update` can set."""
    for option in reversed((*_SERVED, *_SCALE, *_MODEL, *_MACHINE, *_OWN_SETTINGS, *_WITHOUT_USE)):
        command = option(command)
    return command


def spec(given: Given) -> DeploymentSpec:
    """The declared fields; what was not given stays unset, so that an update leaves it alone."""
    set_fields = {key: value for key, value in given.items() if value is not None}
    policy = {
        key: set_fields.pop(key)
        for key in ("scale_up_window", "scale_down_window", "scale_to_zero_window", "load_targets")
        if key in set_fields
    }
    if policy:
        set_fields["autoscaling_policy"] = AutoscalingPolicy(**policy)
    own = {key: set_fields.pop(key) for key in OWN if key in set_fields}
    if own:
        set_fields["firedeck"] = ColdOptions(**own)
    if "kv_cache_fraction" in set_fields:
        set_fields["kv_cache_memory_pct"] = _percent(set_fields)
    if "long_prompt" in set_fields:
        set_fields["auto_tune"] = AutoTune(long_prompt=set_fields.pop("long_prompt"))
    if "region" in set_fields:
        set_fields["placement"] = _placement(set_fields.pop("region"))
    return DeploymentSpec.model_construct(_fields_set=set(set_fields), **set_fields)


def without_effect(declared: DeploymentSpec) -> list[str]:
    """What of it an engine of one's own keeps and does nothing with, each with the reason."""
    given = ((name, kept_because(name)) for name in sorted(declared.model_fields_set))
    return [f"warning: {to_camel(name)} has no effect on this engine: {why}" for name, why in given if why]


def settings_of(d: Deployment) -> DeploymentSpec:
    """What makes another one like it: no more than was declared or filled in, in the words of the command's flags.

    Where it runs is none of that (its `region` is a fact, its `placement` the wish), nor are the engine's labels."""
    given = {name: getattr(d, name) for name in DeploymentSpec.model_fields}
    labels = {name: text for name, text in (d.annotations or {}).items() if name not in _ENGINES_LABELS}
    given |= {"annotations": labels or None, "preemptible": d.preemptible or d.spot, "spot": None}  # of one meaning
    return DeploymentSpec.model_construct(**given)


def _percent(given: Given) -> int:
    """Of memory, for the KV cache."""
    if "kv_cache_memory_pct" in given:
        raise click.UsageError("--kv-cache-fraction and --kv-cache-memory-pct are one setting: give either")
    fraction: float = given.pop("kv_cache_fraction")
    return round(fraction * 100)


def _placement(where: str) -> Placement:
    """firectl's one flag for the three forms."""
    regions = [part.strip() for part in where.split(",")]
    if where in MULTI_REGIONS:
        return Placement(multi_region=where)
    return Placement(region=where) if len(regions) == 1 else Placement(regions=regions)
