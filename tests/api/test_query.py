"""What every route reads of a request, by its own table: names in either spelling, none unknown, none given twice."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from pydantic.alias_generators import to_snake

from engine.api.query import in_camel_case, names_of
from engine.app import ROUTERS, control_plane
from tests.api.test_access import PLACES
from tests.house import Home, home
from tests.processes import SMOLLM2

ROUTES = sorted(
    (method, route.path, *sorted({*names_of(route.dependant)}))
    for router in ROUTERS for route in router.routes for method in route.methods
)  # fmt: skip
PARAMETERS = [(method, path, name) for method, path, *names in ROUTES for name in names]
JSON = {"content-type": "application/json"}
DEPLOYMENTS = "/v1/accounts/local/deployments"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asked(tmp_path_factory) -> AsyncIterator[Home]:
    async with home(tmp_path_factory.mktemp("asked")) as opened:
        yield opened


async def ask(at: Home, method: str, template: str, query: str) -> httpx.Response:
    body = {} if method in ("POST", "PATCH") else None
    async with at.http(at.admin_key) as http:
        return await http.request(method, f"{template.format(**PLACES)}?{query}", json=body)


def test_the_table_has_parameters_and_all_of_them_in_camel_case() -> None:
    assert len(PARAMETERS) > 80
    assert {"validateOnly", "updateMask", "ignoreChecks", "pageSize", "readMask"} <= {name for *_, name in PARAMETERS}
    for *_, name in PARAMETERS:
        assert in_camel_case(f"{to_snake(name)}=x") == f"{name}=x"


@pytest.mark.asyncio(loop_scope="module")
async def test_every_route_refuses_a_parameter_that_it_does_not_know(asked: Home) -> None:
    for method, path, *_ in ROUTES:
        answer = await ask(asked, method, path, "nonsense=1")
        assert answer.status_code == 400, (method, path, answer.text)
        assert "unknown query parameter 'nonsense'" in answer.json()["message"], (method, path)


@pytest.mark.asyncio(loop_scope="module")
async def test_every_parameter_is_the_same_one_in_either_spelling(asked: Home) -> None:
    for method, path, name in PARAMETERS:
        answer = await ask(asked, method, path, f"{to_snake(name)}=1&{name}=1")
        assert answer.status_code == 400, (method, path, answer.text)
        assert answer.json()["message"].startswith(f"{name} is given 2 times"), (method, path)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_misspelt_one_is_answered_with_the_right_one(asked: Home) -> None:
    answer = await ask(asked, "DELETE", f"{DEPLOYMENTS}/nope", "ignore_cheks=true")
    assert "did you mean ignoreChecks?" in answer.json()["message"]
    answer = await ask(asked, "POST", f"{DEPLOYMENTS}/nope:undelete", "validateOnly=true")
    assert "known here: none" in answer.json()["message"]


async def test_switches_in_snake_case_do_what_they_say(own: Home) -> None:
    body = {"baseModel": SMOLLM2, "maxReplicaCount": 0, "displayName": "first"}
    async with own.http(own.admin_key) as http:
        for switch in ("validate_only", "dry_run", "validate%5Fonly"):
            assert (await http.post(f"{DEPLOYMENTS}?deployment_id=a&{switch}=true", json=body)).status_code == 200
        assert (await http.get(f"{DEPLOYMENTS}/a")).status_code == 404
        for name in "ab":
            assert (await http.post(f"{DEPLOYMENTS}?deployment_id={name}", json=body)).status_code == 200
        both = {"displayName": "second", "description": "told"}
        changed = (await http.patch(f"{DEPLOYMENTS}/a?update_mask=description", json=both)).json()
        assert (changed["displayName"], changed["description"]) == ("first", "told")
        page = (await http.get(f"{DEPLOYMENTS}?page_size=1&read_mask=name")).json()
        assert page["deployments"] == [{"name": "accounts/local/deployments/a"}]
        rest = {"page_size": "1", "read_mask": "name", "page_token": page["nextPageToken"]}
        assert (await http.get(DEPLOYMENTS, params=rest)).json()["deployments"][0]["name"].endswith("/b")


TWICE = [
    '{"displayName": "a", "displayName": "b"}', '{"displayName": "a", "display_name": "b"}',
    '{"autoscalingPolicy": {"scaleUpWindow": "1s", "scaleUpWindow": "2s"}}',
    '{"annotations": {"a": "1", "a": "2"}}',
]  # fmt: skip


@pytest.mark.asyncio(loop_scope="module")
async def test_every_route_with_a_body_refuses_a_field_that_it_does_not_know_and_one_that_is_given_twice(
    asked: Home,
) -> None:
    document = control_plane(asked.engine.house).openapi()
    with_body = [
        (method, path, {p["name"]: "known" for p in one.get("parameters", ()) if p["in"] == "query" and p["required"]})
        for path, operations in document["paths"].items() for method, one in operations.items()
        if "requestBody" in one and not path.endswith(":import")  # which is refused whatever it has
    ]  # fmt: skip
    assert len(with_body) > 15
    places = PLACES | {"deployment_id": "known", "model_id": "known"}
    async with asked.http(asked.admin_key) as http:
        await http.post(f"{DEPLOYMENTS}?deploymentId=known", json={"baseModel": SMOLLM2, "maxReplicaCount": 0})
        await http.post("/v1/accounts/local/models", json={"modelId": "known"})
        for method, path, query in with_body:
            url = path.format(**places)
            for body, says in (({"nonsense": 1}, "nonsense"), (b'{"a": 1, "a": 2}', "'a' is given twice")):
                sent = {"content": body, "headers": JSON} if isinstance(body, bytes) else {"json": body}
                answer = await http.request(method, url, params=query, **sent)
                assert answer.status_code == 400, (method, path, answer.text)
                assert says in answer.json()["message"], (method, path, answer.text)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("body", TWICE)
async def test_what_is_given_twice_is_refused_at_any_depth(asked: Home, body: str) -> None:
    async with asked.http(asked.admin_key) as http:
        await http.post(f"{DEPLOYMENTS}?deploymentId=twice", json={"baseModel": SMOLLM2, "maxReplicaCount": 0})
        answer = await http.patch(f"{DEPLOYMENTS}/twice", content=body, headers=JSON)
        assert answer.status_code == 400, answer.text
        one = await http.get(f"{DEPLOYMENTS}/twice")
    assert (one.json()["displayName"], one.json().get("annotations")) == ("twice", None)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("wanted", [{"baseModel": SMOLLM2, "bogus": 1}, {"base_model": SMOLLM2, "baseModel": SMOLLM2}])
async def test_a_match_refuses_what_a_deployment_does_not_have(asked: Home, wanted: dict[str, object]) -> None:
    async with asked.http(asked.admin_key) as http:
        path = "/v1/accounts/local/deploymentShapeVersions:match"
        for request in ({"deployment": wanted}, {"deployment": {"baseModel": SMOLLM2}, "bogus": 1}):
            answer = await http.post(path, json={"createDeploymentRequest": request})
            assert answer.status_code == 400, answer.text
        good = {"create_deployment_request": {"deployment": {"base_model": SMOLLM2}, "parent": "accounts/local"}}
        assert (await http.post(path, json=good)).status_code == 200
