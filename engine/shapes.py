"""Deployment shapes: what they fill in at a deployment, what then must not differ, and which of them can be had. Pure.

A shape pins just the fields that it sets. Which shapes there are is told by `engine.shape_files`.

Source of the rules: https://docs.fireworks.ai (deployment shapes) and the SDK's field documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from client.addon_types import DeploymentShape, DeploymentShapeVersion
from client.enums import PRESET_TYPES
from client.errors import FailedPrecondition, InvalidArgument, NotFound
from client.names import LIBRARY_ACCOUNT, Name
from client.types import AutoTune, Deployment, Model
from engine import declare, precision
from engine.control.windows import PRODUCT

DEFAULT = "default"  # as `deploymentShape`: the first shape of the base model
DRAFT_TOKENS_DEFAULT = 4  # where the model names a draft model and no count
PREFIX = f"accounts/{LIBRARY_ACCOUNT}/deploymentShapes/"
_ALIASES = {"cost": "MINIMAL"}  # as the quickstart has it

# What a shape pins, by the deployment's names for it.
_PINS = {
    "accelerator_count": "accelerator_count", "accelerator_type": "accelerator_type", "precision": "precision",
    "max_context_length": "max_context_length", "max_batch_size": "max_batch_size", "draft_model": "draft_model",
    "draft_token_count": "draft_token_count", "ngram_speculation_length": "ngram_speculation_length",
    "enable_addons": "enable_addons", "num_lora_device_cached": "num_peft_device_cached",
    "enable_session_affinity": "enable_session_affinity", "long_prompt": "auto_tune",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What the query of a deployment's create or update asks for, in the terms of what is done."""

    auto_deploy: bool = True
    check_shape: bool = True
    check_image: bool = True
    shapeless: bool = False


NO_OPTIONS = WriteOptions()


def judged(
    versions: Sequence[DeploymentShapeVersion], fits: Callable[[DeploymentShapeVersion], bool]
) -> list[DeploymentShapeVersion]:
    """The versions, each of which is `validated` if it `fits`; the last of a shape of which that holds is the one that
    the shape stands for."""
    fitting = {version.name for version in versions if fits(version)}
    latest = {version.snapshot.name: version.name for version in versions if version.name in fitting}
    return [
        version.model_copy(
            update={
                "validated": version.name in fitting,
                "latest_validated": latest.get(version.snapshot.name) == version.name,
            }
        )
        for version in versions
    ]


def shapes(versions: Sequence[DeploymentShapeVersion]) -> list[DeploymentShape]:
    """Each shape as the version has it that it stands for."""
    return [version.snapshot for version in _standing(versions)]


def find(text: str, base_model: str, versions: Sequence[DeploymentShapeVersion]) -> DeploymentShapeVersion:
    """The version that a `deploymentShape` names: a version, a shape, or of the base model `default` or a preset.

    `versions` are judged. Those of other accounts' models are not found."""
    known = [v for v in versions if v.snapshot.base_model == base_model or v.name.startswith(PREFIX)]
    for version in known:
        if text == version.name:
            return version
    preset = _ALIASES.get(text, text.upper().replace("-", "_"))
    for version in _standing(known):
        shape = version.snapshot
        of_model = shape.base_model == base_model and (text == DEFAULT or shape.preset_type == preset)
        if text in (shape.name, shape.name.rpartition("/")[2]) or of_model:
            return version
    nameless = text == DEFAULT or preset in PRESET_TYPES
    what = f"{base_model} has no shape{'' if text == DEFAULT else f' for {preset}'}"
    raise NotFound(
        what if nameless else f"deployment shape {text[:120]!r} does not exist", field="deploymentShape",
        hint="`firedeck deployment-shape list` shows all, or leave it out",
    )  # fmt: skip


def completed(
    spec: Deployment, model: Model, options: WriteOptions, versions: Sequence[DeploymentShapeVersion]
) -> Deployment:
    """A new deployment with what its shape and its model fill in. InvalidArgument where it departs from its shape.

    `versions` are judged."""
    if options.shapeless and spec.deployment_shape:
        raise InvalidArgument(
            "acceptShapelessRisk and deploymentShape exclude each other", field="deploymentShape", hint="leave one out"
        )
    if spec.deployment_shape:
        version = find(spec.deployment_shape, spec.base_model or "", versions)
        open_fields = [field for field in _PINS.values() if getattr(spec, field) is None]
        spec = _shaped(spec, version, open_fields, options)
    given = (spec.draft_model, spec.ngram_speculation_length, spec.draft_token_count)
    if model.default_draft_model and all(value is None for value in given):
        count = model.default_draft_token_count or DRAFT_TOKENS_DEFAULT
        spec = spec.model_copy(update={"draft_model": model.default_draft_model, "draft_token_count": count})
    return spec


def reshaped(
    current: Deployment, new: Deployment, options: WriteOptions, versions: Sequence[DeploymentShapeVersion]
) -> Deployment:
    """A changed deployment: another shape brings its own settings where the change itself names none. `versions` are
    judged; a deployment whose shape is no longer among them keeps the settings that a shape may have."""
    if not new.deployment_shape:
        return new
    same_name = new.deployment_shape == current.deployment_shape
    if same_name and all(version.name != current.deployment_shape for version in versions):
        return _of_a_lost_shape(current, new, options)
    version = find(new.deployment_shape, new.base_model or "", versions)
    moved = version.name != current.deployment_shape
    untouched = [f for f in _PINS.values() if getattr(new, f) == getattr(current, f)] if moved else []
    return _shaped(new, version, untouched, options)


