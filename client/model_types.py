"""Models on the wire: bases, LoRA adapters, and what a client may set of them.

Source: Fireworks' OpenAPI-generated SDK 1.2.30.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from client.enums import CheckpointFormat, DeployedModelState, ModelKind, ModelState, Precision, SnapshotType
from client.wire import Count, Description, DisplayName, Flag, Status, Timestamp, Wire


class BaseModelDetails(Wire):
    """What kind of weights a base model has. `parameter_count` is an int64, and so a text on the wire."""

    parameter_count: Annotated[str, Field(pattern=r"^[0-9]{1,19}$")] | None = None
    checkpoint_format: CheckpointFormat | None = None
    default_precision: Precision | None = None
    model_type: str | None = None
    moe: Flag | None = None
    tunable: Flag | None = None
    world_size: Count | None = None
    supports_fireattention: Flag | None = None
    supports_mtp: Flag | None = None


class ConversationConfig(Wire):
    """How a conversation becomes a prompt."""

    style: str
    system: str | None = None
    template: str | None = None


class TypeDate(Wire):
    """A calendar date; 0 where a part is not known."""

    day: Count | None = None
    month: Count | None = None
    year: Count | None = None


class PeftDetails(Wire):
    """A LoRA adapter: the base that it was trained on, its rank, and the weights that it changes."""

    base_model: str
    r: Count
    target_modules: list[str]
    base_model_type: str | None = None
    merge_addon_model_name: str | None = None


class DeployedModelRef(Wire):
    """Where a model is deployed, in short."""

    name: str
    deployment: str
    state: DeployedModelState = "STATE_UNSPECIFIED"
    default: bool = False
    public: bool = False


class MeasuredFile(Wire):
    """What a file of a model came to on the engine's machine. Speeds are tokens a second of one sequence;
    `perplexity` is that of a text of the engine's."""

    quantization: str
    size_bytes: int
    perplexity: float
    prefill_speed: float
    decode_speed: float


class PrecisionReport(Wire):
    """A prepared precision beside the model's own file, both measured in one run, with `threads` CPU threads on
    `device`. `agreement`: in how many of `tokens` places of a test text both would have continued it alike, 0 to 1."""

    source: MeasuredFile
    made: MeasuredFile
    agreement: float
    tokens: int
    threads: int
    device: str


class PreparedPrecision(Wire):
    """A model in another precision. `state`: PREPARING, READY or FAILED, which `status` explains; `stage`: what is
    being done while it is PREPARING."""

    precision: Precision
    quantization: str
    state: str
    stage: str | None = None
    status: Status | None = None
    create_time: Timestamp | None = None
    update_time: Timestamp | None = None
    report: PrecisionReport | None = None


class ModelFile(Wire):
    """firedeck's own: the file behind a model. `expected_size_bytes`: about, while its size is not known; `digest`:
    its SHA-256; `source`: where it is fetched from; `revision`: the commit of the hub's repository that it is of, once
    it is here; `prepared`: the other precisions that were asked for."""

    file: str | None = None
    size_bytes: int | None = None
    expected_size_bytes: int | None = None
    digest: str | None = None
    quantization: str | None = None
    architecture: str | None = None
    licence: str | None = None
    on_disk: bool = False
    recommended_drafts: list[str] | None = None
    source: str | None = None
    revision: str | None = None
    prepared: list[PreparedPrecision] | None = None


class ModelSpec(Wire):
    """What a user may set."""

    display_name: DisplayName | None = None
    description: Description | None = None
    kind: ModelKind = "HF_BASE_MODEL"
    context_length: Count | None = None
    training_context_length: Count | None = None
    base_model_details: BaseModelDetails | None = None
    peft_details: PeftDetails | None = None
    teft_details: dict[str, Any] | None = None
    conversation_config: ConversationConfig | None = None
    default_draft_model: str | None = None
    default_draft_token_count: Count | None = None
    deprecation_date: TypeDate | None = None
    github_url: str | None = None
    hugging_face_url: str | None = None
    public: Flag | None = None
    snapshot_type: SnapshotType | None = None
    supports_image_input: Flag | None = None
    supports_lora: Flag | None = None
    supports_tools: Flag | None = None
    use_hf_apply_chat_template: Flag | None = None


class Model(ModelSpec):
    """A model as the server shows it; the fields below are output only."""

    name: str = ""
    state: ModelState = "READY"
    status: Status | None = None
    create_time: Timestamp | None = None
    update_time: Timestamp | None = None
    calibrated: bool | None = None
    cluster: str | None = None
    default_sampling_params: dict[str, float] | None = None
    deployed_model_refs: list[DeployedModelRef] | None = None
    fine_tuning_job: str | None = None
    imported_from: str | None = None
    rl_tunable: bool | None = None
    supported_precisions: list[Precision] | None = None
    supported_precisions_with_calibration: list[Precision] | None = None
    supports_serverless: bool | None = None
    tunable: bool | None = None
    firedeck: ModelFile | None = None

    @property
    def id(self) -> str:
        return self.name.rpartition("/")[2]

    @property
    def is_adapter(self) -> bool:
        return self.kind == "HF_PEFT_ADDON"

    def with_base(self, base_model: str) -> Model:
        """An adapter of this base, whose rank and targets are not known yet."""
        details = self.peft_details or PeftDetails(base_model=base_model, r=0, target_modules=[])
        return self.model_copy(update={"peft_details": details.model_copy(update={"base_model": base_model})})


MODEL_OUTPUT_ONLY = frozenset(Model.model_fields) - frozenset(ModelSpec.model_fields)


class ModelPage(Wire):
    models: list[Model] = []
    next_page_token: str = ""
    total_size: int = 0


class UploadEndpoint(Wire):
    """Where each file of a model is to be PUT."""

    filename_to_signed_urls: dict[str, str] = {}
    filename_to_unsigned_uris: dict[str, str] = {}


class UploadValidation(Wire):
    warnings: list[str] = []


class DownloadEndpoint(Wire):
    """Where each file of a model is to be had."""

    filename_to_signed_urls: dict[str, str] = {}
