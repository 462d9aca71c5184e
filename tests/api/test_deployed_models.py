"""LoRA adapters on deployments: loaded on every replica, asked for by name, unloaded, and refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from client.cli.main import main
from tests import adapter_files
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess, poll

pytestmark = pytest.mark.model

HOST = "accounts/local/deployments/host"
DEPLOYED_MODELS = "/v1/accounts/local/deployedModels"
PROMPT = "The lighthouse keeper"


@pytest.fixture(scope="module")
def http(engine: EngineProcess) -> Iterator[httpx.Client]:
    with client_of(engine) as client:
        yield client


def client_of(engine: EngineProcess) -> httpx.Client:
    headers = {"Authorization": f"Bearer {engine.key}"}
    return httpx.Client(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def adapters(http: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two adapters of SmolLM2 that visibly change it, as models `lora-0` and `lora-1`."""
    folder = tmp_path_factory.mktemp("adapters")
    base = Path(http.get(f"/v1/{SMOLLM2}").json()["firedeck"]["file"])
    names = []
    for seed in range(2):
        file = adapter_files.make(folder / f"{seed}.gguf", base, seed=seed, strength=0.3)
        body = {"modelId": f"lora-{seed}", "file": str(file), "baseModel": SMOLLM2}
        made = http.post("/firedeck/v1/accounts/local/models", json=body)
        assert made.status_code == 200, made.text
        names.append(made.json()["name"])
    yield names
    for name in names:
        assert http.delete(f"/v1/{name}").status_code == 200


@pytest.fixture
def host(http: httpx.Client) -> Iterator[None]:
    """A READY deployment `host` that takes adapters, one in memory at a time."""
    spec = {
        "baseModel": SMOLLM2, "minReplicaCount": 1, "maxReplicaCount": 2, "enableAddons": True,
        "numPeftDeviceCached": 1, "maxPeftBatchSize": 1,
    }  # fmt: skip
    http.post("/v1/accounts/local/deployments?deploymentId=host", json=spec).raise_for_status()
    poll(lambda: http.get(f"/v1/{HOST}").json()["state"] == "READY")
    yield
    http.delete(f"/v1/{HOST}", params={"hard": True, "ignoreChecks": True})


def pids(http: httpx.Client) -> set[int]:
    """Of the replicas that have a process already."""
    return {replica["pid"] for replica in http.get(f"/firedeck/v1/{HOST}").json()["replicas"] if "pid" in replica}


def ready(http: httpx.Client) -> int:
    return int(http.get(f"/v1/{HOST}").json()["replicaStats"]["readyReplicaCount"])


def load(http: httpx.Client, model: str, **fields: Any) -> dict[str, Any]:
    answer = http.post(DEPLOYED_MODELS, json={"model": model, "deployment": HOST, **fields})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def until_state(http: httpx.Client, name: str, state: str) -> dict[str, Any]:
    def seen() -> bool:
        return bool(http.get(f"/v1/{name}").json().get("state") == state)

    poll(seen)
    return dict(http.get(f"/v1/{name}").json())


