"""A real Prometheus server scrapes a real engine: it takes what it gets, and answers what the dashboard asks."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from engine import telemetry
from engine.control.alerts import RULES
from tests.conftest import SHARED
from tests.processes import PATIENCE_S, EngineProcess, poll
from tests.prometheus import program
from tui.sources.prometheus import QUERIES, PrometheusHistory

pytestmark = pytest.mark.model
DEPLOYMENT = f"accounts/local/deployments/{SHARED}"
RULES_FILE = Path(telemetry.__file__).parent / "firedeck.rules.yml"


def configuration(running: EngineProcess) -> str:
    """JSON is YAML. The account's endpoint allows six scrapes a minute: those are taken, whatever comes after."""
    target = [{"targets": [running.context.base_url.removeprefix("http://")]}]
    native = {"job_name": "engine", "scrape_interval": "1s", "static_configs": target}
    account = {
        "job_name": "account", "scrape_interval": "2s", "metrics_path": "/v1/accounts/local/metrics",
        "authorization": {"credentials": running.key}, "static_configs": target,
    }  # fmt: skip
    return json.dumps(
        {
            "global": {"evaluation_interval": "1s"},
            "scrape_configs": [native, account],
            "rule_files": [str(RULES_FILE)],
        }
    )


@pytest.fixture
def prometheus(engine: EngineProcess, tmp_path: Path) -> Iterator[str]:
    """The URL of a server on a free port of loopback, with its data in a folder of the test."""
    server = program("prometheus")
    (tmp_path / "prometheus.yml").write_text(configuration(engine))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                server, f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        poll(lambda: process.poll() is not None or ready(address))
        assert process.poll() is None, (tmp_path / "log").read_text()
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def ready(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/-/ready", timeout=PATIENCE_S).status_code == 200
    except httpx.TransportError:
        return False


def asked(prometheus: str, query: str) -> dict[str, float]:
    """An instant query's samples, by job and deployment."""
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": query}, timeout=PATIENCE_S).json()
    return {
        f"{sample['metric'].get('job', '')}/{sample['metric'].get('deployment', '')}": float(sample["value"][1])
        for sample in answer["data"]["result"]
    }


async def test_it_answers_the_dashboards_queries_and_takes_both_endpoints_and_the_rules(
    prometheus: str, openai_client: openai.OpenAI
) -> None:
    history = PrometheusHistory(prometheus)
    known: set[str] = set()
    said, maybe = "", {"draft_acceptance"}  # then predicted; whether that is drafted is the replica's to choose
    async with asyncio.timeout(PATIENCE_S):
        while not known >= set(QUERIES) - maybe:  # a rate needs two scrapes with traffic between them
            answer = await asyncio.to_thread(
                openai_client.completions.create, model=DEPLOYMENT, prompt="One, two,", max_tokens=24, temperature=0,
                stream=False, extra_body={"prediction": said} if said else None,
            )  # fmt: skip
            said = answer.choices[0].text
            if asked(prometheus, "rate(firedeck_replica_drafted_tokens_total[1m])").get(f"engine/{DEPLOYMENT}"):
                maybe.clear()
            found = await history.history(DEPLOYMENT, 60)
            known |= {name for name, values in found.series.items() if any(value is not None for value in values)}
            await asyncio.sleep(0.2)
        assert [value for value in found.series["ready"] if value is not None][-1] == 1
        assert max(value or 0 for value in found.series["ttft_p95_ms"]) > 0
        while asked(prometheus, "max_over_time(up[10m])") != {"engine/": 1, "account/": 1}:
            await asyncio.sleep(0.2)
        shown = asked(prometheus, "last_over_time(requests_coordinator_concurrent_count:avg_by_deployment[10m])")
        assert f"account/{DEPLOYMENT}" in shown
        while set(health(prometheus).values()) != {"ok"}:
            await asyncio.sleep(0.2)
    assert health(prometheus).keys() == {rule.name for rule in RULES}


def health(prometheus: str) -> dict[str, str]:
    groups = httpx.get(f"{prometheus}/api/v1/rules", timeout=PATIENCE_S).json()["data"]["groups"]
    return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
