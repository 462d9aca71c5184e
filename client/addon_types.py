"""What serves what, and in which shape: deployed models (LoRA adapters among them) and deployment shapes.

Source: Fireworks' OpenAPI-generated SDK 1.2.30.
"""

from __future__ import annotations

from pydantic import Field

from client.enums import AcceleratorType, DeployedModelState, Precision, PresetType
from client.wire import Count, Description, DisplayName, Flag, Status, Timestamp, Wire


class DeployedModelSpec(Wire):
    """What a user may set: which model, on which deployment, and who reaches it by the model's bare name."""

    model: str | None = None
    deployment: str | None = None
    display_name: DisplayName | None = None
    description: Description | None = None
    default: Flag | None = None
    public: Flag | None = None
    serverless: Flag | None = None


class DeployedModel(DeployedModelSpec):
    """A model on a deployment as the server shows it; the fields below are output only."""

    name: str = ""
    state: DeployedModelState = Field(
        "STATE_UNSPECIFIED",
        description="FAILED is this project's own: no replica could load the adapter, and status says why",
    )
    status: Status | None = None
    created_by: str | None = None
    create_time: Timestamp | None = None
    update_time: Timestamp | None = None

    @property
    def id(self) -> str:
        return self.name.rpartition("/")[2]


DEPLOYED_OUTPUT_ONLY = frozenset(DeployedModel.model_fields) - frozenset(DeployedModelSpec.model_fields)


class DeployedModelPage(Wire):
    deployed_models: list[DeployedModel] = []
    next_page_token: str = ""
    total_size: int = 0


class DeploymentShape(Wire):
    """A set of settings that is known to work for a model."""

    name: str = ""
    base_model: str = ""
    display_name: str | None = None
    description: str | None = None
    preset_type: PresetType | None = None
    model_type: str | None = None
    parameter_count: str | None = None
    accelerator_count: Count | None = None
    accelerator_type: AcceleratorType | None = None
    precision: Precision | None = None
    max_context_length: Count | None = None
    max_batch_size: Count | None = Field(None, description="this project's own: as of a deployment")
    long_prompt: Flag | None = Field(None, description="this project's own: a deployment's autoTune.longPrompt")
    draft_model: str | None = None
    draft_token_count: Count | None = None
    ngram_speculation_length: Count | None = None
    enable_addons: Flag | None = None
    num_lora_device_cached: Count | None = None
    enable_session_affinity: Flag | None = None
    disable_deployment_size_validation: Flag | None = None
    create_time: Timestamp | None = None
    update_time: Timestamp | None = None


class DeploymentShapeVersion(Wire):
    """A shape as it stood at one time."""

    name: str = ""
    create_time: Timestamp | None = None
    snapshot: DeploymentShape
    validated: bool = Field(False, description="its model could be deployed so now, as far as the model decides it")
    latest_validated: bool = Field(False, description="the version that the shape stands for")
    public: bool = False


class DeploymentShapePage(Wire):
    deployment_shapes: list[DeploymentShape] = []
    next_page_token: str = ""
    total_size: int = 0


class DeploymentShapeVersionPage(Wire):
    deployment_shape_versions: list[DeploymentShapeVersion] = []
    next_page_token: str = ""
    total_size: int = 0
