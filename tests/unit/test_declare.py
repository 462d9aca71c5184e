"""Declarations: every default, limit and exclusion of a deployment, named by its wire field."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import FailedPrecondition, FiredeckError, InvalidArgument
from client.names import Name
from client.types import IMMUTABLE, OUTPUT_ONLY, Deployment
from engine import declare, masks
from engine.control.windows import PRODUCT, rehearsal
from engine.fleet.scaling import policy_of
from engine.fleet.template import template_of

NAME = Name("local", "deployments", "chat")
MODEL = "accounts/fireworks/models/smollm2-135m-instruct"
MINUTE = timedelta(minutes=1)


def made(limit: int | None = 8192, **body) -> Deployment:
    return declare.create(declare.read({"baseModel": MODEL, **body}), NAME, limit, PRODUCT)


def changed(current: Deployment, body: dict, *mask: str, limit: int | None = 8192) -> Deployment:
    return declare.update(current, declare.read(body), frozenset(mask) or None, limit, PRODUCT)


def refusal(body: dict, limit: int | None = 8192) -> FiredeckError:
    with pytest.raises(FiredeckError) as refused:
        made(limit, **body)
    return refused.value


def test_a_deployment_with_nothing_but_a_model_gets_every_documented_default():
    whole = made()
    policy = whole.autoscaling_policy
    assert (whole.min_replica_count, whole.max_replica_count) == (0, 1)
    assert policy is not None
    assert policy.to_wire() == {
        "scaleUpWindow": "30s", "scaleDownWindow": "600s", "scaleToZeroWindow": "3600s",
        "loadTargets": {"default": 0.8},
    }  # fmt: skip
    assert (whole.accelerator_count, whole.max_batch_size, whole.max_context_length) == (1, 8, 2048)
    assert (whole.name, whole.id, whole.display_name) == (str(NAME), "chat", "chat")
    assert whole.firedeck is not None
    assert whole.firedeck.to_wire() == {"coldPolicy": "hold", "holdTimeout": "300s"}


@pytest.mark.parametrize(
    ("given_counts", "counts"),
    [
        ({}, (0, 1)), ({"minReplicaCount": 0}, (0, 1)), ({"minReplicaCount": 3}, (3, 3)),
        ({"maxReplicaCount": 0}, (0, 0)), ({"maxReplicaCount": 7}, (0, 7)),
        ({"minReplicaCount": 2, "maxReplicaCount": 2}, (2, 2)),
        ({"minReplicaCount": 0, "maxReplicaCount": 1000}, (0, 1000)),
    ],
)  # fmt: skip
def test_the_maximum_defaults_to_the_minimum_and_at_least_one(given_counts, counts):
    whole = made(**given_counts)
    assert (whole.min_replica_count, whole.max_replica_count) == counts


@pytest.mark.parametrize(("limit", "context"), [(None, 2048), (512, 512), (8192, 2048), (2048, 2048)])
def test_the_context_defaults_to_2048_tokens_or_the_models_own_limit_where_that_is_smaller(limit, context):
    assert made(limit).max_context_length == context


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"minReplicaCount": -1}, "minReplicaCount"),
        ({"minReplicaCount": 1001}, "minReplicaCount"),
        ({"maxReplicaCount": 1001}, "maxReplicaCount"),
        ({"minReplicaCount": 2, "maxReplicaCount": 1}, "maxReplicaCount"),
        ({"minReplicaCount": 1, "maxReplicaCount": 0}, "maxReplicaCount"),
        ({"minReplicaCount": 1.5}, "minReplicaCount"),
        ({"minReplicaCount": True}, "minReplicaCount"),
        ({"minReplicaCount": 2**63}, "minReplicaCount"),
        ({"min_replica_count": []}, "minReplicaCount"),
        ({"displayName": "x" * 64}, "displayName"),
        ({"displayName": 5}, "displayName"),
        ({"description": "x" * 1000}, "description"),
        ({"autoscalingPolicy": {"scaleUpWindow": "61m"}}, "autoscalingPolicy.scaleUpWindow"),
        ({"autoscalingPolicy": {"scaleUpWindow": "-1s"}}, "autoscalingPolicy.scaleUpWindow"),
        ({"autoscalingPolicy": {"scaleDownWindow": "3600.001s"}}, "autoscalingPolicy.scaleDownWindow"),
        ({"autoscalingPolicy": {"scaleToZeroWindow": "4m59s"}}, "autoscalingPolicy.scaleToZeroWindow"),
        ({"autoscalingPolicy": {"scaleToZeroWindow": "-5m"}}, "autoscalingPolicy.scaleToZeroWindow"),
        ({"autoscalingPolicy": {"scaleUpWindow": 30}}, "autoscalingPolicy.scaleUpWindow"),
        ({"autoscalingPolicy": {"scaleUpWindow": "30"}}, "autoscalingPolicy.scaleUpWindow"),
        ({"autoscalingPolicy": {"scaleUpWindow": "1d"}}, "autoscalingPolicy.scaleUpWindow"),
        ({"autoscalingPolicy": {"loadTargets": {"default": 0}}}, "autoscalingPolicy.loadTargets.default"),
        ({"autoscalingPolicy": {"loadTargets": {"default": 1.1}}}, "autoscalingPolicy.loadTargets.default"),
        ({"autoscalingPolicy": {"loadTargets": {"default": float("nan")}}}, "autoscalingPolicy.loadTargets.default"),
        ({"autoscalingPolicy": {"loadTargets": {"default": "0.5"}}}, "autoscalingPolicy.loadTargets.default"),
        ({"autoscalingPolicy": {"loadTargets": {"default": True}}}, "autoscalingPolicy.loadTargets.default"),
        (
            {"autoscalingPolicy": {"loadTargets": {"concurrent_requests": float("inf")}}},
            "autoscalingPolicy.loadTargets.concurrent_requests",
        ),
        ({"autoscalingPolicy": {"loadTargets": {"cpu": 1}}}, "autoscalingPolicy.loadTargets.cpu"),
        ({"autoscalingPolicy": {"loadTargets": {"ttft_p99_ms": 1}}}, "autoscalingPolicy.loadTargets.ttft_p99_ms"),
        (
            {"autoscalingPolicy": {"loadTargets": {"firedeck_ttft_p99_ms": 0}}},
            "autoscalingPolicy.loadTargets.firedeck_ttft_p99_ms",
        ),
        ({"firedeck": {"panic": 1}}, "firedeck.panic"),
        ({"firedeck": {"forecastFloor": "yes"}}, "firedeck.forecastFloor"),
        ({"autoscalingPolicy": 5}, "autoscalingPolicy"),
        ({"maxBatchSize": -1}, "maxBatchSize"),
        ({"maxBatchSize": 257}, "maxBatchSize"),
        ({"maxBatchSize": "8.5"}, "maxBatchSize"),
        ({"minReplicaCount": "two"}, "minReplicaCount"),
        ({"minReplicaCount": "1_0"}, "minReplicaCount"),
        ({"minReplicaCount": "9" * 30}, "minReplicaCount"),
        ({"worldSize": 2}, "worldSize"),
        ({"generatorCount": 2}, "generatorCount"),
        ({"disaggregatedPrefillCount": 2}, "disaggregatedPrefillCount"),
        ({"disaggregatedPrefillWorldSize": "4"}, "disaggregatedPrefillWorldSize"),
        ({"maxContextLength": 255}, "maxContextLength"),
        ({"maxContextLength": 8193}, "maxContextLength"),
        ({"acceleratorType": "NVIDIA_H100"}, "acceleratorType"),
        ({"precision": "FP7"}, "precision"),
        ({"placement": {"multiRegion": "US", "region": "US_IOWA_1"}}, "placement"),
        ({"placement": {"multiRegion": "MARS"}}, "placement.multiRegion"),
        ({"placement": {"region": "us-east-1"}}, "placement.region"),
        ({"placement": {"regions": ["US_IOWA_1", "X"]}}, "placement.regions.1"),
        ({"draftModel": MODEL, "ngramSpeculationLength": 2, "draftTokenCount": 0}, "ngramSpeculationLength"),
        ({"draftModel": MODEL}, "draftTokenCount"),
        ({"ngramSpeculationLength": 2}, "draftTokenCount"),
        ({"ngramSpeculationLength": 17, "draftTokenCount": 4}, "ngramSpeculationLength"),
        ({"draftModel": MODEL, "draftTokenCount": 32}, "draftTokenCount"),
        ({"draftTokenCount": -1}, "draftTokenCount"),
        ({"firedeck": {"coldPolicy": "sleep"}}, "firedeck.coldPolicy"),
        ({"firedeck": {"holdTimeout": "0s"}}, "firedeck.holdTimeout"),
        ({"firedeck": {"holdTimeout": "61m"}}, "firedeck.holdTimeout"),
        ({"firedeck": {"maxQueueWait": "0s"}}, "firedeck.maxQueueWait"),
        ({"firedeck": {"maxQueueWait": "61m"}}, "firedeck.maxQueueWait"),
        ({"firedeck": {"threads": 0}}, "firedeck.threads"),
        ({"enableAddons": "yes"}, "enableAddons"),
        ({"createTime": 1, "nonsense": 1}, "nonsense"),
        ({"replicas": 1}, "replicas"),
        ({"autoscalingPolicy": {"scaleUp": "30s"}}, "autoscalingPolicy.scaleUp"),
        ({"firedeck": {"colour": "red"}}, "firedeck.colour"),
        ({"__proto__": {}}, "__proto__"),
        ({"model_config": {}}, "model_config"),
    ],
)  # fmt: skip
def test_what_is_out_of_bounds_is_refused_naming_its_wire_field(body, field):
    error = refusal(body)
    assert isinstance(error, InvalidArgument)
    assert error.field == field
    assert len(error.text) < 1000
    assert "UNSPECIFIED" not in error.text, "nobody is advised to say nothing"


@pytest.mark.parametrize(
    "body",
    [
        {"autoscalingPolicy": {"scaleUpWindow": "0s", "scaleDownWindow": "0s", "scaleToZeroWindow": "0s"}},
        {"autoscalingPolicy": {"scaleUpWindow": "1h", "scaleDownWindow": "1h", "scaleToZeroWindow": "5m"}},
        {"autoscalingPolicy": {"loadTargets": {"default": 1, "concurrent_requests": 0.5}}},
        {"autoscalingPolicy": {"loadTargets": {"firedeck_ttft_p99_ms": 500}}},
        {"firedeck": {"panic": False, "forecastFloor": True}},
        {"firedeck": {"maxQueueWait": "0.5s"}},
        {"displayName": "x" * 63, "description": "y" * 999},
        {"maxContextLength": 8192, "maxBatchSize": 256},
        {"maxContextLength": 256},
        {"draftModel": MODEL, "draftTokenCount": 0},
        {"ngramSpeculationLength": 3, "draftTokenCount": 0},
        {"draftModel": MODEL, "draftTokenCount": 31},
        {"ngramSpeculationLength": 16, "draftTokenCount": 1},
        {"draftTokenCount": 4},
        {"enableAddons": True, "numPeftDeviceCached": 2, "maxPeftBatchSize": 4},
        {"acceleratorType": "NVIDIA_H200_141GB", "precision": "PRECISION_UNSPECIFIED"},
        {"placement": {"regions": ["US_IOWA_1"]}},
        {"firedeck": {"holdTimeout": "1h", "threads": 256, "coldPolicy": "reject"}},
        {"annotations": {"team": "a"}},
    ],
)
def test_what_is_just_within_bounds_is_taken(body):
    whole = made(**body).to_wire()
    for field, value in body.items():
        if not isinstance(value, dict):
            assert whole[field] == value


def test_an_unknown_load_target_is_refused_by_name_with_the_known_ones():
    error = refusal({"autoscalingPolicy": {"loadTargets": {"requests_per_second": 2, "qps": 1}}})
    assert "unknown load target 'qps'" in error.text
    for known in ("default", "tokens_generated_per_second", "prompt_tokens_per_second", "firedeck_ttft_p99_ms"):
        assert known in error.text


@pytest.mark.parametrize("own", [{"panic": False}, {"forecastFloor": True}, {"maxQueueWait": "2s"}])
def test_an_own_option_is_kept_beside_the_others_and_needs_no_new_replicas(own):
    before = made(firedeck={"coldPolicy": "reject"})
    after = changed(before, {"firedeck": own})
    assert after.to_wire()["firedeck"] == {"coldPolicy": "reject", "holdTimeout": "300s", **own}
    assert [template_of(d).generation for d in (before, after)] == [template_of(before).generation] * 2
    assert policy_of(after).panic is own.get("panic", True)


@pytest.mark.parametrize(
    ("window", "given", "told"),
    [
        ("scaleToZeroWindow", "299.7s", "4m59.7s"), ("scaleToZeroWindow", "1us", "1µs"),
        ("scaleUpWindow", "3600.1s", "1h0m0.1s"), ("scaleDownWindow", "120m", "2h0m0s"),
    ],
)  # fmt: skip
def test_a_window_out_of_limits_is_told_exactly_as_go_writes_it(window, given, told):
    assert refusal({"autoscalingPolicy": {window: given}}).message.endswith(f", is {told}")


def test_a_scale_to_zero_window_of_zero_means_the_default():
    assert made(autoscalingPolicy={"scaleToZeroWindow": "0s"}).autoscaling_policy.scale_to_zero_window == 60 * MINUTE


def test_a_rehearsal_allows_a_scale_to_zero_window_of_seconds():
    spec = declare.read({"autoscalingPolicy": {"scaleToZeroWindow": "2s"}})
    whole = declare.create(spec, NAME, None, rehearsal())
    assert whole.autoscaling_policy.scale_to_zero_window == timedelta(seconds=2)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"extraArgs": ["--verbose"]}, "extraArgs"),
        ({"extraValues": {"a": "b"}}, "extraValues"),
        ({"enableMtp": True}, "enableMtp"),
        ({"enableHotLoad": True}, "enableHotLoad"),
        ({"directRouteApiKeys": ["k"]}, "directRouteApiKeys"),
    ],
)
def test_what_this_version_would_store_but_not_do_is_refused_as_not_served(body, field):
    error = refusal(body)
    assert isinstance(error, FailedPrecondition)
    assert error.field == field
    assert error.message.partition(f"{field} is not served by this engine: ")[2], "the reason"


@pytest.mark.parametrize("body", [[], "x", 5, None, True])
def test_a_body_that_is_no_object_is_refused(body):
    with pytest.raises(InvalidArgument, match="object"):
        declare.read(body)


def test_camel_case_and_snake_case_mean_the_same():
    camel = declare.read({"minReplicaCount": 1, "autoscalingPolicy": {"scaleUpWindow": "5s"}})
    snake = declare.read({"min_replica_count": 1, "autoscaling_policy": {"scale_up_window": "5s"}})
    assert camel == snake
    assert camel.model_fields_set == snake.model_fields_set == {"min_replica_count", "autoscaling_policy"}


def test_output_only_fields_are_ignored_so_that_what_was_got_can_be_sent_back():
    shown = made(minReplicaCount=1).model_copy(
        update={"state": "READY", "replica_count": 3, "desired_replica_count": 3, "created_by": "me"}
    )
    sent_back = declare.read(json.loads(json.dumps(shown.to_wire())))
    assert not sent_back.model_fields_set & OUTPUT_ONLY
    assert (sent_back.state, sent_back.replica_count, sent_back.name) == ("STATE_UNSPECIFIED", None, "")
    assert declare.update(shown, sent_back, None, 8192, PRODUCT) == shown


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"displayName": "a", "display_name": "b"}, "displayName"),
        ({"min_replica_count": 1, "minReplicaCount": 1}, "minReplicaCount"),
        ({"autoscaling_policy": {"scaleUpWindow": "3s", "scale_up_window": "4s"}}, "autoscalingPolicy.scaleUpWindow"),
    ],
)  # fmt: skip
def test_a_field_in_both_spellings_is_given_twice_and_not_unknown(body, field):
    with pytest.raises(InvalidArgument, match="given twice") as refused:
        declare.read(body)
    assert refused.value.field == field


def test_a_lone_surrogate_is_refused_and_not_stored():
    assert refusal({"displayName": "\ud800"}).field == "displayName"


@given(st.dictionaries(st.text(max_size=8) | st.sampled_from(["displayName", "maxReplicaCount", "firedeck"]),
       st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
                    lambda i: st.lists(i, max_size=2) | st.dictionaries(st.text(max_size=4), i, max_size=2),
                    max_leaves=5), max_size=3))  # fmt: skip
def test_any_json_object_is_declared_or_refused_with_a_sentence(body):
    try:
        whole = made(**body)
    except FiredeckError as error:
        json.dumps(error.control_plane_body(), ensure_ascii=False).encode()
        return
    assert 0 <= whole.min_replica_count <= whole.max_replica_count <= 1000


COUNTS = st.integers(0, 1000)
SECONDS = st.integers(0, 3600).map(lambda s: timedelta(seconds=s))


@given(COUNTS, COUNTS, SECONDS, SECONDS, SECONDS.map(lambda s: s + 5 * MINUTE))
def test_what_is_declared_within_limits_is_kept_as_it_is(low, more, up, down, zero):
    body = {
        "minReplicaCount": low, "maxReplicaCount": min(1000, low + more),
        "autoscalingPolicy": {
            "scaleUpWindow": f"{up.total_seconds():.0f}s", "scaleDownWindow": f"{down.total_seconds():.0f}s",
            "scaleToZeroWindow": f"{zero.total_seconds():.0f}s",
        },
    }  # fmt: skip
    whole = made(**body)
    policy = whole.autoscaling_policy
    assert (whole.min_replica_count, whole.max_replica_count) == (low, min(1000, low + more))
    assert (policy.scale_up_window, policy.scale_down_window, policy.scale_to_zero_window) == (up, down, zero)


@pytest.mark.parametrize("count", [4, "4", 4.0])
def test_a_whole_number_is_read_in_every_form_that_protojson_has(count):
    whole = made(minReplicaCount=count, maxReplicaCount="9", firedeck={"threads": count})
    assert (whole.min_replica_count, whole.max_replica_count) == (4, 9)
    assert (whole.firedeck.threads, whole.to_wire()["minReplicaCount"]) == (4, 4)


def test_a_zero_where_none_makes_sense_is_protobufs_unset():
    whole = made(maxBatchSize=0, kvCacheMemoryPct=0, acceleratorCount=0, maxContextLength=0, worldSize=0)
    assert (whole.max_batch_size, whole.accelerator_count, whole.max_context_length) == (8, 1, 2048)


def tuned() -> Deployment:
    return made(
        displayName="mine", description="text", minReplicaCount=1, maxReplicaCount=4, maxBatchSize=3,
        maxContextLength=512,
        autoscalingPolicy={"scaleUpWindow": "1s", "scaleDownWindow": "2s", "scaleToZeroWindow": "6m",
                           "loadTargets": {"concurrent_requests": 2}},
        firedeck={"coldPolicy": "reject", "holdTimeout": "7s", "threads": 2},
    )  # fmt: skip


CHANGES = {
    "displayName": "other", "description": "words", "minReplicaCount": 2, "maxReplicaCount": 5, "maxBatchSize": 4,
    "maxContextLength": 1024, "autoscalingPolicy": {"scaleUpWindow": "9s"}, "annotations": {"a": "b"},
    "firedeck": {"threads": 4},
}  # fmt: skip


@given(st.sets(st.sampled_from(sorted(CHANGES))))
def test_a_patch_without_a_mask_changes_what_it_has_and_resets_nothing_else(fields):
    before = tuned().to_wire()
    after = changed(tuned(), {field: CHANGES[field] for field in fields}).to_wire()
    for field in set(CHANGES) - fields:
        assert after.get(field) == before.get(field)
    for field in fields:
        wanted = CHANGES[field]
        assert after[field] == ({**before.get(field, {}), **wanted} if isinstance(wanted, dict) else wanted)


@given(st.sets(st.sampled_from(sorted(CHANGES)), min_size=1))
def test_a_mask_takes_just_its_paths_from_a_body_that_has_more(fields):
    snake = {Deployment.model_fields[name].alias: name for name in Deployment.model_fields}
    masked = changed(tuned(), CHANGES, *(snake[field] for field in fields))
    assert masked == changed(tuned(), {field: CHANGES[field] for field in fields})


def test_a_nested_path_changes_one_window_and_leaves_its_siblings():
    body = {"autoscalingPolicy": {"scaleUpWindow": "20s", "scaleDownWindow": "40s", "scaleToZeroWindow": "8m"}}
    policy = changed(tuned(), body, "autoscaling_policy.scale_up_window").autoscaling_policy
    assert policy.to_wire() == {
        "scaleUpWindow": "20s", "scaleDownWindow": "2s", "scaleToZeroWindow": "360s",
        "loadTargets": {"concurrent_requests": 2.0},
    }  # fmt: skip


def test_two_nested_paths_below_one_message_both_count():
    body = {"autoscalingPolicy": {"scaleUpWindow": "20s", "scaleDownWindow": "40s"}}
    policy = changed(
        tuned(), body, "autoscaling_policy.scale_up_window", "autoscaling_policy.scale_down_window"
    ).autoscaling_policy
    assert (policy.scale_up_window, policy.scale_down_window) == (timedelta(seconds=20), timedelta(seconds=40))


def test_a_nested_path_that_the_body_lacks_resets_that_field_alone():
    policy = changed(tuned(), {"baseModel": MODEL}, "autoscaling_policy.scale_up_window").autoscaling_policy
    assert policy.to_wire() == {
        "scaleUpWindow": "30s", "scaleDownWindow": "2s", "scaleToZeroWindow": "360s",
        "loadTargets": {"concurrent_requests": 2.0},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "field", "default"),
    [
        ("min_replica_count", "minReplicaCount", 0), ("max_replica_count", "maxReplicaCount", 1),
        ("max_batch_size", "maxBatchSize", 8), ("max_context_length", "maxContextLength", 2048),
        ("display_name", "displayName", "chat"), ("accelerator_count", "acceleratorCount", 1),
    ],
)  # fmt: skip
def test_a_masked_field_that_the_body_lacks_goes_back_to_its_default(path, field, default):
    assert changed(tuned(), {}, path).to_wire()[field] == default
    assert changed(tuned(), {field: None}).to_wire()[field] == default


@pytest.mark.parametrize(
    "path",
    [
        "nonsense", "state", "name", "create_time", "autoscaling_policy.nonsense", "min_replica_count.x",
        "autoscaling_policy.scale_up_window.x", "model_config", "autoscaling_policy.",
    ],
)  # fmt: skip
def test_a_mask_path_that_is_no_field_is_refused_as_the_mask(path):
    with pytest.raises(InvalidArgument) as refused:
        changed(tuned(), {"autoscalingPolicy": {"scaleUpWindow": "20s"}}, path)
    assert refused.value.field == "updateMask"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"baseModel": "accounts/fireworks/models/gemma-3-270m"}, "baseModel"),
        ({"placement": {"region": "US_IOWA_1"}}, "placement"),
        ({"acceleratorType": "NVIDIA_H200_141GB"}, "acceleratorType"),
        ({"engine": "VLLM"}, "engine"),
        ({"forTraining": True}, "forTraining"),
        ({"spot": True}, "spot"),
        ({"preemptible": True}, "preemptible"),
    ],
)
def test_what_is_immutable_is_refused_with_a_new_value_and_taken_with_the_same(body, field):
    assert len(IMMUTABLE) == 7
    with pytest.raises(InvalidArgument) as refused:
        changed(tuned(), body)
    assert refused.value.field == field
    assert "new deployment" in (refused.value.hint or "")
    same = declare.create(declare.read({"baseModel": MODEL, **body}), NAME, None, PRODUCT)
    assert changed(same, body) == same


def test_a_maximum_under_the_standing_minimum_is_refused():
    with pytest.raises(InvalidArgument) as refused:
        changed(made(minReplicaCount=2, maxReplicaCount=4), {"maxReplicaCount": 1})
    assert refused.value.field == "maxReplicaCount"


def test_raising_the_minimum_over_the_maximum_is_refused_not_paid_for_silently():
    with pytest.raises(InvalidArgument, match="maxReplicaCount 1 is less than minReplicaCount 3"):
        changed(made(), {"minReplicaCount": 3})
    after = changed(made(), {"minReplicaCount": 3, "maxReplicaCount": 4})
    assert (after.min_replica_count, after.max_replica_count) == (3, 4)


def test_a_change_is_checked_as_a_whole_and_leaves_the_current_one_alone():
    current = tuned()
    with pytest.raises(InvalidArgument):
        changed(current, {"displayName": "ok", "autoscalingPolicy": {"scaleToZeroWindow": "1s"}})
    with pytest.raises(InvalidArgument):
        changed(current, {"maxContextLength": 9000})
    assert current == tuned()


def test_an_output_only_field_of_the_current_deployment_survives_a_change():
    current = tuned().model_copy(update={"state": "READY", "replica_count": 2})
    after = changed(current, {"state": "FAILED", "replicaCount": 9, "displayName": "new"})
    assert (after.state, after.replica_count, after.display_name) == ("READY", 2, "new")


@pytest.mark.parametrize("body", [{}, {"placement": {}}, {"placement": {"multiRegion": "MULTI_REGION_UNSPECIFIED"}}])
def test_without_a_word_about_it_a_deployment_may_run_anywhere(body):
    assert made(**body).to_wire()["placement"] == {"multiRegion": "GLOBAL"}


@pytest.mark.parametrize(
    "body",
    [
        {"placement": {"multiRegion": "GLOBAL"}}, {"placement": {}},
        {"acceleratorType": "ACCELERATOR_TYPE_UNSPECIFIED"},
    ],
)  # fmt: skip
def test_another_spelling_of_what_was_not_said_is_no_change(body):
    assert changed(made(), body).to_wire()["placement"] == {"multiRegion": "GLOBAL"}


def test_what_the_engine_sets_cannot_be_changed_whatever_the_body_has_there():
    for body, path in (({"region": "X"}, "region"), ({"region": "US_IOWA_1"}, "region"), ({"state": "READY"}, "state")):
        with pytest.raises(InvalidArgument, match=f"{path} cannot be changed") as refused:
            changed(tuned(), body, path)
        assert refused.value.field == "updateMask"
        assert changed(tuned(), body) == tuned()


def test_a_star_takes_over_all_that_is_given():
    assert masks.update_paths("*") is None
    assert masks.update_paths("displayName,*") is None


def test_a_region_that_is_not_known_is_refused_with_the_multi_regions_too():
    for where in ({"region": "US"}, {"regions": ["GLOBAL"]}):
        with pytest.raises(InvalidArgument) as refused:
            declare.read({"baseModel": MODEL, "placement": where})
        assert "multiRegion takes GLOBAL, US, EUROPE, APAC" in refused.value.text