def text(http: httpx.Client, model: str, **fields: Any) -> str:
    body = {"model": model, "prompt": PROMPT, "max_tokens": 12, "temperature": 0, **fields}
    answer = http.post("/inference/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["text"])


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["message"]


def test_an_adapters_model_has_its_details_from_the_file(http: httpx.Client, adapters: list[str]) -> None:
    model = http.get(f"/v1/{adapters[0]}").json()
    assert model["kind"] == "HF_PEFT_ADDON"
    assert model["state"] == "READY"
    assert model["peftDetails"]["baseModel"] == SMOLLM2
    assert model["peftDetails"]["r"] == 4
    assert set(model["peftDetails"]["targetModules"]) == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip


def check_usage(http: httpx.Client, adapters: list[str]) -> None:
    """What requests used is told by the adapter that answered, by whichever name it was asked, whole and streamed."""
    told: dict[str | None, list[int]] = {}
    asked: list[tuple[str, str | None]] = [(HOST, None), (f"{adapters[0]}#{HOST}", adapters[0])]
    asked += [("local/lora-0", adapters[0]), *((one, one) for one in adapters)]
    for number, (model, adapter) in enumerate(asked):
        body: dict[str, Any] = {
            "model": model,
            "prompt": PROMPT,
            "max_tokens": 3 + number,
            "temperature": 0,
            "ignore_eos": True,
        }
        body |= {"metadata": {"test": "adapters"}, "stream": number % 2 == 1}
        answer = http.post("/v1/completions", json=body)
        last = answer.text.split("data: ")[-2] if number % 2 else answer.text
        usage = json.loads(last)["usage"]
        sums = told.setdefault(adapter, [0, 0, 0])
        for at, more in enumerate((1, usage["prompt_tokens"], usage["completion_tokens"])):
            sums[at] += more
    query = {"groupBy": "adapter", "filter": f'tags.test=adapters AND deployment="{HOST}"'}
    found = http.get("/firedeck/v1/accounts/local/usage:tokens", params=query).raise_for_status().json()
    rows = {row.get("adapter"): [row[name] for name in ("requests", "promptTokens", "generatedTokens")]
            for row in found["rows"]}  # fmt: skip
    assert rows == told
    assert {*told} == {None, *adapters}
    assert [sum(column) for column in zip(*told.values(), strict=True)] == [
        found["total"][name] for name in ("requests", "promptTokens", "generatedTokens")
    ]


def test_requests_run_with_the_adapter_they_name_on_old_and_new_replicas(
    host: None, http: httpx.Client, adapters: list[str]
) -> None:
    plain = text(http, HOST)
    records = [load(http, adapter) for adapter in adapters]
    assert records[0]["state"] == "DEPLOYING"
    for record in records:
        until_state(http, record["name"], "DEPLOYED")
    first, second = [text(http, record["name"]) for record in records]
    assert len({plain, first, second}) == 3
    assert text(http, f"{adapters[0]}#{HOST}") == first
    assert text(http, "lora-0#host") == first
    assert text(http, "local/lora-0") == first
    assert text(http, HOST) == plain
    with ThreadPoolExecutor() as pool:
        both = list(pool.map(lambda model: text(http, model), [*adapters, HOST, *adapters]))
    assert both == [first, second, plain, first, second]
    listed = [model["id"] for model in http.get("/v1/models").json()["data"]]
    assert f"{adapters[0]}#{HOST}" in listed
    check_usage(http, adapters)

    http.patch(f"/v1/{HOST}:scale", json={"replicaCount": 2})
    poll(lambda: ready(http) == 2)
    assert {http.get(f"/v1/{r['name']}").json()["state"] for r in records} == {"DEPLOYED"}
    with ThreadPoolExecutor() as pool:
        assert set(pool.map(lambda _: text(http, adapters[1]), range(6))) == {second}
    old = pids(http)
    http.patch(f"/v1/{HOST}", json={"maxBatchSize": 3}).raise_for_status()

    def replaced() -> bool:
        assert text(http, adapters[0]) == first  # no request misses it meanwhile
        return not pids(http) & old

    poll(replaced)

    def loaded() -> int:
        events = http.get(f"/firedeck/v1/{HOST}/events", params={"limit": 500}).json()["events"]
        return sum(event["reason"] == "AddonLoaded" for event in events)

    poll(lambda: loaded() >= 6)

    assert http.delete(f"/v1/{records[0]['name']}").json() == {}
    gone = http.post("/inference/v1/completions", json={"model": adapters[0], "prompt": PROMPT, "max_tokens": 1})
    assert gone.status_code == 404
    poll(lambda: http.get(f"/v1/{records[0]['name']}").status_code == 404)
    assert text(http, adapters[1]) == second


def test_a_roll_out_fails_no_request_for_an_adapter(host: None, http: httpx.Client, adapters: list[str]) -> None:
    record = load(http, adapters[0])["name"]
    until_state(http, record, "DEPLOYED")
    with_adapter, before = text(http, f"{adapters[0]}#{HOST}"), pids(http)
    http.patch(f"/v1/{HOST}", json={"maxPeftBatchSize": 2}).raise_for_status()

    def renewed() -> bool:
        assert text(http, f"{adapters[0]}#{HOST}") == with_adapter
        return not pids(http) & before and ready(http) == 1

    poll(renewed)
    assert http.delete(f"/v1/{record}").status_code == 200


def test_what_does_not_fit_is_refused_with_the_reason(
    host: None, http: httpx.Client, adapters: list[str], tmp_path: Path
) -> None:
    def post(**fields: Any) -> tuple[int, str]:
        return refused(http.post(DEPLOYED_MODELS, json={"model": adapters[0], "deployment": HOST, **fields}))

    assert post(model=SMOLLM2)[0] == 400
    assert post(model="accounts/local/models/nope")[0] == 404
    assert post(deployment="accounts/local/deployments/nope")[0] == 404
    assert "enableAddons" in post(deployment="accounts/local/deployments/shared")[1]
    assert post(serverless=True)[0] == 400
    assert "colour" in post(colour="red")[1]
    record = load(http, adapters[0])
    assert post()[0] == 409
    status, why = refused(http.delete(f"/v1/{adapters[0]}"))
    assert (status, HOST in why) == (400, True)
    assert "hosts" in refused(http.delete(f"/v1/{HOST}"))[1]
    assert "unload it first" in refused(http.patch(f"/v1/{HOST}", json={"enableAddons": False}))[1]
    base = next(
        r for r in http.get(DEPLOYED_MODELS).json()["deployedModels"]
        if r["deployment"] == HOST and r["model"] == SMOLLM2
    )  # fmt: skip
    assert "delete the deployment" in refused(http.delete(f"/v1/{base['name']}"))[1]
    until_state(http, record["name"], "DEPLOYED")
    answer = http.post("/inference/v1/embeddings", json={"model": record["name"], "input": "Hi"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")


def test_an_adapter_larger_than_the_room_that_replicas_were_promised_is_refused_with_the_numbers(
    host: None, http: httpx.Client, tmp_path: Path
) -> None:
    base = Path(http.get(f"/v1/{SMOLLM2}").json()["firedeck"]["file"])
    file = adapter_files.make(tmp_path / "wide.gguf", base, seed=7, rank=96, layers=1)
    body = {"modelId": "lora-wide", "file": str(file), "baseModel": SMOLLM2}
    model = http.post("/firedeck/v1/accounts/local/models", json=body).json()["name"]
    try:
        status, why = refused(http.post(DEPLOYED_MODELS, json={"model": model, "deployment": HOST}))
        assert (status, "ranks of 96 in all" in why, "room for 64" in why) == (400, True, True), why
        http.patch(f"/v1/{HOST}", json={"numPeftDeviceCached": 2}).raise_for_status()
        until_state(http, load(http, model)["name"], "DEPLOYED")
        assert "ranks of 96" in refused(http.patch(f"/v1/{HOST}", json={"numPeftDeviceCached": 1}))[1]
    finally:
        for record in http.get(DEPLOYED_MODELS).json()["deployedModels"]:
            if record["model"] == model:
                http.delete(f"/v1/{record['name']}")
        poll(lambda: http.delete(f"/v1/{model}").status_code == 200)


def test_an_adapter_whose_file_changed_fails_with_the_reason_and_only_its_requests_do(
    host: None, http: httpx.Client, tmp_path: Path
) -> None:
    base = Path(http.get(f"/v1/{SMOLLM2}").json()["firedeck"]["file"])
    file = adapter_files.make(tmp_path / "a.gguf", base, seed=5)
    body = {"modelId": "changing", "file": str(file), "baseModel": SMOLLM2}
    model = http.post("/firedeck/v1/accounts/local/models", json=body).json()["name"]
    record = load(http, model)
    until_state(http, record["name"], "DEPLOYED")
    adapter_files.make(file, base, seed=6)
    http.patch(f"/v1/{HOST}", json={"maxBatchSize": 2}).raise_for_status()  # new replicas load it anew
    failed = until_state(http, record["name"], "FAILED")
    assert "changed" in failed["status"]["message"]
    answer = http.post("/inference/v1/completions", json={"model": model, "prompt": PROMPT, "max_tokens": 1})
    assert (answer.status_code, answer.json()["error"]["code"]) == (412, "ADDON_NOT_LOADED")
    assert text(http, HOST)
    http.delete(f"/v1/{record['name']}")
    poll(lambda: http.get(f"/v1/{record['name']}").status_code == 404)
    assert http.delete(f"/v1/{model}").status_code == 200


def test_one_record_is_the_default_of_a_model_and_says_where_its_bare_name_goes(
    engine: EngineProcess, http: httpx.Client
) -> None:
    body = {"baseModel": SMOLLM2, "maxReplicaCount": 0}
    made = http.post("/v1/accounts/local/deployments", params={"deploymentId": "off"}, json=body)
    assert made.status_code == 200, made.text
    try:
        of_model = [r for r in http.get(DEPLOYED_MODELS).json()["deployedModels"] if r["model"] == SMOLLM2]
        off = next(r for r in of_model if r["deployment"].endswith("/off"))
        former = next(r for r in of_model if r["default"])
        assert not off["default"]
        http.patch(f"/v1/{off['name']}", json={"default": True})
        answer = http.post("/inference/v1/completions", json={"model": SMOLLM2, "prompt": "Hi", "max_tokens": 1})
        assert "switched off" in answer.json()["error"]["message"]
        assert not http.get(f"/v1/{former['name']}").json()["default"]
        assert "default" in refused(http.patch(f"/v1/{off['name']}", json={"default": False}))[1]
        changed = http.patch(
            f"/v1/{off['name']}", params={"updateMask": "display_name"}, json={"displayName": "x", "public": True}
        ).json()
        assert (changed["displayName"], changed["public"]) == ("x", False)
    finally:
        gone = {"hard": True, "ignoreChecks": True}
        assert http.delete("/v1/accounts/local/deployments/off", params=gone).status_code == 200
    assert http.get(f"/v1/{former['name']}").json()["default"]  # handed on when its deployment went
    refs = http.get(f"/v1/{SMOLLM2}").json()["deployedModelRefs"]
    assert any(ref["default"] for ref in refs)


def test_with_disable_auto_deploy_a_base_has_no_record(http: httpx.Client) -> None:
    query = {"deploymentId": "alone", "disableAutoDeploy": True}
    http.post("/v1/accounts/local/deployments", params=query, json={"baseModel": SMOLLM2, "maxReplicaCount": 0})
    records = http.get(DEPLOYED_MODELS).json()["deployedModels"]
    assert not any(r["deployment"].endswith("/alone") for r in records)
    assert http.delete("/v1/accounts/local/deployments/alone", params={"hard": True}).status_code == 200


def test_a_hot_reload_deployment_runs_every_request_with_the_one_adapter_it_has(
    host: None, http: httpx.Client, adapters: list[str]
) -> None:
    plain = text(http, HOST)
    http.patch(f"/v1/{HOST}", json={"enableHotReloadLatestAddon": True}).raise_for_status()
    first = load(http, adapters[0])
    until_state(http, first["name"], "DEPLOYED")
    with_first = text(http, HOST)
    assert with_first == text(http, adapters[0]) != plain
    body = {"model": adapters[1], "deployment": HOST}
    assert "one adapter at a time" in refused(http.post(DEPLOYED_MODELS, json=body))[1]
    second = http.post(DEPLOYED_MODELS, params={"replaceMergedAddon": True}, json=body).json()
    until_state(http, second["name"], "DEPLOYED")
    poll(lambda: http.get(f"/v1/{first['name']}").status_code == 404)
    assert text(http, HOST) not in (plain, with_first)


def test_the_command_line_loads_lists_and_unloads(
    engine: EngineProcess, http: httpx.Client, adapters: list[str]
) -> None:
    def told(*words: str) -> str:
        where = ["--base-url", engine.context.base_url, "--api-key", engine.key]
        done = CliRunner().invoke(main, [*words, *where])
        assert done.exit_code == 0, done.output
        return done.stdout + done.stderr

    spec = {"baseModel": SMOLLM2, "maxReplicaCount": 0, "deploymentShape": "smollm2-135m-instruct-addons"}
    http.post("/v1/accounts/local/deployments?deploymentId=quiet", json=spec).raise_for_status()
    try:
        made = told("load-lora", "lora-0", "--deployment", "quiet", "--wait", "-q")
        assert made.startswith("lora-0")
        assert told("deployed-model", "get", made.strip()).splitlines()[3] == "State: DEPLOYED"
        assert adapters[0] in told("deployed-model", "list")
        unloaded = told("unload-lora", "lora-0", "--wait").splitlines()
        assert (unloaded[0].split()[0], unloaded[-1]) == ("unloading", "gone")
        assert adapters[0] not in told("list", "deployed-models")
        assert "smollm2-135m-instruct-fast" in told("deployment-shape", "list", "--model", SMOLLM2)
    finally:
        http.delete("/v1/accounts/local/deployments/quiet", params={"hard": True, "ignoreChecks": True})


def test_a_killed_engine_comes_back_with_its_adapters_on_the_replicas_that_lived(
    tmp_path: Path, http: httpx.Client
) -> None:
    base = Path(http.get(f"/v1/{SMOLLM2}").json()["firedeck"]["file"])
    file = adapter_files.make(tmp_path / "a.gguf", base, seed=9, strength=0.3)
    own = EngineProcess(tmp_path / "data").start()
    try:
        with client_of(own) as before:
            spec = {"baseModel": SMOLLM2, "minReplicaCount": 1, "enableAddons": True}
            before.post("/v1/accounts/local/deployments?deploymentId=host", json=spec).raise_for_status()
            body = {"modelId": "lora", "file": str(file), "baseModel": SMOLLM2}
            before.post("/firedeck/v1/accounts/local/models", json=body).raise_for_status()
            record = load(before, "accounts/local/models/lora")
            until_state(before, record["name"], "DEPLOYED")
            poll(lambda: ready(before) == 1)
            said, lived = text(before, "lora"), pids(before)
        own.kill()
        own.start()
        with client_of(own) as after:
            until_state(after, record["name"], "DEPLOYED")
            poll(lambda: ready(after) == 1)
            assert (text(after, "lora"), pids(after)) == (said, lived)
            assert after.delete(f"/v1/{record['name']}").json() == {}
            own.kill()
        own.start()
        with client_of(own) as again:
            poll(lambda: again.get(f"/v1/{record['name']}").status_code == 404)  # what was acknowledged is done
            assert text(again, HOST) != said
    finally:
        own.stop()
