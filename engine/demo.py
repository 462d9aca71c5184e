"""The two deployments of `firedeck serve --demo`: small enough for a laptop, with windows of seconds."""

from __future__ import annotations

from datetime import timedelta

from client.errors import AlreadyExists
from client.names import LIBRARY_ACCOUNT, LOCAL_ACCOUNT
from client.types import AutoscalingPolicy, Deployment
from engine.fleet.fleet import Fleet

WINDOWS = {
    "scale_up_window": timedelta(seconds=2),
    "scale_down_window": timedelta(seconds=6),
    "scale_to_zero_window": timedelta(seconds=8),
}


async def add_demo_deployments(fleet: Fleet) -> None:
    """`chat` (SmolLM2, 0 to 2 replicas) and `base` (gemma, 0 to 1); those that are there already stay as they are."""
    chat = Deployment(
        base_model=f"accounts/{LIBRARY_ACCOUNT}/models/smollm2-135m-instruct",
        display_name="chat",
        description="demo: SmolLM2-135M-Instruct",
        max_replica_count=2,
        autoscaling_policy=AutoscalingPolicy(**WINDOWS, load_targets={"concurrent_requests": 4.0}),
    )
    base = Deployment(
        base_model=f"accounts/{LIBRARY_ACCOUNT}/models/gemma-3-270m",
        display_name="base",
        description="demo: gemma-3-270m, a base model without chat template",
        max_replica_count=1,
        max_context_length=1024,
        autoscaling_policy=AutoscalingPolicy(**WINDOWS, load_targets={"default": 0.8}),
    )
    for deployment_id, spec in (("chat", chat), ("base", base)):
        try:
            await fleet.create(LOCAL_ACCOUNT, spec, deployment_id, by="demo")
        except AlreadyExists:
            continue
