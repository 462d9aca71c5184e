"""What `apply` would do: shown before, and nothing where nothing differs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from client.errors import FailedPrecondition
from client.llm_options import LLMOptions, check, declared
from client.llm_plan import plan_of
from client.types import AutoscalingPolicy, Deployment, DeploymentSpec, Placement

NAME, MODEL = "accounts/local/deployments/chat", "accounts/fireworks/models/m"


def asked(**options: object) -> DeploymentSpec:
    return declared(MODEL, check("on-demand", LLMOptions(id="chat", **options)), "app.py")  # type: ignore[typeddict-item]


def there(**fields: object) -> Deployment:
    """As an engine shows what `asked()` declares, with its own defaults filled in."""
    policy = AutoscalingPolicy(
        scale_up_window=timedelta(seconds=1), scale_down_window=timedelta(minutes=1),
        scale_to_zero_window=timedelta(minutes=5), load_targets={"default": 0.8},
    )  # fmt: skip
    return Deployment.model_validate(
        {
            "name": NAME, "state": "READY", "base_model": MODEL, "display_name": "app.py", "min_replica_count": 0,
            "max_replica_count": 1, "autoscaling_policy": policy, "placement": Placement(multi_region="GLOBAL"),
            "max_batch_size": 8, **fields,
        }
    )  # fmt: skip


def test_what_is_not_there_is_created_and_all_that_is_declared_is_shown() -> None:
    plan = plan_of(NAME, asked(max_replica_count=2), None)
    assert plan.action == "create"
    assert str(plan).splitlines() == [
        f"{NAME} will be created",
        f'  + baseModel: "{MODEL}"',
        '  + displayName: "app.py"',
        "  + maxReplicaCount: 2",
        '  + autoscalingPolicy.scaleUpWindow: "1s"',
        '  + autoscalingPolicy.scaleDownWindow: "60s"',
        '  + autoscalingPolicy.scaleToZeroWindow: "300s"',
    ]


@pytest.mark.parametrize(
    "options", [{}, {"min_replica_count": 0}, {"multi_region": "GLOBAL"}, {"enable_addons": False}]
)
def test_what_is_as_declared_is_left_alone(options: dict) -> None:
    plan = plan_of(NAME, asked(**options), there())
    assert (plan.action, plan.changes, plan.changed) == ("nothing", (), None)


def test_what_differs_is_shown_and_sent_and_what_nobody_declared_stays() -> None:
    plan = plan_of(
        NAME,
        asked(max_replica_count=3, scale_up_window=timedelta(seconds=9), annotations={"team": "b"}),
        there(annotations={"team": "a", "owner": "ada"}),
    )
    assert str(plan).splitlines() == [
        f"{NAME} will be changed",
        '  ~ annotations.team: "a" -> "b"',
        "  ~ maxReplicaCount: 1 -> 3",
        '  ~ autoscalingPolicy.scaleUpWindow: "1s" -> "9s"',
    ]
    assert plan.changed is not None
    assert plan.changed.model_fields_set == {"max_replica_count", "autoscaling_policy", "annotations"}
    assert plan.changed.annotations == {"team": "b", "owner": "ada"}
    assert plan.changed.autoscaling_policy is not None
    assert plan.changed.autoscaling_policy.load_targets == {"default": 0.8}
    assert plan.changed.autoscaling_policy.scale_down_window == timedelta(minutes=1)


def test_what_can_never_change_is_refused_with_the_way_out() -> None:
    with pytest.raises(FailedPrecondition, match='acceleratorType: null -> "NVIDIA_L4_24GB"') as refused:
        plan_of(NAME, asked(accelerator_type="NVIDIA_L4_24GB", max_replica_count=5), there())
    assert "another id" in str(refused.value.hint)
    with pytest.raises(FailedPrecondition, match="baseModel"):
        plan_of(NAME, asked(), there(base_model="accounts/local/models/other"))


def test_what_was_deleted_is_brought_back() -> None:
    gone = datetime(2026, 11, 20, tzinfo=UTC)
    plan = plan_of(NAME, asked(max_replica_count=2), there(delete_time=gone))
    assert (plan.action, [change.path for change in plan.changes]) == ("undelete", ["maxReplicaCount"])
    assert plan_of(NAME, asked(), there(delete_time=gone)).action == "undelete"
