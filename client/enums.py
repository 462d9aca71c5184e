"""The enums of the control plane, by their names on the wire.

Answers are read leniently, so that a value this version does not know still shows; requests, which are validated with
the context `STRICT`, must use a known name. Source: Fireworks' OpenAPI-generated SDK 1.2.30.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

STRICT = {"strict_enums": True}  # context of `model_validate` for what a client sends


@dataclass(frozen=True, slots=True)
class OneOf:
    """Marks a text as an enum with these names."""

    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "enum": list(self.names)}

    def _check(self, value: str, info: ValidationInfo) -> str:
        if info.context and info.context.get("strict_enums") and value not in self.names:
            raise ValueError(f"{value[:60]!r} is not known (known: {', '.join(said(self.names))})")
        return value


def said(names: Iterable[str]) -> list[str]:
    """The names that say something: those that one may be advised to use."""
    return [name for name in names if not name.endswith("_UNSPECIFIED")]


ACCELERATOR_TYPES = (
    "ACCELERATOR_TYPE_UNSPECIFIED", "NVIDIA_A100_80GB", "NVIDIA_H100_80GB", "AMD_MI300X_192GB", "NVIDIA_A10G_24GB",
    "NVIDIA_A100_40GB", "NVIDIA_L4_24GB", "NVIDIA_H200_141GB", "NVIDIA_B200_180GB", "AMD_MI325X_256GB",
    "AMD_MI350X_288GB",
)  # fmt: skip
PRECISIONS = (
    "PRECISION_UNSPECIFIED", "FP16", "FP8", "FP8_MM", "FP8_AR", "FP8_MM_KV_ATTN", "FP8_KV", "FP8_MM_V2", "FP8_V2",
    "FP8_MM_KV_ATTN_V2", "NF4", "FP4", "BF16", "FP4_BLOCKSCALED_MM", "FP4_MX_MOE",
)  # fmt: skip
AUTO = "AUTO"  # our own, where a precision is asked for: the engine chooses, and says why in this annotation
AUTO_PRECISIONS = ("FP16", "BF16", "FP8", "FP4")  # what is prepared of a model where AUTO is asked for
PRECISION_LABEL = "firedeck.precision"
SIMULATED_LABEL = "firedeck.simulated"  # annotation of what stands on virtual nodes
SERVERLESS_UNTIL_LABEL = "firedeck.serverless-until"  # of a serverless deployment: the day on which it goes
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
DEPLOYMENT_STATES = ("STATE_UNSPECIFIED", "CREATING", "READY", "DELETING", "FAILED", "UPDATING", "DELETED")
MODEL_KINDS = (
    "KIND_UNSPECIFIED", "HF_BASE_MODEL", "HF_PEFT_ADDON", "HF_TEFT_ADDON", "FLUMINA_BASE_MODEL", "FLUMINA_ADDON",
    "DRAFT_ADDON", "FIRE_AGENT", "LIVE_MERGE", "CUSTOM_MODEL", "EMBEDDING_MODEL", "SNAPSHOT_MODEL",
)  # fmt: skip
PRESET_TYPES = (
    "PRESET_TYPE_UNSPECIFIED", "MINIMAL", "FAST", "THROUGHPUT", "FULL_PRECISION", "AGENTIC_CODING", "CHAT",
    "SUMMARIZATION",
)  # fmt: skip

AcceleratorType = Annotated[str, OneOf(ACCELERATOR_TYPES)]
Precision = Annotated[str, OneOf(PRECISIONS)]
AskedPrecision = Annotated[str, OneOf((*PRECISIONS, AUTO))]
Region = Annotated[str, OneOf(REGIONS)]
MultiRegion = Annotated[str, OneOf(MULTI_REGIONS)]
DirectRouteType = Annotated[
    str, OneOf(("DIRECT_ROUTE_TYPE_UNSPECIFIED", "INTERNET", "GCP_PRIVATE_SERVICE_CONNECT", "AWS_PRIVATELINK"))
]
BucketType = Annotated[str, OneOf(("BUCKET_TYPE_UNSPECIFIED", "MINIO", "S3", "NEBIUS", "FW_HOSTED"))]
HotLoadTransitionType = Annotated[str, OneOf(("TRANSITION_TYPE_UNSPECIFIED", "ASYNC", "SYNC"))]
ServingEngine = Annotated[str, OneOf(("ENGINE_UNSPECIFIED", "FIREATTENTION", "VLLM", "NIM"))]
DeploymentState = Annotated[str, OneOf(DEPLOYMENT_STATES)]
# FAILED is this project's: the platform's own enum has no word for an adapter that no replica could load.
DeployedModelState = Annotated[
    str, OneOf(("STATE_UNSPECIFIED", "UNDEPLOYING", "DEPLOYING", "DEPLOYED", "UPDATING", "FAILED"))
]
ModelState = Annotated[str, OneOf(("STATE_UNSPECIFIED", "UPLOADING", "READY"))]
ModelKind = Annotated[str, OneOf(MODEL_KINDS)]
SnapshotType = Annotated[str, OneOf(("FULL_SNAPSHOT", "INCREMENTAL_SNAPSHOT"))]
CheckpointFormat = Annotated[str, OneOf(("CHECKPOINT_FORMAT_UNSPECIFIED", "NATIVE", "HUGGINGFACE", "UNINITIALIZED"))]
PresetType = Annotated[str, OneOf(PRESET_TYPES)]
AccountType = Annotated[str, OneOf(("ACCOUNT_TYPE_UNSPECIFIED", "ENTERPRISE"))]
SuspendState = Annotated[
    str,
    OneOf(
        ("UNSUSPENDED", "FAILED_PAYMENTS", "CREDIT_DEPLETED", "MONTHLY_SPEND_LIMIT_EXCEEDED", "BLOCKED_BY_ABUSE_RULE")
    ),
]
