"""Control-plane wire types: protojson in lowerCamelCase, as the official SDKs send and read them.

Source: Fireworks' OpenAPI-generated SDK 1.2.30 (fields, enums) and https://docs.fireworks.ai (defaults, limits).
Answers are read with unknown fields ignored (a newer server may send more); requests are validated by the server
with `extra="forbid"`. Enums travel as plain strings, so that a state this version does not know still shows.
Fields named `firedeck` are this project's own additions.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from client.enums import ACCELERATOR_TYPES as ACCELERATOR_TYPES
from client.enums import LOAD_TARGETS as LOAD_TARGETS
from client.enums import MULTI_REGIONS as MULTI_REGIONS
from client.enums import PRECISIONS as PRECISIONS
from client.enums import REGIONS as REGIONS
from client.enums import (
    AcceleratorType,
    AccountType,
    AskedPrecision,
    BucketType,
    DeploymentState,
    DirectRouteType,
    HotLoadTransitionType,
    MultiRegion,
    Region,
    ServingEngine,
    SuspendState,
)
from client.model_types import BaseModelDetails as BaseModelDetails
from client.model_types import MeasuredFile as MeasuredFile
from client.model_types import Model as Model
from client.model_types import ModelFile as ModelFile
from client.model_types import ModelPage as ModelPage
from client.model_types import PrecisionReport as PrecisionReport
from client.model_types import PreparedPrecision as PreparedPrecision
from client.wire import Count as Count
from client.wire import Description, DisplayName
from client.wire import Duration as Duration
from client.wire import Flag as Flag
from client.wire import ReplicaCount as ReplicaCount
from client.wire import Status as Status
from client.wire import Timestamp as Timestamp
from client.wire import Wire as Wire

BATCH_MAX = 256  # llama_max_parallel_sequences() of llama.cpp
UNDELETE_WITHIN = timedelta(days=7)  # of a delete that is not hard; then it is gone for good
CREATING, READY, UPDATING, FAILED, DELETING, DELETED = (
    "CREATING", "READY", "UPDATING", "FAILED", "DELETING", "DELETED",
)  # fmt: skip


class AutoscalingPolicy(Wire):
    """When replicas are added and removed. Windows default to 30s / 10m / 1h on the server."""

    scale_up_window: Duration | None = None
    scale_down_window: Duration | None = None
    scale_to_zero_window: Duration | None = None
    load_targets: dict[str, Annotated[float, Field(strict=True)]] | None = None


_KEPT, _REFUSED = "kept as declared, without effect: ", "refused where it is set: "


def _kept(why: str) -> Any:
    """A field that is stored and returned, and decides nothing here."""
    return Field(None, description=_KEPT + why)


def _refused(why: str) -> Any:
    """A field that must not be set: ignored, it would change answers, cost or access behind its user's back."""
    return Field(None, description=_REFUSED + why)


def _only_one(why: str) -> Any:
    return Field(None, description=f"at most 1 is taken: {why}")


class AutoTune(Wire):
    long_prompt: Flag | None = Field(
        None,
        description="for prompts of more than some 3000 tokens: where nothing is said 8192 tokens of context instead "
        "of 2048, 2 sequences instead of 8 and twice the fewest accelerators that hold the model; a count of 1 is "
        "refused on nodes with accelerators, and asks nothing where there are none",
    )


class Placement(Wire):
    multi_region: MultiRegion | None = None
    region: Region | None = None
    regions: list[Region] | None = None


class ReplicaStats(Wire):
    """How many replicas stand at each stage."""

    pending_scheduling_replica_count: int = 0
    downloading_model_replica_count: int = 0
    initializing_replica_count: int = 0
    ready_replica_count: int = 0


class ColdOptions(Wire):
    """firedeck's own: what a request to a deployment at zero replicas meets, and how the autoscaler treats surprises.

    `hold` keeps it until a replica is ready (at most `hold_timeout`), `reject` answers Fireworks' documented
    503 `DEPLOYMENT_SCALING_UP` at once; both wake the deployment. `panic` (on unless false): a burst of twice what is
    ready does not wait for the scale-up window. `forecast_floor` (off unless true): the count keeps up with the load
    expected within a minute. `max_queue_wait` (none unless given): while replicas serve, a request that at the pace of
    the queue (while it forms: by what requests took before) would wait longer for a place is answered 429 at once.
    `response_cache` (off unless true): requests at temperature 0, or with a seed, that equal one answered within the
    last `response_cache_ttl` (5m) get its answer, and nothing is computed.
    """

    cold_policy: Literal["hold", "reject"] | None = Field(
        None,
        description="default hold: whoever asks a small fleet of one's own rather waits than fails (Fireworks: reject)",
    )
    hold_timeout: Duration | None = None
    max_queue_wait: Duration | None = None
    threads: Annotated[Count, Field(ge=1, le=256)] | None = None
    panic: Flag | None = None
    forecast_floor: Flag | None = None
    response_cache: Flag | None = None
    response_cache_ttl: Duration | None = None


