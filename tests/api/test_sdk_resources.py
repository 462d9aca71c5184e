"""Deployments, models, deployed models and shapes through the official `fireworks-ai` SDK, unmodified."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fireworks
import httpx
import pytest
from fireworks import Fireworks

from client.addon_types import DeploymentShape, DeploymentShapeVersion
from engine import presets
from engine.models import catalogue
from tests import adapter_files
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess, poll

pytestmark = pytest.mark.model
EMBEDDED = [version for entry in catalogue.embedded() for version in presets.versions_of(entry)]
OFF: dict[str, Any] = {"base_model": SMOLLM2, "max_replica_count": 0}  # declared, with no process behind it


@pytest.fixture(scope="module")
def sdk(engine: EngineProcess) -> Iterator[Fireworks]:
    with Fireworks(api_key=engine.key, account_id="local", base_url=engine.context.base_url, max_retries=0) as client:
        yield client


@pytest.fixture
def deployment(sdk: Fireworks) -> Iterator[str]:
    """`sdk`: settings of every kind, no replica."""
    sdk.deployments.create(deployment_id="sdk", enable_addons=True, **OFF)
    yield "sdk"
    try:
        sdk.deployments.delete("sdk", hard=True, ignore_checks=True)
    except fireworks.NotFoundError:
        return


EVERY_FIELD: dict[str, Any] = {
    "accelerator_count": 1, "accelerator_type": "ACCELERATOR_TYPE_UNSPECIFIED", "active_model_version": "1",
    "auto_tune": {"long_prompt": True}, "description": "of the SDK", "direct_route_type": "INTERNET",
    "disable_deployment_size_validation": True, "display_name": "Mine", "draft_token_count": 4, "enable_addons": True,
    "enable_hot_reload_latest_addon": False, "enable_session_affinity": True, "expire_time": "2030-01-01T00:00:00Z",
    "hot_load_bucket_type": "FW_HOSTED", "hot_load_bucket_url": "s3://bucket", "max_context_length": 1024,
    "max_with_revocable_replica_count": 3, "min_replica_count": 0, "ngram_speculation_length": 3,
    "placement": {"multi_region": "GLOBAL"}, "precision": "PRECISION_UNSPECIFIED", "pricing_plan_id": "p",
    "target_model_version": "2",
    "autoscaling_policy": {
        "scale_up_window": "15s", "scale_down_window": "30m", "scale_to_zero_window": "3600s",
        "load_targets": {"concurrent_requests": 5.0},
    },
}  # fmt: skip


def test_every_field_that_can_be_set_comes_back(sdk: Fireworks) -> None:
    made = sdk.deployments.create(deployment_id="whole", validate_only=True, **OFF, **EVERY_FIELD)
    for field, value in EVERY_FIELD.items():
        shown = getattr(made, field)
        if field in ("expire_time", "auto_tune", "placement", "autoscaling_policy"):
            assert shown is not None
        else:
            assert shown == value, field
    assert made.autoscaling_policy is not None
    assert made.autoscaling_policy.scale_down_window == "1800s"
    assert made.placement is not None
    assert made.placement.multi_region == "GLOBAL"
    with pytest.raises(fireworks.NotFoundError):
        sdk.deployments.get("whole")


def test_a_deployments_whole_life(sdk: Fireworks, deployment: str) -> None:
    poll(lambda: sdk.deployments.get(deployment).state == "READY")
    changed = sdk.deployments.update(deployment, base_model=SMOLLM2, description="new")
    assert (changed.description, changed.enable_addons) == ("new", True)
    with pytest.raises(fireworks.BadRequestError, match="placement cannot be changed"):
        sdk.deployments.update(deployment, base_model=SMOLLM2, placement={"region": "US_IOWA_1"})
    with pytest.raises(fireworks.NotFoundError, match="'field': 'draftModel'"):
        sdk.deployments.update(deployment, base_model=SMOLLM2, draft_model="nope", draft_token_count=4)
    with pytest.raises(fireworks.ConflictError):
        sdk.deployments.create(deployment_id=deployment, **OFF)
    with pytest.raises(fireworks.BadRequestError, match="outside 0 to 0"):
        sdk.deployments.scale(deployment, replica_count=2)
    sdk.deployments.scale(deployment, replica_count=0)
    masked = sdk.deployments.get(deployment, read_mask="name,state")
    assert masked.to_dict() == {"name": "accounts/local/deployments/sdk", "state": "READY"}
    listed = sdk.deployments.list(filter='display_name="sdk" AND (state=READY OR state=UPDATING)', order_by="name desc")
    assert [d.name for d in listed] == ["accounts/local/deployments/sdk"]
    sdk.deployments.delete(deployment)
    poll(lambda: sdk.deployments.get(deployment).state == "DELETED")
    gone = sdk.deployments.get(deployment)
    assert gone.delete_time is not None
    assert gone.purge_time is not None
    assert "sdk" not in {(d.name or "").rpartition("/")[2] for d in sdk.deployments.list()}
    assert "sdk" in {(d.name or "").rpartition("/")[2] for d in sdk.deployments.list(show_deleted=True)}
    assert sdk.deployments.undelete(deployment, body={}).delete_time is None


def test_pages_are_walked_by_the_sdk_itself(sdk: Fireworks) -> None:
    ids = [f"walk-{n}" for n in range(5)]
    for deployment_id in ids:
        sdk.deployments.create(deployment_id=deployment_id, **OFF)
    try:
        walked = [d.name for d in sdk.deployments.list(page_size=2, filter='name="*/walk-*"', order_by="name")]
        assert walked == [f"accounts/local/deployments/{i}" for i in ids]
    finally:
        for deployment_id in ids:
            sdk.deployments.delete(deployment_id, hard=True)


def test_a_shape_fills_in_its_settings_and_holds_to_them(sdk: Fireworks) -> None:
    match = sdk.deployment_shape_versions.match_for_model(SMOLLM2, enable_addons=True)
    assert match.deployment_shape_versions is not None
    version = match.deployment_shape_versions[0]
    assert version.snapshot is not None
    assert version.snapshot.enable_addons
    made = sdk.deployments.create(deployment_shape=version.snapshot.name, validate_only=True, **OFF)
    assert made.deployment_shape == version.name
    assert (made.enable_addons, made.num_peft_device_cached) == (True, 4)
    with pytest.raises(fireworks.BadRequestError, match="skipShapeValidation"):
        sdk.deployments.create(deployment_shape=version.name, max_context_length=512, validate_only=True, **OFF)
    own = sdk.deployments.create(
        deployment_shape=version.name, max_context_length=512, validate_only=True, skip_shape_validation=True, **OFF
    )
    assert own.max_context_length == 512
    default = sdk.deployments.create(deployment_shape="default", validate_only=True, **OFF)
    assert (default.deployment_shape or "").endswith("smollm2-135m-instruct-minimal/versions/v1")
    with pytest.raises(fireworks.BadRequestError, match="exclude each other"):
        sdk.deployments.create(deployment_shape="default", accept_shapeless_risk=True, validate_only=True, **OFF)
    shapes = list(sdk.deployment_shapes.list(account_id="fireworks", target_model=SMOLLM2))
    assert {shape.base_model for shape in shapes} == {SMOLLM2}
    name = (shapes[0].name or "").rpartition("/")[2]
    assert sdk.deployment_shapes.get(name, account_id="fireworks").name == shapes[0].name
    [only] = sdk.deployment_shape_versions.list(name, account_id="fireworks")
    assert sdk.deployment_shape_versions.get("v1", account_id="fireworks", deployment_shape_id=name).name == only.name


def test_a_model_is_uploaded_validated_deployed_and_downloaded(sdk: Fireworks, deployment: str, tmp_path: Path) -> None:
    base = sdk.models.get("smollm2-135m-instruct", account_id="fireworks")
    assert base.deployed_model_refs
    file = adapter_files.make(tmp_path / "a.gguf", Path(base.to_dict()["firedeck"]["file"]), seed=3)  # type: ignore[index]
    details = {"base_model": SMOLLM2, "r": 4, "target_modules": ["q_proj"]}
    made = sdk.models.create(model_id="up", model={"kind": "HF_PEFT_ADDON", "peft_details": details})
    assert made.state == "UPLOADING"
    try:
        with pytest.raises(fireworks.BadRequestError, match="PUT it to its URL"):
            sdk.models.validate_upload("up")
        with pytest.raises(fireworks.BadRequestError, match="UPLOADING"):
            sdk.lora.load(model=made.name or "", deployment="accounts/local/deployments/sdk")
        size = file.stat().st_size
        endpoint = sdk.models.get_upload_endpoint("up", filename_to_size={"a.gguf": str(size)})
        urls = endpoint.filename_to_signed_urls or {}
        for url, content, status in (
            (urls["a.gguf"], b"x", 400), (urls["a.gguf"][:-1] + "_", b"x", 401),
            (urls["a.gguf"], file.read_bytes(), 200),
        ):  # fmt: skip
            assert httpx.put(url, content=content, timeout=PATIENCE_S).status_code == status
        assert sdk.models.validate_upload("up").warnings == []
        ready = sdk.models.get("up")
        assert ready.state == "READY"
        assert ready.peft_details is not None
        assert (ready.peft_details.r, len(ready.peft_details.target_modules)) == (4, 7)

        loaded = sdk.lora.load(model=ready.name or "", deployment="accounts/local/deployments/sdk", display_name="Mine")
        deployed = (loaded.name or "").rpartition("/")[2]
        poll(lambda: sdk.lora.get(deployed).state == "DEPLOYED")
        assert loaded.display_name == "Mine"
        assert deployed in {(r.name or "").rpartition("/")[2] for r in sdk.lora.list()}
        assert sdk.lora.update(deployed, description="said").description == "said"
        refs = sdk.models.get("up").deployed_model_refs or []
        assert [(ref.deployment, ref.default) for ref in refs] == [("accounts/local/deployments/sdk", True)]
        sdk.lora.unload(deployed)
        poll(lambda: not (sdk.models.get("up").deployed_model_refs))
        urls = sdk.models.get_download_endpoint("up").filename_to_signed_urls or {}
        assert httpx.get(urls["a.gguf"], timeout=PATIENCE_S).content == file.read_bytes()
    finally:
        sdk.models.delete("up")


def test_a_models_fields_are_kept_changed_and_guarded(sdk: Fireworks) -> None:
    made = sdk.models.create(
        model_id="fields",
        model={
            "display_name": "F", "description": "d", "kind": "HF_BASE_MODEL", "github_url": "g",
            "hugging_face_url": "h", "public": False, "supports_image_input": False, "training_context_length": 5,
            "deprecation_date": {"year": 2030, "month": 1, "day": 2}, "snapshot_type": "FULL_SNAPSHOT",
            "base_model_details": {"parameter_count": "7", "moe": False, "world_size": 1},
            "conversation_config": {"style": "chatml", "system": "s"},
        },
    )  # fmt: skip
    try:
        assert made.deprecation_date is not None
        assert made.deprecation_date.year == 2030
        assert made.base_model_details is not None
        assert made.base_model_details.parameter_count == "7"
        changed = sdk.models.update("fields", description="e")
        assert (changed.description, changed.display_name) == ("e", "F")
        with pytest.raises(fireworks.BadRequestError, match="kind cannot be changed"):
            sdk.models.update("fields", kind="HF_PEFT_ADDON")
        assert made.conversation_config is not None
        assert (made.conversation_config.style, made.conversation_config.system) == ("chatml", "s")
        with pytest.raises(fireworks.BadRequestError, match="conversationConfig cannot be changed"):
            sdk.models.update("fields", conversation_config={"style": "chatml", "system": "t"})
        with pytest.raises(fireworks.BadRequestError, match="style 'vicuna' is not served"):
            sdk.models.update("fields", conversation_config={"style": "vicuna"})
        with pytest.raises(fireworks.BadRequestError, match="cannot be prepared in FP8"):
            sdk.models.prepare("fields", precision="FP8")
        with pytest.raises(fireworks.BadRequestError, match="is UPLOADING"):
            sdk.deployments.create(base_model="accounts/local/models/fields")
        with pytest.raises(fireworks.ConflictError):
            sdk.models.create(model_id="fields")
        assert "fields" in {(m.name or "").rpartition("/")[2] for m in sdk.models.list(filter="state=UPLOADING")}
    finally:
        sdk.models.delete("fields")
    with pytest.raises(fireworks.NotFoundError):
        sdk.models.get("fields")


@pytest.mark.soak
@pytest.mark.parametrize("version", EMBEDDED, ids=lambda v: v.snapshot.name.rpartition("/")[2])
def test_every_shape_of_the_embedded_models_deploys_and_answers(
    sdk: Fireworks, version: DeploymentShapeVersion
) -> None:
    if version.snapshot.precision is not None:
        _prepare(sdk, version.snapshot)
    sdk.deployments.create(
        deployment_id="shaped", base_model=version.snapshot.base_model, deployment_shape=version.name,
        min_replica_count=1,
    )  # fmt: skip
    try:
        poll(lambda: sdk.deployments.get("shaped").state == "READY")
        answer = sdk.completions.create(model="accounts/local/deployments/shaped", prompt="One, two,", max_tokens=8)
        assert answer.usage.completion_tokens
    finally:
        sdk.deployments.delete("shaped", hard=True, ignore_checks=True)


def _prepare(sdk: Fireworks, shape: DeploymentShape) -> None:
    model, precision = shape.base_model.rpartition("/")[2], shape.precision
    sdk.models.prepare(model, account_id="fireworks", precision=precision)  # type: ignore[arg-type]
    poll(lambda: precision in (sdk.models.get(model, account_id="fireworks").supported_precisions or []))
