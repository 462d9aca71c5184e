"""Deployment shapes: what they fill in, what they hold to, and what the engine cannot serve so."""

from __future__ import annotations

import pytest

from client.errors import FailedPrecondition, InvalidArgument, NotFound
from client.names import Name
from client.types import Deployment, Model
from engine import declare, long_prompt, shapes
from engine.control.windows import PRODUCT
from engine.models import catalogue
from engine.shapes import NO_OPTIONS, WriteOptions, check_served, completed, reshaped

SMOLLM2 = "accounts/fireworks/models/smollm2-135m-instruct"
MODEL = Model(name=SMOLLM2)
PREPARED = Model(name=SMOLLM2, supported_precisions=["FP16", "FP8", "FP4"])
THROUGHPUT = shapes.PREFIX + "smollm2-135m-instruct-throughput"
FAST = shapes.PREFIX + "smollm2-135m-instruct-fast"
UNCHECKED = WriteOptions(check_shape=False)


def made(options: WriteOptions = NO_OPTIONS, model: Model = MODEL, **fields) -> Deployment:
    spec = completed(Deployment(base_model=SMOLLM2, **fields), model, options)
    return declare.create(spec, Name("local", "deployments", "d"), 8192, PRODUCT)


@pytest.mark.parametrize("version", shapes.versions(), ids=lambda v: v.snapshot.name.rpartition("/")[2])
def test_every_shape_is_of_a_model_of_the_library_and_makes_a_valid_deployment(version):
    assert version.name.startswith(version.snapshot.name + "/versions/")
    entry = catalogue.find(version.snapshot.base_model)
    spec = Deployment(base_model=entry.name, deployment_shape=version.name)
    whole = declare.create(
        completed(spec, Model(name=entry.name), NO_OPTIONS), Name("a", "deployments", "d"), entry.context_length,
        PRODUCT,
    )  # fmt: skip
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
        reshaped(current, other, NO_OPTIONS)
    assert reshaped(current, other, UNCHECKED).max_batch_size == 3
    moved = reshaped(current, current.model_copy(update={"deployment_shape": FAST}), NO_OPTIONS)
    assert (moved.max_batch_size, moved.ngram_speculation_length) == (4, 3)
    assert reshaped(current, current.model_copy(update={"deployment_shape": None}), NO_OPTIONS).max_batch_size == 16


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
