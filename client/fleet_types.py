"""firedeck's own wire types: what the dashboard watches. Served below `/firedeck/v1/`, documented in OpenAPI.

Unknown is not zero: a measure that is not known (no traffic yet, not exposed) is None, never 0.
Units are in the names: `_ms`, `_s`, `_per_second`; instants are RFC 3339 UTC.
"""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from client.types import Deployment, Placement, Timestamp, Wire

# The stages of one replica, in the order it goes through them.
REPLICA_STAGES = (
    "PENDING_SCHEDULING", "DOWNLOADING_MODEL", "INITIALIZING", "READY", "DRAINING", "STOPPING",
)  # fmt: skip

# The series of `History`, with their units.
HISTORY_SERIES = {
    "ttft_p50_ms": "ms", "ttft_p95_ms": "ms", "ttft_p99_ms": "ms", "inter_token_p50_ms": "ms",
    "inter_token_p95_ms": "ms", "tokens_per_second": "tok/s", "requests_per_second": "req/s", "queue": "requests",
    "concurrency": "requests", "ready": "replicas", "desired": "replicas", "kv_share": "0 to 1",
    "draft_acceptance": "0 to 1",
}  # fmt: skip


# A fleet has tens of thousands: as a model each would take 1.4 KB, with slots alone it takes a sixth of that.
@dataclass(slots=True, kw_only=True, config=Wire.model_config)
class ReplicaView:
    """One replica process as the engine sees it now."""

    id: str
    stage: str
    pid: int | None = Field(None, description="for admins")
    device: str | None = None
    node: str | None = None
    region: str | None = None
    accelerator_type: str | None = None
    progress: float | None = Field(None, description="of the download or load, 0 to 1")
    started_at: Timestamp | None = None
    ready_at: Timestamp | None = None
    running: int | None = None
    waiting: int | None = None
    slots: int | None = None
    kv_used_tokens: int | None = None
    kv_capacity_tokens: int | None = None
    tokens_per_second: float | None = None
    last_progress_age_s: float | None = None
    restarts: int = 0
    reason: str = ""


class Reason(Wire):
    """Why the autoscaler decided as it did: a stable code and a sentence for people."""

    code: str
    text: str


class TargetView(Wire):
    """One load target: what was observed over the window, what is wanted per replica, replicas that makes."""

    name: str
    observed: float | None = None
    target: float
    wanted: int | None = None


class AutoscalerView(Wire):
    """The last decision, explained."""

    desired: int
    current: int
    reasons: list[Reason] = []
    targets: list[TargetView] = []
    next_change_at: Timestamp | None = Field(None, description="the earliest instant at which the count can change")
    next_change: str = Field("", description="what would happen then, as a sentence")
    decided_at: Timestamp | None = Field(None, description="the last time; only where one deployment is asked for")
    auto_delete_at: Timestamp | None = Field(None, description="when it is deleted for idleness if nobody asks it")


class Condition(Wire):
    """Something that keeps a deployment from being as declared, while it lasts; `message` says why, and what to do.

    `wanted` and `placed` are replicas, None where it is not room that is missing.
    """

    type: str = Field(description="CapacityLimited, RolloutStopped or QuotaExceeded")
    reason: str = Field(
        description="STOCKOUT: there is no room for a replica. ROLLOUT_STOPPED: replicas with the declared settings do "
        "not start and were given up; the former settings serve. MONTHLY_SPEND_LIMIT_EXCEEDED, "
        "GPU_HOURS_LIMIT_EXCEEDED: a quota of the account's month is used up, so that requests are refused"
    )
    message: str = ""
    wanted: int | None = None
    placed: int | None = None
    accelerator_type: str | None = None
    placement: Placement | None = None
    since: Timestamp | None = None
    retry_at: Timestamp | None = Field(None, description="when room is asked for next")


class DeploymentStats(Wire):
    """Measured at the gateway over the last `window_s` seconds; None where nothing was observed."""

    window_s: float
    requests_per_second: float | None = None
    error_rate: float | None = Field(None, description="failed / all requests in the window, 0 to 1")
    queue: int = Field(0, description="requests held at the gateway or waiting in a replica, now")
    running: int = Field(0, description="requests being generated, now")
    ttft_p50_ms: float | None = None
    ttft_p95_ms: float | None = None
    ttft_p99_ms: float | None = None
    tokens_per_second: float | None = None
    prompt_tokens_per_second: float | None = None
    requests_total: int = 0
    errors_total: int = 0
    prompt_tokens_total: int = 0
    cached_tokens_total: int = 0
    generated_tokens_total: int = 0
    synthetic_requests_total: int = 0
    response_cache_hits_total: int = Field(0, description="requests that were answered without being computed")
    response_cache_misses_total: int = 0
    last_request_at: Timestamp | None = None


class QuarantinedRequest(Wire):
    """A request that ended two replicas and is refused until then. Nothing of it is kept but its digest."""

    digest: str = Field(description="SHA-256 of its body, hex")
    replicas: list[str] = Field([], description="those that died while they answered it")
    until: Timestamp | None = None


