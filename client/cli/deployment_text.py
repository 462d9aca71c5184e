"""A deployment as firectl's `get` and `list` print it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from client import durations
from client.cli.deployment_settings import settings_of
from client.cli.output import SIMULATED, lines
from client.enums import PRECISION_LABEL
from client.fleet_types import DeploymentStats
from client.stages import counts, known, local_time, stages
from client.stages import holding_up as holding_up
from client.stages import progress as progress
from client.types import READY, AutoscalingPolicy, Deployment, Placement

HEADER = (
    "NAME", "STATE", "READY", "STARTING", "WAITING", "MIN", "MAX", "ACCELERATOR", "PLACEMENT", "BASE MODEL",
    "CREATE TIME",
)  # fmt: skip


def row(d: Deployment) -> Sequence[str]:
    """`READY` is ready of desired; `STARTING` download or load; `WAITING` have no place yet."""
    ready, starting, waiting = counts(d)
    return (
        d.id, _state(d), f"{ready}/{d.desired_replica_count or 0}", str(starting), str(waiting),
        str(d.min_replica_count or 0), str(d.max_replica_count or 0), _accelerator(d) or "-",
        placement(d.placement) or "-", d.base_model or "", local_time(d.create_time),
    )  # fmt: skip


def note(deployments: Sequence[Deployment]) -> str:
    return SIMULATED if any(d.simulated for d in deployments) else ""


def text(d: Deployment, held_up: str = "", hits: str = "") -> str:
    """`Key: value` in the order of firectl's `get`; what was not declared and has no default is left out. `hits`: of
    its response cache, see `cache_hits`."""
    told = (*_life(d, held_up), *_size(d), *_policy(d.autoscaling_policy), *_model(d))
    hits_told = (("Response Cache Hits", hits),) if hits else ()
    return lines((*told, *hits_told, ("Model String", d.model_string)))


def cache_hits(stats: DeploymentStats) -> str:
    """`12 of 40 requests (30 %)` of those that its response cache was asked for; "" for none."""
    hits, asked = stats.response_cache_hits_total, stats.response_cache_hits_total + stats.response_cache_misses_total
    return f"{hits} of {asked} requests ({100 * hits / asked:.0f} %)" if asked else ""


def replicas(d: Deployment) -> str:
    """`3 (1 ready, 1 loading the model, 1 to be started)`: all that were asked for, by stage."""
    total = d.replica_count or 0
    told = [f"{number} {stage}" for number, stage in stages(d) if number]
    return f"{total} ({', '.join(told)})" if told else str(total)


def placement(where: Placement | None) -> str:
    """`GLOBAL`, `US_IOWA_1`, `US_IOWA_1,EU_PARIS_1`: as the flag `--region` takes it."""
    if where is None:
        return ""
    return known(where.multi_region) or known(where.region) or ",".join(where.regions or [])


def _state(d: Deployment) -> str:
    """`ZERO` where the dashboard has it: none is wanted and none is there, until a request comes."""
    return "ZERO" if d.state == READY and not d.desired_replica_count and not counts(d)[0] else known(d.state)


def _accelerator(d: Deployment) -> str:
    """`4 NVIDIA_H100_80GB`; nothing where a replica takes none: a count alone is kept as declared."""
    kind = known(d.accelerator_type)
    return f"{d.accelerator_count or ''} {kind}".strip() if kind else ""


def _life(d: Deployment, held_up: str) -> Iterator[tuple[str, str]]:
    yield "Name", d.name
    if d.display_name and d.display_name != d.id:
        yield "Display Name", d.display_name
    if d.description:
        yield "Description", d.description
    yield "Create Time", local_time(d.create_time)
    if d.delete_time:
        yield "Delete Time", local_time(d.delete_time)
        yield "Purge Time", local_time(d.purge_time)
    yield "Created By", d.created_by or ""
    yield "State", known(d.state)
    yield "Cluster", SIMULATED if d.simulated else d.cluster or "local"
    if known(d.region):
        yield "Region", known(d.region)
    yield "Status", f"{d.status.code} {d.status.message}".strip() if d.status else ""
    if held_up:
        yield "Held Up By", held_up


def _size(d: Deployment) -> Iterator[tuple[str, str]]:
    yield "Min Replica Count", _number(d.min_replica_count)
    yield "Max Replica Count", _number(d.max_replica_count)
    yield "Desired Replica Count", _number(d.desired_replica_count)
    yield "Replica Count", replicas(d)


def _policy(policy: AutoscalingPolicy | None) -> Iterator[tuple[str, str]]:
    yield "Autoscaling Policy", ""
    yield "  Scale Up Window", _window(policy.scale_up_window if policy else None)
    yield "  Scale Down Window", _window(policy.scale_down_window if policy else None)
    yield "  Scale To Zero Window", _window(policy.scale_to_zero_window if policy else None)
    if policy and policy.load_targets:
        yield "  Load Targets", ",".join(f"{name}={value:g}" for name, value in policy.load_targets.items())


def _model(d: Deployment) -> Iterator[tuple[str, str]]:
    """What runs and on what: only what was declared or filled in."""
    yield "Base Model", d.base_model or ""
    declared = (
        ("Deployment Shape", d.deployment_shape),
        ("Accelerator Type", known(d.accelerator_type)),
        ("Accelerator Count", _number(d.accelerator_count or None)),
        ("Placement", placement(d.placement)),
        ("Long Prompt", "true" if d.auto_tune and d.auto_tune.long_prompt else ""),
        ("Preemptible", "true" if d.preemptible or d.spot else ""),
        ("Precision", known(d.precision)),
        ("Chosen By AUTO", (d.annotations or {}).get(PRECISION_LABEL)),
        ("Max Context Length", _number(d.max_context_length)),
        ("Max Batch Size", _number(d.max_batch_size)),
        ("Draft Model", d.draft_model),
        ("Draft Token Count", _number(d.draft_token_count)),  # 0 says that nothing drafts
        ("Ngram Speculation Length", _number(d.ngram_speculation_length)),
        ("Enable Addons", "true" if d.enable_addons else ""),
        ("Enable Hot Reload Latest Addon", "true" if d.enable_hot_reload_latest_addon else ""),
        ("Max Peft Batch Size", _number(d.max_peft_batch_size)),
        ("Num Peft Device Cached", _number(d.num_peft_device_cached)),
        ("Enable Session Affinity", "false" if d.enable_session_affinity is False else ""),
        ("Response Cache", _cache(d)),
        ("Cold Policy", (d.firedeck.cold_policy if d.firedeck else None)),
        ("Max Queue Wait", _window(d.firedeck.max_queue_wait if d.firedeck else None)),
        ("Annotations", _labels(d)),
    )
    yield from ((key, value) for key, value in declared if value)


def _labels(d: Deployment) -> str:
    """Those that somebody declared, as the flag takes them."""
    return ",".join(f"{name}={text}" for name, text in (settings_of(d).annotations or {}).items())


def _cache(d: Deployment) -> str:
    own = d.firedeck
    return f"on, for {_window(own.response_cache_ttl)}" if own and own.response_cache else ""


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _window(value: timedelta | None) -> str:
    return durations.to_go(value) if value is not None else ""
