"""What is not offered, asked by the official SDKs: lists are empty, nothing is found or made, and nobody asks twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from fireworks import APIStatusError as FireworksError
from fireworks import AsyncFireworks

from client.errors import NotFound, Unimplemented, from_response
from engine.unoffered import COLLECTIONS, OPERATIONS
from tests.house import BASE_URL, Home

V1 = "/v1/accounts/local"
RETRIES = 2
RESOURCES = {
    "datasets": {"dataset": {}, "dataset_id": "d"},
    "batch_inference_jobs": {"model": "m", "input_dataset_id": "d", "batch_inference_job_id": "b"},
    "evaluators": {"evaluator": {"display_name": "E"}, "evaluator_id": "e"},
    "evaluation_jobs": {"evaluation_job": {"evaluator": "e", "input_dataset": "d", "output_dataset": "o"}},
    "dpo_jobs": {"dataset": "d", "dpo_job_id": "j"},
    "supervised_fine_tuning_jobs": {"dataset": "d", "supervised_fine_tuning_job_id": "j"},
    "reinforcement_fine_tuning_jobs": {"dataset": "d", "evaluator": "e", "reinforcement_fine_tuning_job_id": "j"},
    "reinforcement_fine_tuning_steps": {"dataset": "d", "rlor_trainer_job_id": "j"},
}  # fmt: skip


class Counted(httpx.AsyncBaseTransport):
    """An engine's ASGI application, with the requests that came to it."""

    def __init__(self, home: Home) -> None:
        self._way = httpx.ASGITransport(home.engine, raise_app_exceptions=False)  # type: ignore[arg-type]
        self.asked: Counter[str] = Counter()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked[f"{request.method} {request.url.path}"] += 1
        return await self._way.handle_async_request(request)


@pytest.fixture
async def http(own: Home) -> AsyncIterator[httpx.AsyncClient]:
    async with own.http(own.admin_key) as client:
        yield client


def test_every_resource_of_the_sdk_that_has_no_scenario_is_in_the_table() -> None:
    assert len(COLLECTIONS) == len(RESOURCES)
    assert {one.outcome for one in OPERATIONS if one.of is COLLECTIONS[0]} == {"empty", "not found", "unimplemented"}


@pytest.mark.parametrize("name", RESOURCES)
async def test_the_official_sdk_finds_none_and_is_told_once_that_none_is_made(own: Home, name: str) -> None:
    way = Counted(own)
    sdk = AsyncFireworks(
        api_key=own.admin_key, account_id="local", base_url=BASE_URL, max_retries=RETRIES,
        http_client=httpx.AsyncClient(transport=way),
    )  # fmt: skip
    resource = getattr(sdk, name)
    assert [one async for one in resource.list(filter="state=READY", page_size=5)] == []
    for ask in (resource.get, resource.delete):
        with pytest.raises(FireworksError) as missing:
            await ask("x")
        assert isinstance(from_response(missing.value.status_code, missing.value.body), NotFound)
    with pytest.raises(FireworksError) as refused:
        await resource.create(**RESOURCES[name])
    told = from_response(refused.value.status_code, refused.value.body)
    assert isinstance(told, Unimplemented)
    assert "are not available on this engine (" in told.message
    assert set(way.asked.values()) == {1}, "an SDK tries again what can never be"


async def test_pages_of_nothing_keep_to_what_lists_take(http: httpx.AsyncClient) -> None:
    for one in COLLECTIONS:
        answer = await http.get(f"{V1}/{one.plural}", params={"pageSize": 200, "orderBy": "name", "readMask": "name"})
        assert answer.json() == {one.plural: [], "nextPageToken": "", "totalSize": 0}
        for query in ({"pageSize": -1}, {"pageToken": "none"}, {"nonsense": "1"}):
            assert (await http.get(f"{V1}/{one.plural}", params=query)).status_code == 400


async def test_what_is_asked_of_it_is_in_the_audit_log(own: Home, http: httpx.AsyncClient) -> None:
    await http.post(f"{V1}/dpoJobs?dpoJobId=j", json={"dataset": "d"})
    await own.engine.house.access.audit.commit()
    logged = (await http.get(f"{V1}/auditLogs", params={"filter": 'message="CreateDpoJob"'})).json()["auditLogs"]
    assert [entry["status"]["code"] for entry in logged] == ["UNIMPLEMENTED"]


@pytest.mark.parametrize("prefix", ["/v1", "/inference/v1"])
async def test_openais_responses_are_none_and_the_sdk_is_told_once_that_none_is_made(own: Home, prefix: str) -> None:
    way = Counted(own)
    sdk: Any = openai.AsyncOpenAI(
        api_key=own.admin_key, base_url=BASE_URL + prefix, max_retries=RETRIES,
        http_client=httpx.AsyncClient(transport=way),
    )  # fmt: skip
    with pytest.raises(openai.APIStatusError) as refused:
        await sdk.responses.create(model="m", input="Hello")
    assert (refused.value.status_code, refused.value.code) == (501, "UNIMPLEMENTED")
    assert "/v1/chat/completions" in refused.value.message
    for ask in (sdk.responses.retrieve, sdk.responses.delete):
        with pytest.raises(openai.NotFoundError, match="'resp_1' does not exist"):
            await ask("resp_1")
    assert set(way.asked.values()) == {1}
    async with own.http(own.admin_key) as http:
        listed = (await http.get(f"{prefix}/responses")).json()
        assert (listed["object"], listed["data"], listed["has_more"]) == ("list", [], False)
        for method, path in (("PUT", "/responses"), ("POST", "/responses/resp_1")):
            assert (await http.request(method, prefix + path, json={})).status_code == 405
        assert (await http.post(f"{prefix}/responses/resp_1/cancel", json={})).status_code == 404
