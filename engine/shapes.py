"""Deployment shapes: what they are, what they fill in at a deployment, and what then must not differ. Pure.

A shape pins just the fields that it sets. Source of the rules: https://docs.fireworks.ai (deployment shapes) and the
SDK's field documentation.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from client.addon_types import DeploymentShape, DeploymentShapeVersion
from client.errors import FailedPrecondition, InvalidArgument, NotFound
from client.names import LIBRARY_ACCOUNT
from client.types import Deployment, Model
from engine import precision

DEFAULT = "default"  # as `deploymentShape`: the first shape of the base model
DRAFT_TOKENS_DEFAULT = 4  # where the model names a draft model and no count
PREFIX = f"accounts/{LIBRARY_ACCOUNT}/deploymentShapes/"

# What a shape pins, by the deployment's names for it.
_PINS = {
    "accelerator_count": "accelerator_count", "accelerator_type": "accelerator_type", "precision": "precision",
    "max_context_length": "max_context_length", "max_batch_size": "max_batch_size", "draft_model": "draft_model",
    "draft_token_count": "draft_token_count", "ngram_speculation_length": "ngram_speculation_length",
    "enable_addons": "enable_addons", "num_lora_device_cached": "num_peft_device_cached",
    "enable_session_affinity": "enable_session_affinity",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What the query of a deployment's create or update asks for, in the terms of what is done."""

    auto_deploy: bool = True
    check_shape: bool = True
    check_image: bool = True
    shapeless: bool = False


NO_OPTIONS = WriteOptions()


@cache
def versions() -> tuple[DeploymentShapeVersion, ...]:
    """Every version of every shape, the oldest of each first, in the order of the catalogue."""
    found: list[DeploymentShapeVersion] = []
    for table in tomllib.loads(files("engine").joinpath("shapes.toml").read_text("utf-8"))["shape"]:
        found += _versions_of(table)
    return tuple(found)


def shapes() -> list[DeploymentShape]:
    """Each shape as its latest version has it."""
    return [version.snapshot for version in versions() if version.latest_validated]


def find(text: str, base_model: str) -> DeploymentShapeVersion:
    """The version that a `deploymentShape` names: a version, a shape (its latest), or `default` for a base model."""
    for version in versions():
        latest = version.snapshot.name if version.latest_validated else ""
        names = (version.name, latest, latest.rpartition("/")[2] or None)
        if text in names or (
            text == DEFAULT and version.latest_validated and version.snapshot.base_model == base_model
        ):
            return version
    what = f"{base_model} has no shape" if text == DEFAULT else f"deployment shape {text[:120]!r} does not exist"
    raise NotFound(what, field="deploymentShape", hint="`firedeck deployment-shape list` shows all, or leave it out")


def completed(spec: Deployment, model: Model, options: WriteOptions) -> Deployment:
    """A new deployment with what its shape and its model fill in. InvalidArgument where it departs from its shape."""
    if spec.auto_tune and spec.deployment_template:
        raise InvalidArgument("autoTune and deploymentTemplate exclude each other", field="deploymentTemplate")
    if options.shapeless and spec.deployment_shape:
        raise InvalidArgument(
            "acceptShapelessRisk and deploymentShape exclude each other", field="deploymentShape", hint="leave one out"
        )
    if spec.deployment_shape:
        version = find(spec.deployment_shape, spec.base_model or "")
        open_fields = [field for field in _PINS.values() if getattr(spec, field) is None]
        spec = _shaped(spec, version, open_fields, options)
    given = (spec.draft_model, spec.ngram_speculation_length, spec.draft_token_count)
    if model.default_draft_model and all(value is None for value in given):
        count = model.default_draft_token_count or DRAFT_TOKENS_DEFAULT
        spec = spec.model_copy(update={"draft_model": model.default_draft_model, "draft_token_count": count})
    return spec


def reshaped(current: Deployment, new: Deployment, options: WriteOptions) -> Deployment:
    """A changed deployment: another shape brings its own settings where the change itself names none."""
    if not new.deployment_shape:
        return new
    version = find(new.deployment_shape, new.base_model or "")
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
    addons = deployment.enable_addons or deployment.enable_hot_reload_latest_addon
    if addons and not precision.takes_adapters(deployment.precision):
        field = "enableAddons" if deployment.enable_addons else "enableHotReloadLatestAddon"
        raise InvalidArgument(
            f"{field} does not go with precision {deployment.precision}", field=field,
            hint="take FP16 or BF16, or leave precision or the adapters out",
        )  # fmt: skip
    if deployment.image_tag and options.check_image:
        raise InvalidArgument(
            f"imageTag {deployment.image_tag[:60]!r} is not known: replicas run the engine's own version",
            field="imageTag",
            hint="leave it out; with skipImageTagValidation it is kept without effect",
        )


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
    shape = version.snapshot
    pinned = {field: getattr(shape, pin) for pin, field in _PINS.items() if getattr(shape, pin) is not None}
    filled = {field: value for field, value in pinned.items() if field in open_fields}
    whole = spec.model_copy(update={**filled, "deployment_shape": version.name})
    if options.check_shape:
        for field, value in {**pinned, "base_model": shape.base_model}.items():
            if getattr(whole, field) != value:
                raise _mismatch(version, field, value, getattr(whole, field))
    return whole


def _mismatch(version: DeploymentShapeVersion, field: str, value: Any, given: Any) -> InvalidArgument:
    wire = Deployment.model_fields[field].alias or field
    return InvalidArgument(
        f"{version.name} has {wire} {value}, not {given}", field=wire,
        hint="take the shape's, choose another shape, or send skipShapeValidation=true",
    )  # fmt: skip


def _versions_of(table: dict[str, Any]) -> list[DeploymentShapeVersion]:
    name = PREFIX + table["id"]
    common = {key: value for key, value in table.items() if key not in ("id", "version")}
    tables: list[dict[str, Any]] = table["version"]
    return [
        DeploymentShapeVersion(
            name=f"{name}/versions/{one['id']}",
            create_time=one["create_time"],
            snapshot=DeploymentShape.model_validate(
                {**common, **{k: v for k, v in one.items() if k != "id"}, "name": name,
                 "create_time": tables[0]["create_time"], "update_time": one["create_time"]}
            ),
            validated=True,
            latest_validated=one is tables[-1],
            public=True,
        )
        for one in tables
    ]  # fmt: skip