def check_served(deployment: Deployment, model: Model, options: WriteOptions) -> None:
    """Whether this engine can serve this model so; FailedPrecondition and InvalidArgument say why not."""
    if model.state != "READY":
        raise FailedPrecondition(f"{model.name} is {model.state}", field="baseModel", hint="upload and validate it")
    if model.is_adapter:
        _check_merged(deployment, model)
    precision.check(model, deployment.precision)
    _check_addons(deployment)
    if deployment.image_tag and options.check_image:
        raise InvalidArgument(
            f"imageTag {deployment.image_tag[:60]!r} is not known: replicas run the engine's own version",
            field="imageTag",
            hint="leave it out; with skipImageTagValidation it is kept without effect",
        )


def check_alone(version: DeploymentShapeVersion) -> None:
    """Whether any model could be deployed so; InvalidArgument names the version and what is wrong with it."""
    shape = version.snapshot
    spec = Deployment(base_model=shape.base_model, deployment_shape=version.name)
    try:
        whole = completed(spec, Model(), NO_OPTIONS, [version])
        _check_addons(declare.create(whole, Name.parse("accounts/a/deployments/d"), None, PRODUCT))
    except InvalidArgument as error:
        raise InvalidArgument(f"{version.name}: {error.message}", field=error.field, hint=error.hint) from None


def _check_addons(deployment: Deployment) -> None:
    addons = deployment.enable_addons or deployment.enable_hot_reload_latest_addon
    if addons and not precision.takes_adapters(deployment.precision):
        field = "enableAddons" if deployment.enable_addons else "enableHotReloadLatestAddon"
        raise InvalidArgument(
            f"{field} does not go with precision {deployment.precision}", field=field,
            hint="take FP16 or BF16, or leave precision or the adapters out",
        )  # fmt: skip


def _check_merged(deployment: Deployment, model: Model) -> None:
    """Of an adapter that is merged into its base's weights: it is served alone, in the precision that comes of that."""
    base = model.peft_details.base_model if model.peft_details else "its base"
    asked = {
        "enableAddons": deployment.enable_addons,
        "enableHotReloadLatestAddon": deployment.enable_hot_reload_latest_addon,
    }
    if field := next((name for name, value in asked.items() if value), None):
        raise InvalidArgument(
            f"{field} does not go with the adapter {model.name} as baseModel: it is merged into the weights",
            field=field, hint=f"deploy {base} with {field}, and load the adapter onto it",
        )  # fmt: skip
    if deployment.precision not in (None, "PRECISION_UNSPECIFIED"):
        raise FailedPrecondition(
            f"the adapter {model.name} is merged into its base's own file, not in {deployment.precision}",
            field="precision", hint="leave precision out",
        )  # fmt: skip


def _shaped(
    spec: Deployment, version: DeploymentShapeVersion, open_fields: list[str], options: WriteOptions
) -> Deployment:
    pinned = _pinned(version.snapshot)
    filled = {field: value for field, value in pinned.items() if field in open_fields}
    whole = spec.model_copy(update={**filled, "deployment_shape": version.name})
    if options.check_shape:
        for field, value in {**pinned, "base_model": version.snapshot.base_model}.items():
            if getattr(whole, field) != value:
                raise _mismatch(version, field, value, getattr(whole, field))
    return whole


def _pinned(shape: DeploymentShape) -> dict[str, Any]:
    """What a shape sets, by the deployment's names for it."""
    found = {field: getattr(shape, pin) for pin, field in _PINS.items() if getattr(shape, pin) is not None}
    return found if shape.long_prompt is None else found | {"auto_tune": AutoTune(long_prompt=shape.long_prompt)}


def _standing(versions: Sequence[DeploymentShapeVersion]) -> list[DeploymentShapeVersion]:
    """Of each shape the version that it stands for: the latest validated one; where there is none the latest, which is
    then refused with what it lacks."""
    chosen: dict[str, DeploymentShapeVersion] = {}
    for version in versions:
        former = chosen.get(version.snapshot.name)
        if former is None or not former.latest_validated:
            chosen[version.snapshot.name] = version
    return list(chosen.values())


def _of_a_lost_shape(current: Deployment, new: Deployment, options: WriteOptions) -> Deployment:
    for field in _PINS.values():
        if options.check_shape and getattr(new, field) != getattr(current, field):
            wire = Deployment.model_fields[field].alias or field
            raise FailedPrecondition(
                f"{current.deployment_shape} is no longer there to tell whether {wire} may change", field=wire,
                hint="choose another shape, or send skipShapeValidation=true",
            )  # fmt: skip
    return new


def _mismatch(version: DeploymentShapeVersion, field: str, value: Any, given: Any) -> InvalidArgument:
    wire = Deployment.model_fields[field].alias or field
    return InvalidArgument(
        f"{version.name} has {wire} {_shown(value)}, not {_shown(given)}", field=wire,
        hint="take the shape's, choose another shape, or send skipShapeValidation=true",
    )  # fmt: skip


def _shown(value: Any) -> Any:
    return value.to_wire() if isinstance(value, AutoTune) else value
