"""Control-plane wire types: protojson in lowerCamelCase, as the official SDKs send and read them.

Source: Fireworks' OpenAPI-generated SDK 1.2.30 (fields, enums) and https://docs.fireworks.ai (defaults, limits).
Answers are read with unknown fields ignored (a newer server may send more); requests are validated by the server
with `extra="forbid"`. Enums travel as plain strings, so that a state this version does not know still shows.
Fields named `firedeck` are this project's own additions.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

from client import durations
from client.errors import InvalidArgument


class Wire(BaseModel):
    """A message of the control plane: camelCase on the wire, snake_case accepted too, unset fields left out."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", protected_namespaces=())

    def to_wire(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _read_duration(value: Any) -> Any:
    if not isinstance(value, str):
        return value if isinstance(value, timedelta) else _refuse_duration(value)
    try:
        return durations.parse(value)
    except InvalidArgument as error:
        raise ValueError(error.text) from error


def _refuse_duration(value: Any) -> Any:
    raise ValueError(f"{value!r} is not a duration: write it as a string like '30s', '10m' or '1h30m'")


def _in_utc(value: datetime) -> datetime:
    """An instant without a zone is UTC; one that UTC cannot express is refused."""
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the time is out of range") from error


def _write_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Duration = Annotated[timedelta, BeforeValidator(_read_duration), PlainSerializer(durations.to_proto, return_type=str)]
Timestamp = Annotated[datetime, AfterValidator(_in_utc), PlainSerializer(_write_time, return_type=str)]
Count = Annotated[int, Field(strict=True, ge=0)]
ReplicaCount = Annotated[int, Field(strict=True, ge=0, le=1000)]
Flag = Annotated[bool, Field(strict=True)]

ACCELERATOR_TYPES = (
    "ACCELERATOR_TYPE_UNSPECIFIED", "NVIDIA_A100_80GB", "NVIDIA_H100_80GB", "AMD_MI300X_192GB", "NVIDIA_A10G_24GB",
    "NVIDIA_A100_40GB", "NVIDIA_L4_24GB", "NVIDIA_H200_141GB", "NVIDIA_B200_180GB", "AMD_MI325X_256GB",
    "AMD_MI350X_288GB",
)  # fmt: skip
PRECISIONS = (
    "PRECISION_UNSPECIFIED", "FP16", "FP8", "FP8_MM", "FP8_AR", "FP8_MM_KV_ATTN", "FP8_KV", "FP8_MM_V2", "FP8_V2",
    "FP8_MM_KV_ATTN_V2", "NF4", "FP4", "BF16", "FP4_BLOCKSCALED_MM", "FP4_MX_MOE",
)  # fmt: skip
MULTI_REGIONS = ("MULTI_REGION_UNSPECIFIED", "GLOBAL", "US", "EUROPE", "APAC")
REGIONS = (
    "REGION_UNSPECIFIED", "US_IOWA_1", "US_VIRGINIA_1", "US_VIRGINIA_2", "US_ILLINOIS_1", "AP_TOKYO_1", "EU_LONDON_1",
    "US_ARIZONA_1", "US_TEXAS_1", "US_ILLINOIS_2", "EU_FRANKFURT_1", "US_TEXAS_2", "EU_PARIS_1", "EU_HELSINKI_1",
    "US_NEVADA_1", "EU_ICELAND_1", "EU_ICELAND_2", "US_WASHINGTON_1", "US_WASHINGTON_2", "EU_ICELAND_DEV_1",
    "US_WASHINGTON_3", "US_ARIZONA_2", "AP_TOKYO_2", "US_CALIFORNIA_1", "US_MISSOURI_1", "US_UTAH_1", "US_TEXAS_3",
    "US_ARIZONA_3", "US_GEORGIA_1", "US_GEORGIA_2", "US_WASHINGTON_4", "US_GEORGIA_3", "NA_BRITISHCOLUMBIA_1",
    "US_GEORGIA_4", "EU_ICELAND_3", "US_OHIO_1", "US_NEWYORK_1",
)  # fmt: skip
LOAD_TARGETS = (
    "default", "tokens_generated_per_second", "prompt_tokens_per_second", "requests_per_second", "concurrent_requests",
    "firedeck_ttft_p99_ms",  # firedeck's own: milliseconds to the first token that 99 of 100 requests keep
)  # fmt: skip

CREATING, READY, UPDATING, FAILED, DELETING, DELETED = (
    "CREATING", "READY", "UPDATING", "FAILED", "DELETING", "DELETED",
)  # fmt: skip


class Status(Wire):
    code: str = "OK"
    message: str = ""


class AutoscalingPolicy(Wire):
    """When replicas are added and removed. Windows default to 30s / 10m / 1h on the server."""

    scale_up_window: Duration | None = None
    scale_down_window: Duration | None = None
    scale_to_zero_window: Duration | None = None
    load_targets: dict[str, Annotated[float, Field(strict=True)]] | None = None


class AutoTune(Wire):
    long_prompt: Flag | None = None


class Placement(Wire):
    multi_region: str | None = None
    region: str | None = None
    regions: list[str] | None = None


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
    expected within a minute.
    """

    cold_policy: Literal["hold", "reject"] | None = None
    hold_timeout: Duration | None = None
    threads: Annotated[int, Field(strict=True, ge=1, le=256)] | None = None
    panic: Flag | None = None
    forecast_floor: Flag | None = None


class DeploymentSpec(Wire):
    """What a user may set."""

    base_model: str | None = None
    display_name: Annotated[str, Field(max_length=63)] | None = None
    description: Annotated[str, Field(max_length=999)] | None = None
    annotations: dict[str, str] | None = None
    min_replica_count: ReplicaCount | None = None
    max_replica_count: ReplicaCount | None = None
    max_with_revocable_replica_count: ReplicaCount | None = None
    autoscaling_policy: AutoscalingPolicy | None = None
    accelerator_count: Count | None = None
    accelerator_type: str | None = None
    precision: str | None = None
    placement: Placement | None = None
    deployment_shape: str | None = None
    deployment_template: str | None = None
    auto_tune: AutoTune | None = None
    max_context_length: Count | None = None
    max_batch_size: Annotated[int, Field(strict=True, ge=1, le=256)] | None = None
    max_peft_batch_size: Count | None = None
    kv_cache_memory_pct: Annotated[int, Field(strict=True, ge=1, le=90)] | None = None
    draft_model: str | None = None
    draft_token_count: Count | None = None
    ngram_speculation_length: Count | None = None
    enable_addons: Flag | None = None
    enable_mtp: Flag | None = None
    enable_session_affinity: Flag | None = None
    enable_hot_load: Flag | None = None
    enable_hot_reload_latest_addon: Flag | None = None
    hot_load_bucket_type: str | None = None
    hot_load_bucket_url: str | None = None
    num_peft_device_cached: Count | None = None
    direct_route_type: str | None = None
    direct_route_api_keys: list[str] | None = None
    active_model_version: str | None = None
    target_model_version: str | None = None
    disable_deployment_size_validation: Flag | None = None
    pricing_plan_id: str | None = None
    expire_time: Timestamp | None = None
    world_size: Count | None = None
    generator_count: Count | None = None
    disaggregated_prefill_count: Count | None = None
    disaggregated_prefill_world_size: Count | None = None
    firedeck: ColdOptions | None = None


class Deployment(DeploymentSpec):
    """A deployment as the server shows it; the fields below are output only."""

    name: str = ""
    state: str = "STATE_UNSPECIFIED"
    status: Status | None = None
    created_by: str | None = None
    create_time: Timestamp | None = None
    update_time: Timestamp | None = None
    delete_time: Timestamp | None = None
    purge_time: Timestamp | None = None
    desired_replica_count: int | None = None
    replica_count: int | None = None
    replica_stats: ReplicaStats | None = None
    region: str | None = None
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
IMMUTABLE = frozenset({"base_model", "placement", "accelerator_type"})


class BaseModelDetails(Wire):
    parameter_count: str | None = None
    checkpoint_format: str | None = None
    default_precision: str | None = None
    model_type: str | None = None
    moe: bool | None = None
    tunable: bool | None = None
    world_size: int | None = None


class ModelFile(Wire):
    """firedeck's own: the file behind a model."""

    file: str | None = None
    size_bytes: int | None = None
    digest: str | None = None
    quantization: str | None = None
    architecture: str | None = None
    licence: str | None = None
    on_disk: bool = False


class Model(Wire):
    name: str = ""
    display_name: str | None = None
    description: str | None = None
    kind: str = "HF_BASE_MODEL"
    state: str = "READY"
    status: Status | None = None
    create_time: Timestamp | None = None
    update_time: Timestamp | None = None
    context_length: int | None = None
    base_model_details: BaseModelDetails | None = None
    public: bool | None = None
    supports_lora: bool | None = None
    supports_tools: bool | None = None
    supports_image_input: bool | None = None
    default_draft_model: str | None = None
    use_hf_apply_chat_template: bool | None = None
    firedeck: ModelFile | None = None

    @property
    def id(self) -> str:
        return self.name.rpartition("/")[2]


class Account(Wire):
    name: str = ""
    display_name: str | None = None
    email: str = ""
    state: str = "READY"
    suspend_state: str = "UNSUSPENDED"
    create_time: Timestamp | None = None


class DeploymentPage(Wire):
    deployments: list[Deployment] = []
    next_page_token: str = ""
    total_size: int = 0


class ModelPage(Wire):
    models: list[Model] = []
    next_page_token: str = ""
    total_size: int = 0


class AccountPage(Wire):
    accounts: list[Account] = []
    next_page_token: str = ""
    total_size: int = 0
