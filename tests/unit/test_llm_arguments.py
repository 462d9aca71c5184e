"""Every documented argument of `LLM`: what it does to what is sent, or why it is refused. None is passed over."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, get_type_hints

import httpx
import pytest

from client import llm as llm_room
from client import retries
from client.config import Context
from client.errors import FiredeckError
from client.http import Transport
from client.llm import LLM
from client.llm_options import BadArgument, LLMOptions
from client.sync import SyncClient

MODEL = "accounts/fireworks/models/m"
BASE = "accounts/local/deployments/base"
HELLO = [{"role": "user", "content": "Hello"}]
WHOLE = {"id": "1", "created": 1, "model": "m", "choices": [{"index": 0, "message": {"content": "Good day"}}]}

# What each argument makes of what is sent: a field of the new deployment, of a request, or of how they are sent.
SENT: dict[str, tuple[Any, dict[str, Any]]] = {
    "id": ("other", {"query deploymentId": "other"}),
    "deployment_display_name": ("mine", {"deployment displayName": "mine"}),
    "api_key": ("another", {"key": "Bearer another"}),
    "base_url": ("http://far/inference/v1", {"host": "far"}),
    "max_retries": (1, {"tries": 2}),
    "scale_up_window": (timedelta(seconds=5), {"deployment autoscalingPolicy.scaleUpWindow": "5s"}),
    "scale_down_window": (timedelta(minutes=2), {"deployment autoscalingPolicy.scaleDownWindow": "120s"}),
    "scale_to_zero_window": (timedelta(hours=1), {"deployment autoscalingPolicy.scaleToZeroWindow": "3600s"}),
    "accelerator_type": ("NVIDIA_L4_24GB", {"deployment acceleratorType": "NVIDIA_L4_24GB"}),
    "region": ("US_IOWA_1", {"deployment placement.region": "US_IOWA_1"}),
    "multi_region": ("EUROPE", {"deployment placement.multiRegion": "EUROPE"}),
    "min_replica_count": (1, {"deployment minReplicaCount": 1}),
    "max_replica_count": (3, {"deployment maxReplicaCount": 3}),
    "replica_count": (2, {"deployment minReplicaCount": 2, "deployment maxReplicaCount": 2}),
    "accelerator_count": (2, {"deployment acceleratorCount": 2}),
    "precision": ("FP8", {"deployment precision": "FP8"}),
    "world_size": (2, {"deployment worldSize": 2}),
    "generator_count": (2, {"deployment generatorCount": 2}),
    "disaggregated_prefill_count": (2, {"deployment disaggregatedPrefillCount": 2}),
    "disaggregated_prefill_world_size": (2, {"deployment disaggregatedPrefillWorldSize": 2}),
    "max_batch_size": (4, {"deployment maxBatchSize": 4}),
    "max_peft_batch_size": (4, {"deployment maxPeftBatchSize": 4}),
    "kv_cache_memory_pct": (
        50, {"deployment kvCacheMemoryPct": 50, "told": "kv_cache_memory_pct has no effect on this engine: the cache "}
    ),
    "enable_addons": (True, {"deployment enableAddons": True}),
    "live_merge": (True, {"deployment enableHotReloadLatestAddon": True}),
    "draft_token_count": (0, {"deployment draftTokenCount": 0}),
    "draft_model": ("d", {"deployment draftModel": "accounts/local/models/d"}),
    "ngram_speculation_length": (3, {"deployment ngramSpeculationLength": 3}),
    "long_prompt_optimized": (True, {"deployment autoTune.longPrompt": True}),
    "temperature": (0.25, {"request temperature": 0.25}),
    "num_peft_device_cached": (2, {"deployment numPeftDeviceCached": 2}),
    "enable_metrics": (True, {"measured": True}),
    "perf_metrics_in_response": (True, {"request perf_metrics_in_response": True}),
    "description": ("mine", {"deployment description": "mine"}),
    "annotations": ({"team": "a"}, {"deployment annotations.team": "a"}),
    "enable_session_affinity": (False, {"deployment enableSessionAffinity": False}),
    "direct_route_api_keys": (["k"], {"deployment directRouteApiKeys": ["k"]}),
    "direct_route_type": (
        "INTERNET", {"deployment directRouteType": "INTERNET", "told": "direct_route_type has no effect on this engine"}
    ),
}  # fmt: skip
# Arguments that no engine takes, and what is told of them.
REFUSED = {"cluster": "cluster is the engine's to give", "direct_route_handle": "direct_route_handle is the engine's"}
WITH = {
    "draft_model": {"draft_token_count": 4},
    "ngram_speculation_length": {"draft_token_count": 4},
}  # needed beside it


class Engine:
    """Nothing is deployed on it yet; it is full at the first request of each LLM."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {"tries": 0}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen |= {"host": request.url.host, "key": request.headers["authorization"]}
        body = json.loads(request.content or "{}")
        if request.url.path.endswith("/chat/completions"):
            self.seen["tries"] += 1
            self.seen |= {f"request {name}": value for name, value in body.items()}
            return httpx.Response(200, json=WHOLE) if self.seen["tries"] > 1 else httpx.Response(503, json={})
        if request.method == "POST":
            self.seen |= {f"query {name}": value for name, value in request.url.params.items()}
            self.seen |= {f"deployment {path}": value for path, value in flat(body)}
            return httpx.Response(200, json=body | {"name": "accounts/local/deployments/chat", "state": "READY"})
        if "/models/" in request.url.path:
            return httpx.Response(200, json={"name": request.url.path.removeprefix("/v1/")})
        return httpx.Response(404, json={"code": 5, "message": "no such"})


