"""Field masks: what an answer shows, what an update takes, in both spellings and below messages and maps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import InvalidArgument
from client.types import Deployment, DeploymentPage
from engine import declare, masks
from engine.control.windows import PRODUCT
from engine.wire_paths import find, read, snake

WHOLE = Deployment(
    name="accounts/local/deployments/chat", base_model="accounts/fireworks/models/m", display_name="chat",
    state="READY", annotations={"team": "a", "cost.centre": "7"}, min_replica_count=1, max_replica_count=2,
    autoscaling_policy={
        "scaleUpWindow": "30s", "scaleDownWindow": "10m", "loadTargets": {"default": 0.8, "concurrent_requests": 1}
    },
    max_context_length=512, max_batch_size=2, accelerator_count=1,
)  # fmt: skip
WIRE = WHOLE.to_wire()
TOP = sorted(WIRE)


@given(st.sets(st.sampled_from(TOP), min_size=1), st.booleans())
def test_a_read_mask_shows_just_its_fields_in_either_spelling(fields, as_snake):
    text = ",".join(snake(field) if as_snake else field for field in sorted(fields))
    assert masks.shown(WHOLE, text) == {field: WIRE[field] for field in fields}


@pytest.mark.parametrize("text", ["", "*", " , ", "name,*"])
def test_an_empty_mask_and_a_star_show_everything(text):
    assert masks.shown(WHOLE, text) == WIRE


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("autoscaling_policy.scale_up_window", {"autoscalingPolicy": {"scaleUpWindow": "30s"}}),
        ("autoscalingPolicy.loadTargets.default", {"autoscalingPolicy": {"loadTargets": {"default": 0.8}}}),
        ("annotations.cost.centre,state", {"annotations": {"cost.centre": "7"}, "state": "READY"}),
        ("autoscaling_policy,autoscaling_policy.scale_up_window", {"autoscalingPolicy": WIRE["autoscalingPolicy"]}),
        ("autoscaling_policy.scale_up_window,autoscaling_policy", {"autoscalingPolicy": WIRE["autoscalingPolicy"]}),
        ("placement.region", {}),
    ],
)
def test_a_path_below_a_message_shows_that_part(text, shown):
    assert masks.shown(WHOLE, text) == shown


def test_the_mask_of_a_list_is_about_its_items():
    page = DeploymentPage(deployments=[WHOLE, WHOLE], next_page_token="t", total_size=2)
    assert masks.shown(page, "name", "deployments") == {
        "deployments": [{"name": WHOLE.name}] * 2, "nextPageToken": "t", "totalSize": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["nonsense", "name.x", "autoscaling_policy.nonsense", "annotations.", ".", "model_config"]
)
def test_a_path_that_is_no_field_is_refused(text):
    with pytest.raises(InvalidArgument) as refused:
        masks.shown(WHOLE, text)
    assert refused.value.field == "readMask"


@given(st.text(max_size=40))
def test_any_text_is_a_mask_or_refused_as_one(text):
    fault = "readMask"
    try:
        masks.shown(WHOLE, text)
    except InvalidArgument as refused:
        fault = refused.field
    assert fault == "readMask"


def changed(body: dict, *paths: str) -> Deployment:
    return declare.update(WHOLE, declare.read(body), frozenset(paths) or None, None, PRODUCT)


def test_a_mask_takes_both_spellings():
    body = {"maxReplicaCount": 9, "description": "no"}
    assert changed(body, "maxReplicaCount") == changed(body, "max_replica_count")
    assert changed(body, "maxReplicaCount").description is None


def test_one_key_of_a_map_is_set_and_another_removed():
    after = changed({"annotations": {"team": "b", "new": "c"}}, "annotations.team", "annotations.cost.centre")
    assert after.annotations == {"team": "b"}
    after = changed({"annotations": {"Owner": "me"}}, "annotations.Owner")
    assert after.annotations == {"team": "a", "cost.centre": "7", "Owner": "me"}


def test_one_target_is_set_and_its_siblings_stay():
    targets = {"autoscalingPolicy": {"loadTargets": {"default": 0.5}}}
    kept = WHOLE.model_copy(deep=True)
    kept.autoscaling_policy.load_targets = {"default": 0.8, "concurrent_requests": 3.0}
    after = declare.update(
        kept, declare.read(targets), frozenset({"autoscaling_policy.load_targets.default"}), None, PRODUCT
    )
    assert after.autoscaling_policy.load_targets == {"default": 0.5, "concurrent_requests": 3.0}
    assert kept.autoscaling_policy.load_targets["default"] == 0.8  # what was there is left alone


def test_a_path_below_a_message_that_is_not_there_yet_makes_it():
    after = declare.update(
        WHOLE, declare.read({"autoTune": {"longPrompt": True}}), frozenset({"auto_tune.long_prompt"}), None, PRODUCT
    )
    assert after.auto_tune is not None
    assert after.auto_tune.long_prompt is True


@pytest.mark.parametrize(
    ("path", "names", "kind"),
    [
        ("name", ("name",), str), ("minReplicaCount", ("min_replica_count",), int),
        ("autoscaling_policy.scaleUpWindow", ("autoscaling_policy", "scale_up_window"), None),
        ("annotations.a.b", ("annotations", "a.b"), str), ("placement.regions", ("placement", "regions"), list),
    ],
)  # fmt: skip
def test_a_path_leads_to_names_and_a_type(path, names, kind):
    leaf = find(Deployment, path)
    assert leaf is not None
    assert leaf.names == names
    assert kind is None or leaf.kind is kind
    read(WHOLE, leaf.names)
