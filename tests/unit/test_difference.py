"""What events say of an update: values as they are written, old and new, and no long text."""

from __future__ import annotations

import pytest

from client.names import Name
from client.types import Deployment
from engine import declare
from engine.control.windows import PRODUCT
from engine.fleet.difference import counts, difference

MODEL = "accounts/fireworks/models/smollm2-135m-instruct"


def made(**fields: object) -> Deployment:
    spec = declare.read({"baseModel": MODEL, **fields})
    return declare.create(spec, Name("local", "deployments", "chat"), None, PRODUCT)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {"enableAddons": True}, "enableAddons unset -> true"),
        ({"enableAddons": True}, {}, "enableAddons true -> unset"),
        ({}, {"maxReplicaCount": 3}, "maxReplicaCount 1 -> 3"),
        (
            {}, {"autoscalingPolicy": {"scaleUpWindow": "20s"}},
            "autoscalingPolicy.scaleUpWindow 30s -> 20s",
        ),
        (
            {}, {"autoscalingPolicy": {"scaleDownWindow": "90.5s"}},
            "autoscalingPolicy.scaleDownWindow 10m0s -> 1m30.5s",
        ),
        (
            {}, {"autoscalingPolicy": {"loadTargets": {"default": 0.5, "concurrent_requests": 2}}},
            "autoscalingPolicy.loadTargets.default 0.8 -> 0.5, "
            "autoscalingPolicy.loadTargets.concurrent_requests unset -> 2.0",
        ),
        ({}, {"firedeck": {"panic": False}}, "firedeck.panic unset -> false"),
        ({}, {"description": "a secret"}, "description"),
        ({"annotations": {"a": "b"}}, {"annotations": {"a": "secret"}}, "annotations"),
        ({}, {}, "nothing changed"),
    ],
)  # fmt: skip
def test_an_update_is_told_by_path_with_the_old_and_the_new_value(before, after, told):
    assert difference(made(**before), made(**after)) == told


def test_counts_are_in_the_number_they_have():
    assert counts(made()) == "0 to 1 replica"
    assert counts(made(maxReplicaCount=2)) == "0 to 2 replicas"