class DeploymentSpec(Wire):
    """What a user may set."""

    base_model: str | None = None
    display_name: DisplayName | None = None
    description: Description | None = None
    annotations: dict[str, str] | None = None
    min_replica_count: ReplicaCount | None = None
    max_replica_count: ReplicaCount | None = None
    max_with_revocable_replica_count: ReplicaCount | None = _kept("no capacity is revocable")
    autoscaling_policy: AutoscalingPolicy | None = None
    accelerator_count: Count | None = None
    accelerator_type: AcceleratorType | None = None
    precision: AskedPrecision | None = None
    placement: Placement | None = None
    deployment_shape: str | None = None
    deployment_template: str | None = _kept("there are none; see deploymentShape")
    auto_tune: AutoTune | None = None
    max_context_length: Count | None = None
    max_batch_size: Annotated[Count, Field(le=BATCH_MAX)] | None = Field(
        None,
        description="sequences that one replica runs at once; 0 or unset: 8, since each of them has room for its whole "
        "context, in the memory of your own machine; at most 256, llama.cpp's most (Fireworks: 16 and 1024)",
    )
    max_peft_batch_size: Count | None = None
    kv_cache_memory_pct: Annotated[Count, Field(le=90)] | None = _kept(
        "the cache has just room for maxBatchSize sequences of maxContextLength; so no default of 80 is shown"
    )
    draft_model: str | None = None
    draft_token_count: Count | None = None
    ngram_speculation_length: Count | None = None
    enable_addons: Flag | None = None
    enable_mtp: Flag | None = _refused("llama.cpp has no multi-token prediction")
    enable_session_affinity: Flag | None = None
    enable_hot_load: Flag | None = _refused("weights are not replaced under a running replica")
    enable_hot_reload_latest_addon: Flag | None = None
    hot_load_bucket_type: BucketType | None = _kept("enableHotLoad is refused")
    hot_load_bucket_url: str | None = _kept("enableHotLoad is refused")
    hot_load_trainer_job: str | None = _kept("enableHotLoad is refused")
    hot_load_transition_type: HotLoadTransitionType | None = _kept("enableHotLoad is refused")
    num_peft_device_cached: Count | None = None
    direct_route_type: DirectRouteType | None = _kept("every deployment is reached through the gateway")
    direct_route_api_keys: list[str] | None = _refused("keys are those of users: see apiKeys")
    active_model_version: str | None = _kept("a model has one version")
    target_model_version: str | None = _kept("a model has one version")
    disable_deployment_size_validation: Flag | None = None
    pricing_plan_id: str | None = _kept("prices are those of nodes")
    expire_time: Timestamp | None = _kept("nothing is deleted at that time")
    world_size: Count | None = _only_one("see acceleratorCount")
    generator_count: Count | None = _only_one("one process does it all")
    disaggregated_prefill_count: Annotated[Count, Field(le=16)] | None = _only_one("one process does it all")
    disaggregated_prefill_world_size: Count | None = _only_one("one process does it all")
    engine: ServingEngine | None = _kept("replicas run llama.cpp")
    image_tag: str | None = Field(
        None,
        description="refused where it is set, for replicas are no containers; with skipImageTagValidation it is "
        "kept as declared, without effect",
    )
    extra_args: list[str] | None = _refused("a replica has no other options than those of this message")
    extra_values: dict[str, str] | None = _refused("a replica has no other options than those of this message")
    workload: str | None = _kept("no workload is treated in a way of its own")
    for_training: Flag | None = _kept("there is no training")
    spot: Flag | None = Field(None, description="the same as preemptible")
    preemptible: Flag | None = Field(
        None,
        description="a replica ends, with 30s for its requests, where one of a deployment that is not preemptible "
        "finds no place and that makes room; it is placed again when there is room",
    )
    disable_accounting: Flag | None = _kept("what replicas use is counted in any case")
    firedeck: ColdOptions | None = None


def kept_because(field: str) -> str:
    """Why a field of a DeploymentSpec decides nothing here; "" of one that does."""
    return _because(field, _KEPT)


def refused_because(field: str) -> str:
    """Why a field of a DeploymentSpec must not be set here; "" of one that may."""
    return _because(field, _REFUSED)


def _because(field: str, said: str) -> str:
    told = DeploymentSpec.model_fields[field].description or ""
    return told.removeprefix(said) if told.startswith(said) else ""


class Deployment(DeploymentSpec):
    """A deployment as the server shows it; the fields below are output only."""

    name: str = ""
    state: DeploymentState = "STATE_UNSPECIFIED"
    status: Status | None = None
    created_by: str | None = None
    create_time: Timestamp | None = None
    update_time: Timestamp | None = None
    delete_time: Timestamp | None = None
    purge_time: Timestamp | None = None
    desired_replica_count: int | None = None
    replica_count: int | None = None
    replica_stats: ReplicaStats | None = None
    region: Region | None = None
    cluster: str | None = None
    direct_route_handle: str | None = None

    @property
    def id(self) -> str:
        return self.name.rpartition("/")[2]

    @property
    def simulated(self) -> bool:
        """Its replicas stand on virtual nodes, and their answers are made up."""
        return self.cluster == SIMULATED_CLUSTER

    @property
    def model_string(self) -> str:
        """What to put into a request's `model` to reach just this deployment."""
        return f"{self.base_model}#{self.name}"


SIMULATED_CLUSTER = "simulated"
OUTPUT_ONLY = frozenset(Deployment.model_fields) - frozenset(DeploymentSpec.model_fields)
IMMUTABLE = frozenset({"base_model", "placement", "accelerator_type", "engine", "for_training", "spot", "preemptible"})


class Account(Wire):
    name: str = ""
    display_name: str | None = None
    email: str = ""
    account_type: AccountType = "ACCOUNT_TYPE_UNSPECIFIED"
    state: str = "READY"
    status: Status | None = None
    suspend_state: SuspendState = "UNSUSPENDED"
    create_time: Timestamp | None = None
    update_time: Timestamp | None = None

    @property
    def id(self) -> str:
        return self.name.rpartition("/")[2]


class DeploymentPage(Wire):
    deployments: list[Deployment] = []
    next_page_token: str = ""
    total_size: int = 0


class DeploymentMetrics(Wire):
    """Means over a range of time, by name; units as in `fleet_types.HISTORY_SERIES`."""

    metrics: dict[str, float] = {}


class AccountPage(Wire):
    accounts: list[Account] = []
    next_page_token: str = ""
    total_size: int = 0
