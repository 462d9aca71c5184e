"""A plan shows what differs and refuses what the product refuses, before anything is sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import FailedPrecondition, InvalidArgument
from client.fleet_types import Condition, DeploymentStats, DeploymentStatus
from client.types import AutoscalingPolicy, Deployment, ReplicaStats
from tui.core import plan, units, way_back
from tui.core.form import Problem
from tui.screens.verbs import fields

NAME = "accounts/local/deployments/chat"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ANYWAY = "ignoreChecks=true deletes it anyway"
MODEL = "accounts/fireworks/models/smollm2-135m-instruct"


def status(state="READY", **stats):
    deployment = Deployment(
        name=NAME, base_model=MODEL, state=state, min_replica_count=1,
        max_replica_count=3, desired_replica_count=2, replica_stats=ReplicaStats(ready_replica_count=2),
        autoscaling_policy=AutoscalingPolicy(
            scale_up_window=timedelta(seconds=30), load_targets={"default": 0.8, "requests_per_second": 3.0}
        ),
    )  # fmt: skip
    return DeploymentStatus(deployment=deployment, stats=DeploymentStats(window_s=60, **stats))


def created(**form):
    return plan.create({"base_model": MODEL, **form}, ["accounts/local/deployments/taken"], "local")


def wrong(planned):
    return {problem.field for problem in planned.problems}


def test_a_create_plan_is_the_form_as_a_command():
    planned = created(deployment_id="chat", min_replica_count="0", max_replica_count="2", scale_up_window="45s")
    assert planned.ready
    assert planned.command == (
        f"firedeck deployment create {MODEL} --deployment-id chat --min-replica-count 0 --max-replica-count 2 "
        "--scale-up-window 45s"
    )
    assert planned.spec.autoscaling_policy.scale_up_window == timedelta(seconds=45)
    assert planned.spec.model_fields_set >= {"base_model", "min_replica_count", "max_replica_count"}


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        ({"base_model": ""}, {"base_model"}),
        ({"deployment_id": "Bad_Id"}, {"deployment_id"}),
        ({"deployment_id": "taken"}, {"deployment_id"}),
        ({"min_replica_count": "-1"}, {"min_replica_count"}),
        ({"min_replica_count": "1e3"}, {"min_replica_count"}),
        ({"min_replica_count": "٣"}, {"min_replica_count"}),
        ({"min_replica_count": "0000000019999"}, {"min_replica_count"}),
        ({"min_replica_count": "9" * 5000}, {"min_replica_count"}),
        ({"max_replica_count": "0"}, {"max_replica_count"}),
        ({"min_replica_count": "3", "max_replica_count": "2"}, {"max_replica_count"}),
        ({"scale_to_zero_window": "5 minutes"}, {"scale_to_zero_window"}),
        ({"load_target_value": "0"}, {"load_target_value"}),
        ({"load_target_value": "nan"}, {"load_target_value"}),
    ],
)
def test_what_the_product_refuses_is_told_at_its_field(form, fields):
    planned = created(**form)
    assert wrong(planned) == fields
    assert not planned.ready


some_fields = st.sampled_from(["min_replica_count", "scale_up_window", "load_target_value", "deployment_id"])


@given(st.dictionaries(some_fields, st.text()))
def test_no_text_of_a_form_can_break_the_plan(form):
    assert created(**form).command


def test_a_command_quotes_what_a_shell_would_take_apart():
    planned = created(base_model="a b; rm")
    assert "'a b; rm'" in planned.command


def test_scaling_tells_whom_it_touches():
    planned = plan.scale(status(running=3, queue=1, requests_per_second=4.2), {"replica_count": "1"})
    assert [(c.before, c.after) for c in planned.changes] == [("2", "1")]
    assert "3 in flight, 1 waiting, 4.2 req/s now" in planned.blast
    assert "1 of 2 ready replicas will be drained and stopped" in planned.blast


@pytest.mark.parametrize(("count", "ready"), [("1", True), ("2", False), ("4", False), ("", False), ("x", False)])
def test_scaling_to_the_same_or_beyond_the_maximum_cannot_be_sent(count, ready):
    assert plan.scale(status(), {"replica_count": count}).ready is ready


def test_below_the_minimum_is_allowed_but_said():
    assert any("below the minimum" in line for line in plan.scale(status(), {"replica_count": "0"}).blast)


def test_an_update_sends_only_what_differs_and_keeps_the_rest_of_the_policy():
    form = {"min_replica_count": "1", "max_replica_count": "5", "scale_up_window": "10s"}
    planned = plan.update(status(), form)
    assert planned.spec.model_fields_set == {"max_replica_count", "autoscaling_policy"}
    assert planned.spec.autoscaling_policy.load_targets == {"default": 0.8, "requests_per_second": 3.0}
    assert planned.command == "firedeck deployment update chat --max-replica-count 5 --scale-up-window 10s"
    assert not plan.update(status(), {"min_replica_count": "1", "scale_up_window": "30s"}).ready


def test_editing_the_load_target_that_is_shown_leaves_the_others_alone():
    assert not plan.update(status(), {"load_target": "default", "load_target_value": "0.8"}).ready
    planned = plan.update(status(), {"load_target": "default", "load_target_value": "0.5"})
    assert planned.spec.autoscaling_policy.load_targets == {"default": 0.5, "requests_per_second": 3.0}


def test_delete_says_what_goes_whom_it_stops_and_until_when_it_can_come_back():
    planned = plan.delete(status(), NOW)
    assert [(c.field, c.before, c.after) for c in planned.changes] == [
        ("deployment", "READY", "deleted"), ("replicas", "2", "0"),
    ]  # fmt: skip
    assert planned.blast == (
        "no requests in flight", "new requests to chat will be refused",
        "2 ready replicas will be drained and stopped",
        f"undelete brings all of it back until {units.day(NOW + timedelta(days=7))}",
    )  # fmt: skip
    busy = plan.delete(status(running=3, queue=1, requests_per_second=4.2), NOW).blast
    assert busy[0] == "3 in flight, 1 waiting, 4.2 req/s now"


def test_delete_names_the_adapters_that_go_with_it_and_says_where_it_does_not_know_them():
    named = plan.delete(status(), NOW, ["brand", "legal"])
    assert [(c.before, c.after) for c in named.changes if c.field == "adapters"] == [("brand, legal", "unloaded")]
    unknown = plan.delete(status(), NOW, None)
    assert [c.before for c in unknown.changes if c.field == "adapters"] == [units.UNKNOWN]
    for planned in (named, unknown):
        assert planned.ready


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            FailedPrecondition(f"deployment {NAME!r} is in use: 3 requests are under way", field="name", hint=ANYWAY),
            "chat is in use: 3 requests are under way; nothing was deleted yet",
        ),
        (
            FailedPrecondition(
                f"deployment {NAME!r} hosts accounts/local/models/brand", hint=f"unload it, or {ANYWAY}"
            ),
            "chat hosts accounts/local/models/brand; nothing was deleted yet",
        ),
    ],
)
def test_what_stands_against_a_delete_is_told_without_the_words_of_the_api(error, told):
    planned = plan.delete(status(), NOW)
    assert plan.refused_as_in_use(planned, error)
    assert plan.in_use(planned, error) == Problem("", told)
    assert not plan.refused_as_in_use(plan.delete(status(), NOW, ignore_checks=True), error)


def test_undelete_is_only_for_the_deleted():
    assert plan.undelete(status("DELETED")).ready
    assert not plan.undelete(status()).ready


def test_undo_of_a_scale_is_the_former_count_and_of_an_edit_the_former_settings():
    planned = plan.scale(status(), {"replica_count": "3"})
    after = status()
    after.deployment.desired_replica_count = 3
    assert way_back.undo(planned, after, NOW).replica_count == 2
    assert way_back.undo(plan.delete(status(), NOW), status("DELETED"), NOW).verb == "undelete"
    assert way_back.undo(plan.undelete(status("DELETED")), status(), NOW).verb == "delete"
    edited = plan.update(status(), {"max_replica_count": "9"})
    after = status()
    after.deployment.max_replica_count = 9
    assert [change.after for change in way_back.undo(edited, after, NOW).changes] == ["3"]
    assert way_back.undo(edited, status(), NOW) is None, "somebody else has done so already"


def test_the_servers_refusal_lands_on_the_forms_field():
    for field in ("minReplicaCount", "min_replica_count", "deployment.min_replica_count"):
        assert plan.refused_by_server(InvalidArgument("no", field=field)).field == "min_replica_count"
    assert plan.refused_by_server(InvalidArgument("no")).field == ""


def test_defaults_of_the_server_are_added_to_the_plan():
    planned = created(min_replica_count="1")
    answer = Deployment(base_model=MODEL, min_replica_count=1, max_replica_count=1)
    assert [(c.field, c.after) for c in plan.filled_in(planned, answer)] == [("max replica count", "1 (default)")]


@given(st.floats(0, 1e9, exclude_min=True, exclude_max=True))
def test_a_number_that_is_shown_is_read_back_as_what_it_is(value):
    shown = units.exact(value)
    assert float(shown) == value
    assert "e" not in shown


def test_a_load_target_of_many_digits_is_not_changed_by_opening_the_form():
    known = status()
    known.deployment.autoscaling_policy.load_targets = {"default": 1234567.0}
    (shown,) = (field.value for field in fields("update", known, {}) if field.key == "load_target_value")
    assert shown == "1234567"
    assert not plan.update(known, {"load_target": "default", "load_target_value": shown}).ready


@pytest.mark.parametrize(("count", "without_room"), [("3", 1), ("4", 2)])
def test_scaling_in_a_stockout_starts_nothing_that_has_no_room(count, without_room):
    short = Condition(type="CapacityLimited", reason="STOCKOUT", wanted=3, placed=2)
    now = status()
    wants = now.deployment.model_copy(update={"desired_replica_count": 3, "max_replica_count": 5})
    now = now.model_copy(update={"deployment": wants, "conditions": [short]})
    blast = plan.scale(now, {"replica_count": count}).blast
    assert any(f"no room for {without_room} of them now" in line for line in blast)
    assert not any("will be started" in line for line in blast)


def test_what_has_been_asked_for_is_not_counted_as_what_this_change_starts():
    now = status()
    wants = now.deployment.model_copy(update={"desired_replica_count": 3, "max_replica_count": 5})
    now = now.model_copy(update={"deployment": wants})
    assert not any("started" in line for line in plan.scale(now, {"replica_count": "3"}).blast)
    assert "1 more replica will be started and loaded" in plan.scale(now, {"replica_count": "4"}).blast
