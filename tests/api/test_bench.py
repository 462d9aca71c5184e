"""`firedeck bench` against a real engine: counts, as the server and the generator agree on them."""

import json
import subprocess
from typing import Any

import pytest

from tests.conftest import SHARED
from tests.processes import EngineProcess, environment, firedeck

pytestmark = pytest.mark.model


def bench(engine: EngineProcess, *words: str) -> dict[str, Any]:
    where = ["--base-url", engine.context.base_url, "--api-key", engine.key, "--json"]
    command = firedeck("bench", *where, "--output-tokens", "4", "--prompt-tokens", "20", *words)
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_sweep_measures_the_deployment_by_the_servers_own_count(engine: EngineProcess) -> None:
    found = bench(engine, "-c", "1,2", "-n", "3", "--model", f"accounts/local/deployments/{SHARED}")
    assert [s["concurrency"] for s in found["settings"]] == [1, 2]
    for setting in found["settings"]:
        assert (setting["succeeded"], setting["errors"], setting["output_tokens"]) == (3, {}, 4)
        assert setting["counted_by_server"]
        assert 15 <= setting["prompt_tokens"] <= 25


def test_an_open_loop_on_chat_with_a_shared_prefix_sees_the_cache_at_work(engine: EngineProcess) -> None:
    model = f"accounts/local/deployments/{SHARED}"
    found = bench(engine, "-r", "20", "-n", "4", "--chat", "--shared-prefix", "100", "--ttft", "60s", "--model", model)
    (setting,) = found["settings"]
    assert setting["succeeded"] == 4
    assert setting["cached_share"] > 0
    assert setting["good_share"] == 1.0


def test_sizing_answers_with_replicas_and_reasons(engine: EngineProcess) -> None:
    model = f"accounts/local/deployments/{SHARED}"
    few = ("-n", "2", "--warmup", "0")
    found = bench(engine, "--size", "-r", "2", "--ttft", "60s", *few, "--model", model)["sizing"]
    assert found["replicas"] >= 1
    assert any("ceil(" in reason for reason in found["reasons"])
