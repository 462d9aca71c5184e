"""Deployment shapes: what they fill in, what they hold to, and what the engine cannot serve so."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from client.addon_types import DeploymentShapeVersion
from client.errors import FailedPrecondition, InvalidArgument, NotFound
from client.names import Name
from client.types import Deployment, Model
from engine import declare, long_prompt, presets, shape_files, shapes
from engine.control.windows import PRODUCT
from engine.models import catalogue
from engine.shapes import NO_OPTIONS, WriteOptions, check_served, completed, reshaped

SMOLLM2 = "accounts/fireworks/models/smollm2-135m-instruct"
MODEL = Model(name=SMOLLM2)
PREPARED = Model(name=SMOLLM2, supported_precisions=["FP16", "FP8", "FP4"])
THROUGHPUT = shapes.PREFIX + "smollm2-135m-instruct-throughput"
FAST = shapes.PREFIX + "smollm2-135m-instruct-fast"
LIBRARY = shapes.judged(presets.library_versions(), lambda version: True)
UNCHECKED = WriteOptions(check_shape=False)


def made(options: WriteOptions = NO_OPTIONS, model: Model = MODEL, **fields) -> Deployment:
    spec = completed(Deployment(base_model=SMOLLM2, **fields), model, options, LIBRARY)
    return declare.create(spec, Name("local", "deployments", "d"), 8192, PRODUCT)


@pytest.mark.parametrize("version", LIBRARY, ids=lambda v: v.snapshot.name.rpartition("/")[2])
def test_every_shape_is_of_a_model_of_the_library_and_makes_a_valid_deployment(version):
    assert version.name.startswith(version.snapshot.name + "/versions/")
    entry = catalogue.find(version.snapshot.base_model)
    spec, model = Deployment(base_model=entry.name, deployment_shape=version.name), Model(name=entry.name)
    complete = completed(spec, model, NO_OPTIONS, LIBRARY)
    whole = declare.create(complete, Name("a", "deployments", "d"), entry.context_length, PRODUCT)
    assert whole.deployment_shape == version.name
    assert whole.max_batch_size == version.snapshot.max_batch_size


def test_a_shape_fills_in_what_was_left_open_and_becomes_its_version():
    whole = made(deployment_shape=THROUGHPUT, display_name="mine")
    assert (whole.deployment_shape, whole.max_batch_size) == (f"{THROUGHPUT}/versions/v1", 16)
    assert made(deployment_shape="smollm2-135m-instruct-throughput") == made(deployment_shape=THROUGHPUT)
    assert made(deployment_shape=f"{THROUGHPUT}/versions/v1") == made(deployment_shape=THROUGHPUT)
    assert (made(deployment_shape="default").deployment_shape or "").startswith(shapes.PREFIX)


@pytest.mark.parametrize(("field", "value"), [("max_batch_size", 3), ("max_context_length", 512)])
def test_a_departure_from_the_shape_is_refused_by_name_unless_it_is_skipped(field, value):
    with pytest.raises(InvalidArgument) as refused:
        made(deployment_shape=THROUGHPUT, **{field: value})
    assert refused.value.field == Deployment.model_fields[field].alias
    assert "skipShapeValidation" in (refused.value.hint or "")
    assert getattr(made(UNCHECKED, deployment_shape=THROUGHPUT, **{field: value}), field) == value


def test_a_shape_of_another_model_is_refused():
    with pytest.raises(InvalidArgument) as refused:
        made(deployment_shape=shapes.PREFIX + "gemma-3-270m-minimal")
    assert refused.value.field == "baseModel"


@pytest.mark.parametrize("text", ["nope", THROUGHPUT + "/versions/v9", shapes.PREFIX, "", None])
def test_a_shape_that_is_not_there(text):
    if not text:
        assert made(deployment_shape=text).max_batch_size == long_prompt.SLOTS
        return
    with pytest.raises(NotFound) as missing:
        made(deployment_shape=text)
    assert missing.value.field == "deploymentShape"


def test_a_shape_and_the_acceptance_of_having_none_exclude_each_other():
    with pytest.raises(InvalidArgument) as refused:
        made(WriteOptions(shapeless=True), deployment_shape=THROUGHPUT)
    assert refused.value.field == "deploymentShape"
    made(WriteOptions(shapeless=True))


def test_an_update_must_hold_to_the_shape_and_another_shape_brings_its_own_settings():
    current = made(deployment_shape=THROUGHPUT)
    other = current.model_copy(update={"max_batch_size": 3})
    with pytest.raises(InvalidArgument):
        reshaped(current, other, NO_OPTIONS, LIBRARY)
    assert reshaped(current, other, UNCHECKED, LIBRARY).max_batch_size == 3
    moved = reshaped(current, current.model_copy(update={"deployment_shape": FAST}), NO_OPTIONS, LIBRARY)
    assert (moved.max_batch_size, moved.ngram_speculation_length) == (4, 3)
    assert (
        reshaped(current, current.model_copy(update={"deployment_shape": None}), NO_OPTIONS, LIBRARY).max_batch_size
        == 16
    )


def test_a_models_own_draft_model_applies_where_nothing_else_is_said():
    drafted = Model(name=SMOLLM2, default_draft_model="accounts/local/models/d", default_draft_token_count=6)
    whole = made(model=drafted)
    assert (whole.draft_model, whole.draft_token_count) == ("accounts/local/models/d", 6)
    assert made(model=drafted, draft_token_count=0).draft_model is None
    assert made(model=drafted, ngram_speculation_length=3, draft_token_count=4).draft_model is None


@pytest.mark.parametrize(
    ("fields", "model", "field"),
    [
        ({"precision": "FP8"}, MODEL, "precision"),
        ({"precision": "BF16"}, Model(name=SMOLLM2, supported_precisions=["FP16"]), "precision"),
        ({}, Model(name=SMOLLM2, state="UPLOADING"), "baseModel"),
        ({"enable_addons": True}, Model(name=SMOLLM2, kind="HF_PEFT_ADDON"), "enableAddons"),
        ({"precision": "FP16"}, Model(name=SMOLLM2, kind="HF_PEFT_ADDON"), "precision"),
        ({"image_tag": "4.1"}, MODEL, "imageTag"),
        ({"precision": "FP8", "enable_addons": True}, PREPARED, "enableAddons"),
        ({"precision": "FP4", "enable_hot_reload_latest_addon": True}, PREPARED, "enableHotReloadLatestAddon"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(fields, model, field):
    with pytest.raises(InvalidArgument) as refused:
        check_served(made(**fields), model, NO_OPTIONS)
    assert refused.value.field == field
    assert refused.value.hint


def test_what_the_model_has_is_served():
    check_served(made(precision="FP16"), Model(name=SMOLLM2, supported_precisions=["FP16"]), NO_OPTIONS)
    for fields in ({"precision": "FP16", "enable_addons": True}, {"precision": "FP8"}, {"enable_addons": True}):
        check_served(made(**fields), PREPARED, NO_OPTIONS)
    check_served(made(image_tag="4.1"), MODEL, WriteOptions(check_image=False))
    with pytest.raises(FailedPrecondition):
        check_served(made(precision="NF4"), MODEL, NO_OPTIONS)


def test_two_ways_to_be_tuned_exclude_each_other():
    with pytest.raises(InvalidArgument) as refused:
        made(auto_tune={"longPrompt": True}, deployment_template="t")
    assert refused.value.field == "deploymentTemplate"


@pytest.mark.parametrize(
    ("text", "shape"),
    [("fast", FAST), ("FAST", FAST), ("cost", shapes.PREFIX + "smollm2-135m-instruct-minimal"),
     ("full-precision", shapes.PREFIX + "smollm2-135m-instruct-full-precision")],
)  # fmt: skip
def test_a_preset_names_the_shape_of_the_model(text, shape):
    assert shapes.find(text, SMOLLM2, LIBRARY).snapshot.name == shape
    with pytest.raises(NotFound, match="has no shape for"):
        shapes.find(text, "accounts/local/models/ours", LIBRARY)


def test_a_shape_with_long_prompt_turns_it_on_and_holds_to_it():
    summarization = shapes.PREFIX + "smollm2-135m-instruct-summarization"
    whole = made(deployment_shape=summarization)
    assert long_prompt.asked(whole)
    with pytest.raises(InvalidArgument) as refused:
        made(deployment_shape=summarization, auto_tune={"longPrompt": False})
    assert refused.value.field == "autoTune"


def of_a_file(*versions: str, base_model: str = SMOLLM2) -> list[DeploymentShapeVersion]:
    head = f'[[shape]]\nid = "own"\nbase_model = "{base_model}"\n'
    tables = (f'[[shape.version]]\nid = "v{n}"\n{one}\n' for n, one in enumerate(versions, 1))
    return list(shape_files.parse(head + "".join(tables), datetime(2026, 1, 2, tzinfo=UTC)))


def test_a_shape_stands_for_its_latest_version_that_the_model_can_have():
    versions = of_a_file("max_batch_size = 1", "max_batch_size = 2", 'precision = "FP8"')
    found = shapes.judged(versions, lambda version: version.snapshot.precision is None)
    assert [(v.validated, v.latest_validated) for v in found] == [(True, False), (True, True), (False, False)]
    assert shapes.find("own", SMOLLM2, found).name.endswith("/v2")
    assert shapes.find(versions[2].name, SMOLLM2, found) == found[2]
    none = shapes.judged(versions, lambda version: False)
    assert shapes.find("own", SMOLLM2, none).name.endswith("/v3")  # is refused with what it lacks
    assert [shape.precision for shape in shapes.shapes(none)] == ["FP8"]


def test_the_shapes_of_anothers_model_are_not_found():
    theirs = of_a_file("max_batch_size = 1", base_model="accounts/eve/models/secret")
    with pytest.raises(NotFound):
        shapes.find("accounts/eve/deploymentShapes/own", SMOLLM2, theirs)
    assert shapes.find("own", "accounts/eve/models/secret", theirs) == theirs[0]


def test_a_deployment_whose_shape_is_gone_keeps_what_a_shape_may_set():
    current = made(deployment_shape=THROUGHPUT)
    grown = current.model_copy(update={"max_replica_count": 3})
    assert reshaped(current, grown, NO_OPTIONS, []) == grown
    with pytest.raises(FailedPrecondition, match="no longer there") as refused:
        reshaped(current, current.model_copy(update={"max_batch_size": 3}), NO_OPTIONS, [])
    assert refused.value.field == "maxBatchSize"
    assert reshaped(current, current.model_copy(update={"max_batch_size": 3}), UNCHECKED, []).max_batch_size == 3