def flat(body: dict[str, Any], above: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, value in body.items():
        found += flat(value, f"{above}{name}.") if isinstance(value, dict) else [(above + name, value)]
    return found


def seen_of(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> dict[str, Any]:
    """All that an engine sees of an LLM with these options, and what its user is told."""
    engine, told = Engine(), list[str]()

    def client_of(context: Context) -> SyncClient:
        transport = Transport(context.base_url, context.api_key, transport=httpx.MockTransport(engine))
        return SyncClient(context, transport)

    monkeypatch.setattr(llm_room, "SyncClient", client_of)
    given = {"id": "chat", "api_key": "k", "base_url": "http://engine", "max_retries": 0} | options
    with LLM(MODEL, "on-demand", **LLMOptions(**given)) as llm:
        llm.apply(wait=False, tell=told.append)
        try:
            llm.chat.completions.create(messages=HELLO)
        except FiredeckError:
            engine.seen["failed"] = True
        return engine.seen | {"told": "\n".join(told), "measured": llm.get_time_to_last_token_mean() is not None}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.0)


def test_every_argument_is_in_one_of_the_tables() -> None:
    assert {*SENT, *REFUSED, "base_id"} == set(get_type_hints(LLMOptions))
    assert not set(SENT) & set(REFUSED)


@pytest.mark.parametrize("name", SENT)
def test_an_argument_does_what_it_says_and_without_it_nothing_of_it_is_there(monkeypatch, name: str) -> None:
    value, effects = SENT[name]
    beside = WITH.get(name, {}) | ({"max_retries": 1} if name == "enable_metrics" else {})
    seen, without = (seen_of(monkeypatch, given) for given in ({name: value, **beside}, {}))
    for what, expected in effects.items():
        assert expected in seen[what] if what == "told" else seen[what] == expected
        assert without.get(what) != seen[what], f"{what} is so without {name} too"


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_nobodys_to_choose_is_refused_with_the_reason_before_anything_is_sent(monkeypatch, name: str) -> None:
    with pytest.raises(BadArgument) as refused:
        seen_of(monkeypatch, {name: "x"})
    assert refused.value.text.startswith(REFUSED[name])
    assert refused.value.field == name


def test_what_has_no_effect_here_is_told_once_and_nothing_else_is(monkeypatch) -> None:
    told = seen_of(monkeypatch, {"kv_cache_memory_pct": 50, "max_batch_size": 4})["told"]
    assert told.count("has no effect") == 1


def test_an_adapter_goes_onto_the_deployment_of_base_id() -> None:
    sent: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        name = request.url.path.removeprefix("/v1/")
        if request.method == "POST":
            sent.append(json.loads(request.content))
            return httpx.Response(200, json={"name": f"{name}/x"})
        return httpx.Response(200, json={"name": name} if name.count("/") == 3 else {"deployedModels": []})

    context = Context("http://engine", "k")
    with SyncClient(context, Transport(context.base_url, "k", transport=httpx.MockTransport(answer))) as client:
        LLM(MODEL, "on-demand-lora", client=client, base_id="base").apply(wait=False, tell=lambda text: None)
    assert sent == [{"model": MODEL, "deployment": BASE}]
