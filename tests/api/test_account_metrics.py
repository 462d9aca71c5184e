"""`GET /v1/accounts/{account}/metrics` over the whole engine: who may, how often, and what is in it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from client.types import DeploymentSpec
from engine.telemetry.meter import Usage
from tests.house import home
from tests.processes import SMOLLM2

PATH = "/v1/accounts/local/metrics"
NAME = "accounts/local/deployments/chat"


async def test_an_account_sees_its_own_deployments_rates_under_the_documented_names(tmp_path) -> None:
    async with home(tmp_path) as opened, opened.client() as client, opened.http(opened.admin_key) as http:
        await client.deployments.create(DeploymentSpec(base_model=SMOLLM2, max_replica_count=0), "chat")
        house = opened.engine.house
        await house.monitor.look()
        keeper = house.fleet.get(NAME)
        for code in (200, 429):
            keeper.meter.began(synthetic=False)
            keeper.meter.ended(code=code, failed=False, seconds=0.2, usage=Usage(6, 3, 1))
        await house.monitor.look()
        answer = await http.get(PATH)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        found = {family.name: family.samples for family in text_string_to_metric_families(answer.text)}
        [requests] = found["request_counter_total:sum_by_deployment"]
        assert requests.labels == {
            "base_model": SMOLLM2, "deployment": NAME, "deployment_account": "local", "deployment_id": "chat",
        }  # fmt: skip
        assert requests.value > 0
        errors = found["requests_error_total:sum_by_deployment"]
        assert [sample.labels["http_code"] for sample in errors] == ["429"]
        overall = {s.labels["le"]: s.value for s in found["latency_overall_ms_bucket:sum_by_deployment"]}
        assert overall["100.0"] == 0 < overall["300.0"] == overall["+Inf"]
        await client.deployments.delete("chat", ignore_checks=True)
        assert "request_counter_total" not in (await http.get(PATH)).text


async def test_six_times_a_minute_and_then_429_with_when_to_come_back(tmp_path) -> None:
    async with home(tmp_path) as opened, opened.http(opened.admin_key) as http:
        answers = [await http.get(PATH) for _ in range(7)]
        assert [answer.status_code for answer in answers] == [200] * 6 + [429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert answers[-1].json()["code"] == 8
        assert "once a minute" in answers[-1].json()["message"]
        async with opened.http(await opened.stranger()) as theirs:
            assert (await theirs.get("/v1/accounts/elsewhere/metrics")).status_code == 200
            assert (await theirs.get(PATH)).status_code == 403
        async with opened.http() as nobody:
            assert (await nobody.get(PATH)).status_code == 401
