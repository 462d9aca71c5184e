"""Arguments of `LLM`: what is refused before anything is sent, and the deployment that they declare."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, get_type_hints

import pytest

from client.llm_options import DEPLOYMENT_TYPES, LLMOptions, check, declared
from client.wire import Wire
from tests.product.documents import run_here

MODEL = "accounts/fireworks/models/m"


def test_every_documented_argument_is_there_and_no_other() -> None:
    assert {*get_type_hints(LLMOptions), "model", "deployment_type"} == set(run_here("argument of LLM"))
    assert set(DEPLOYMENT_TYPES) == {"serverless", "on-demand", "auto", "on-demand-lora"}


@pytest.mark.parametrize(
    ("kind", "given", "field"),
    [
        ("dedicated", {}, "deployment_type"), ("on-demand", {}, "id"), ("on-demand-lora", {}, "base_id"),
        ("on-demand", {"id": "Not An Id"}, "id"), ("auto", {"max_retries": -1}, "max_retries"),
        ("auto", {"max_batch_size": "8"}, "max_batch_size"), ("auto", {"scale_up_window": 30}, "scale_up_window"),
        ("auto", {"region": "US_IOWA_1", "multi_region": "US"}, "region"), ("auto", {"fly": True}, "fly"),
        ("auto", {"draft_model": "d", "ngram_speculation_length": 3, "draft_token_count": 4}, "draft_model"),
        ("auto", {"draft_model": "d"}, "draft_token_count"), ("auto", {"cluster": "mine"}, "cluster"),
        ("auto", {"replica_count": 2, "max_replica_count": 3}, "replica_count"),
        ("auto", {"direct_route_handle": "host"}, "direct_route_handle"),
        ("auto", {"max_batch_size": 1000}, "max_batch_size"), ("auto", {"replica_count": -1}, "replica_count"),
        ("auto", {"kv_cache_memory_pct": 95}, "kv_cache_memory_pct"),
        ("auto", {"deployment_display_name": "x" * 64}, "deployment_display_name"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_refused_by_name_and_is_a_value_error_too(kind: str, given: Any, field: str) -> None:
    with pytest.raises(ValueError, match=re.escape(field)) as refused:
        check(kind, given)
    assert getattr(refused.value, "field") == field  # noqa: B009 - of a FiredeckError


def test_what_is_none_says_nothing() -> None:
    assert check("on-demand", {"id": "chat", "precision": None, "region": None}) == {"id": "chat"}


def test_windows_are_declared_as_documented_unless_given() -> None:
    policy = declared(MODEL, check("auto", {}), "app.py").autoscaling_policy
    assert policy is not None
    assert policy.to_wire() == {"scaleUpWindow": "1s", "scaleDownWindow": "60s", "scaleToZeroWindow": "300s"}
    given = declared(MODEL, check("auto", {"scale_up_window": timedelta(seconds=30)}), "app.py").autoscaling_policy
    assert given is not None
    assert given.scale_up_window == timedelta(seconds=30)


def test_every_argument_that_is_a_setting_reaches_the_deployment_and_nothing_else_does() -> None:
    spec = declared(
        MODEL,
        check(
            "on-demand",
            {
                "id": "chat", "replica_count": 2, "multi_region": "EUROPE", "long_prompt_optimized": True,
                "live_merge": True, "precision": "FP16", "annotations": {"team": "a"}, "temperature": 0.5,
                "max_retries": 3, "enable_metrics": True, "kv_cache_memory_pct": 50, "direct_route_type": "INTERNET",
            },
        ),
        "app.py",
    ).to_wire()  # fmt: skip
    assert spec.pop("autoscalingPolicy")
    assert spec == {
        "baseModel": MODEL, "displayName": "app.py", "minReplicaCount": 2, "maxReplicaCount": 2,
        "placement": {"multiRegion": "EUROPE"}, "autoTune": {"longPrompt": True}, "enableHotReloadLatestAddon": True,
        "precision": "FP16", "annotations": {"team": "a"}, "kvCacheMemoryPct": 50, "directRouteType": "INTERNET",
    }  # fmt: skip
    assert isinstance(declared(MODEL, check("auto", {}), "a"), Wire)
