"""What the product's documents and the SDK's fields say that excludes each other: refused alike as a new deployment, as
a change that brings both, and as a change that brings the second beside the first."""

from __future__ import annotations

from typing import Any

import pytest

from client.errors import InvalidArgument
from client.names import Name
from client.types import Deployment, Model
from engine import declare, presets, shapes
from engine.control.windows import PRODUCT
from engine.shapes import WriteOptions

NAME = Name("local", "deployments", "d")
SMOLLM2 = "accounts/fireworks/models/smollm2-135m-instruct"
MODEL = Model(name=SMOLLM2, supported_precisions=["FP16", "FP8", "FP4"])
LIBRARY = shapes.judged(presets.library_versions(), lambda version: True)
MINIMAL = shapes.PREFIX + "smollm2-135m-instruct-minimal/versions/v1"
PLAIN: dict[str, Any] = {"baseModel": SMOLLM2}

# First, second, the field that the refusal names.
PAIRS = [
    ({"draftModel": SMOLLM2, "draftTokenCount": 4}, {"ngramSpeculationLength": 3}, "ngramSpeculationLength"),
    ({}, {"draftModel": SMOLLM2}, "draftTokenCount"),
    ({}, {"ngramSpeculationLength": 3}, "draftTokenCount"),
    ({"autoTune": {"longPrompt": True}}, {"deploymentTemplate": "t"}, "deploymentTemplate"),
    ({"deploymentTemplate": "t"}, {"autoTune": {}}, "deploymentTemplate"),
    ({"precision": "FP8"}, {"enableAddons": True}, "enableAddons"),
    ({"enableAddons": True}, {"precision": "FP4"}, "enableAddons"),
    ({"precision": "FP8"}, {"enableHotReloadLatestAddon": True}, "enableHotReloadLatestAddon"),
    ({"minReplicaCount": 2, "maxReplicaCount": 3}, {"maxReplicaCount": 1}, "maxReplicaCount"),
    ({"maxReplicaCount": 1}, {"minReplicaCount": 2}, "maxReplicaCount"),
    ({"deploymentShape": MINIMAL}, {"maxBatchSize": 9}, "maxBatchSize"),
    ({"deploymentShape": MINIMAL}, {"maxContextLength": 512}, "maxContextLength"),
]  # fmt: skip


def created(body: dict[str, Any], options: WriteOptions = shapes.NO_OPTIONS) -> Deployment:
    whole = declare.create(shapes.completed(declare.read(body), MODEL, options, LIBRARY), NAME, 8192, PRODUCT)
    shapes.check_served(whole, MODEL, options)
    return whole


def changed(current: Deployment, body: dict[str, Any]) -> Deployment:
    new = declare.update(current, declare.read(body), None, 8192, PRODUCT)
    new = shapes.reshaped(current, new, shapes.NO_OPTIONS, LIBRARY)
    shapes.check_served(new, MODEL, shapes.NO_OPTIONS)
    return new


@pytest.mark.parametrize(("first", "second", "field"), PAIRS)
def test_what_excludes_each_other_is_refused_whenever_it_meets(first, second, field):
    for attempt in (
        lambda: created(PLAIN | first | second),
        lambda: changed(created(PLAIN), first | second),
        lambda: changed(created(PLAIN | first), second),
    ):
        with pytest.raises(InvalidArgument) as refused:
            attempt()
        assert refused.value.field == field
        assert refused.value.hint
    created(PLAIN | first)


def test_places_exclude_each_other():
    for given in ({"region": "US_IOWA_1"}, {"regions": ["US_IOWA_1"]}):
        with pytest.raises(InvalidArgument, match="placement takes one of"):
            created(PLAIN | {"placement": {"multiRegion": "US"} | given})


def test_a_shape_and_the_acceptance_of_none_exclude_each_other():
    with pytest.raises(InvalidArgument) as refused:
        created(PLAIN | {"deploymentShape": MINIMAL}, WriteOptions(shapeless=True))
    assert refused.value.field == "deploymentShape"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"draftModel": SMOLLM2, "draftTokenCount": 4}, {"draftModel": "", "ngramSpeculationLength": 3}),
        ({"draftModel": SMOLLM2, "draftTokenCount": 4}, {"draftTokenCount": 0}),
        ({"ngramSpeculationLength": 3, "draftTokenCount": 0}, {"enableAddons": True}),
        ({"precision": "FP8"}, {"precision": "FP16", "enableAddons": True}),
        ({"minReplicaCount": 2, "maxReplicaCount": 3}, {"minReplicaCount": 4, "maxReplicaCount": 4}),
        ({"deploymentShape": MINIMAL}, {"deploymentShape": "fast"}),
    ],
)
def test_one_takes_the_others_place_in_a_single_change(first, second):
    whole = changed(created(PLAIN | first), second).model_dump(by_alias=True, mode="json")
    told = {field: value for field, value in second.items() if field != "deploymentShape"}
    assert whole | told == whole