class NodeView(Wire):
    """A machine that replicas are placed on."""

    name: str
    region: str
    device: str
    accelerator_type: str | None = None
    accelerators: int = 0
    free_accelerators: int = 0
    memory_bytes: int = 0
    free_memory_bytes: int = 0
    free_threads: int = 0
    price_per_hour: float | None = None
    closed: str = Field("", description="why it takes no replica at the moment")
    simulated: bool = False


class NodePage(Wire):
    nodes: list[NodeView] = []
    next_page_token: str = ""
    total_size: int = 0


class SpeculationView(Wire):
    """What became of drafts since the engine counts, and what they cost, as measured when a replica started: of one
    request at a time. Drafts that clients send (`prediction`) are counted too."""

    drafts: int = Field(0, description="steps that verified any")
    drafted: int = Field(0, description="tokens")
    accepted: int = 0
    drafted_at: list[int] = Field([], description="drafts that had a token there, by its position from 0")
    accepted_at: list[int] = Field([], description="drafts that were right up to there")
    step_ms: float | None = Field(None, description="one token without drafts")
    verify_ms: dict[int, float] = Field({}, description="one step by how many tokens it verifies")
    draft_token_ms: float | None = Field(None, description="one token of the draft model; absent where there is none")


class DeploymentStatus(Wire):
    """A deployment with all that the dashboard shows beside it."""

    deployment: Deployment
    stats: DeploymentStats
    autoscaler: AutoscalerView | None = None
    replicas: list[ReplicaView] = []
    quarantined: list[QuarantinedRequest] = []
    conditions: list[Condition] = []
    observed_update_time: Timestamp | None = Field(
        None, description="the deployment's updateTime that the engine has acted on: state and counts are of that one"
    )
    simulated: bool = False
    speculation: SpeculationView | None = Field(None, description="absent while no replica has told")

    @property
    def seen_as_declared(self) -> bool:
        """The last change has been acted on: what is shown is not that of the settings before."""
        return self.observed_update_time == self.deployment.update_time


class EngineInfo(Wire):
    version: str
    started_at: Timestamp
    pid: int | None = Field(None, description="for admins")
    data_dir: str | None = Field(None, description="for admins")
    cores: int = Field(description="of all nodes that say how many they have")
    accelerators: int = Field(0, description="of all nodes")
    gpus: list[str] = Field([], description="the kinds of accelerators that nodes have")
    rehearsal: bool = Field(False, description="the product's window limits are lowered on this server")
    synthetic_traffic: bool = Field(False, description="labelled synthetic requests were seen in the last minute")
    simulated: bool = False


class AlertView(Wire):
    """A rule whose condition holds for a deployment: PENDING until it has held long enough, then FIRING."""

    name: str
    deployment: str
    state: str = Field(description="PENDING or FIRING")
    severity: str = Field(description="warning or info")
    value: float
    threshold: float
    text: str = Field(description="the value beside its threshold, for people")
    summary: str
    action: str
    since: Timestamp
    fired_at: Timestamp | None = None


class AlertRule(Wire):
    """What is watched for every deployment; `expression` is the same as PromQL over `/metrics`."""

    name: str
    expression: str
    for_s: float
    severity: str
    threshold: float
    summary: str
    action: str


class AlertPage(Wire):
    alerts: list[AlertView] = []
    rules: list[AlertRule] = []


class FleetSnapshot(Wire):
    """The whole fleet at one instant, over all accounts the key may see."""

    time: Timestamp
    engine: EngineInfo
    deployments: list[DeploymentStatus] = []
    alerts: list[AlertView] = []


class FleetChanges(Wire):
    """What a later instant has other than the snapshot or the changes told just before; the deployments are the same
    ones."""

    time: Timestamp
    engine: EngineInfo
    changed: list[DeploymentStatus] = []
    alerts: list[AlertView] = Field([], description="all that there are")

    def on(self, former: FleetSnapshot) -> FleetSnapshot:
        """The whole fleet at this instant. What has not changed is the very object of the former snapshot."""
        changed = {one.deployment.name: one for one in self.changed}
        deployments = [changed.get(one.deployment.name, one) for one in former.deployments]
        return FleetSnapshot(time=self.time, engine=self.engine, deployments=deployments, alerts=self.alerts)


class Event(Wire):
    """Something that happened to a deployment; `seq` grows by one and orders them."""

    seq: int
    time: Timestamp
    deployment: str
    kind: str = Field(description="Normal or Warning")
    reason: str = Field(description="stable CamelCase code, e.g. ScaledUp, ReplicaReady, ReplicaDied")
    message: str
    replica: str | None = None


class EventPage(Wire):
    events: list[Event] = []
    next_page_token: str = ""
    total_size: int | None = Field(None, description="on all pages; absent where the newest alone were asked for")


class History(Wire):
    """Equally spaced samples; `series[name][i]` belongs to `times[i]` (epoch seconds); None is a gap."""

    deployment: str
    step_s: float
    times: list[float] = []
    series: dict[str, list[float | None]] = {}
