"""The door before every route of control plane and gateway: web pages of other sites find it shut, programs open."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from engine.access.rules import OPEN
from engine.app import Engine
from engine.fleet.settings import Settings
from tests.api.test_access import INFERENCE, PLACES, ROUTES
from tests.house import Home, home

ALL = sorted({*ROUTES, *OPEN, *INFERENCE, *((method, "/inference" + path) for method, path in INFERENCE)})
CHANGING = [(method, path) for method, path in ALL if method != "GET" and "/files/" not in path]
FORM = "application/x-www-form-urlencoded"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_home(tmp_path_factory) -> AsyncIterator[Home]:
    async with home(tmp_path_factory.mktemp("door")) as opened:
        yield opened


async def ask(at: Home, route: tuple[str, str], headers: dict[str, str], body: bytes | None = None) -> httpx.Response:
    method, template = route
    path = template.format(**PLACES | {"ticket": "none"})
    async with at.http(at.admin_key) as http:
        if path.endswith(":watch"):
            path += "?interval=nonsense"  # a stream that never ends must not be begun
        return await http.request(method, path, headers=headers, content=body)


def refused(answer: httpx.Response, status: int, field: str) -> str:
    body = answer.json()
    assert answer.status_code == status, (answer.request.url, body)
    told = body.get("error", body)
    if body.get("type") != "error":  # the Messages API names no field
        assert field == (told["param"] if "error" in body else told["details"][0]["fieldViolations"][0]["field"])
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    return str(told["message"])


def test_the_routes_are_all_there_are() -> None:
    assert len(ALL) > 70
    assert {method for method, _ in CHANGING} == {"POST", "PATCH", "DELETE"}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("route", ALL, ids="-".join)
async def test_a_rebound_name_and_a_page_of_another_site_are_refused_whatever_key_they_have(
    shared_home: Home, route: tuple[str, str]
) -> None:
    rebound = await ask(shared_home, route, {"host": "evil.example:8700", "content-type": "application/json"}, b"{}")
    assert "--allow-host" in refused(rebound, 403, "Host")
    for origin in ("https://evil.example", "null"):
        page = await ask(shared_home, route, {"origin": origin, "content-type": "application/json"}, b"{}")
        assert "other sites" in refused(page, 403, "Origin")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("route", CHANGING, ids="-".join)
async def test_a_body_that_a_page_may_send_unasked_is_refused(shared_home: Home, route: tuple[str, str]) -> None:
    for kind in (FORM, "text/plain", "multipart/form-data; boundary=x"):
        message = refused(await ask(shared_home, route, {"content-type": kind}, b"{}"), 415, "Content-Type")
        assert "Content-Type: application/json" in message
    refused(await ask(shared_home, route, {}, b"{}"), 415, "Content-Type")


@pytest.mark.asyncio(loop_scope="module")
async def test_no_answer_lets_a_page_of_another_site_in_and_a_preflight_is_refused(shared_home: Home) -> None:
    wanted = {"origin": "https://evil.example", "access-control-request-method": "DELETE"}
    for path in ("/v1/accounts/local/deployments/x", "/inference/v1/chat/completions", "/metrics"):
        refused(await ask(shared_home, ("OPTIONS", path), wanted), 403, "Origin")
        own = await ask(shared_home, ("GET", path), {"origin": "http://127.0.0.1"})
        assert not [name for name in own.headers if name.startswith("access-control-")]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_refusal_at_the_door_tells_nothing_about_the_key(shared_home: Home) -> None:
    told = set()
    for key in (shared_home.admin_key, "fd_wrong", None):
        async with shared_home.http(key) as http:
            told.add((await http.get("/v1/accounts", headers={"origin": "https://evil.example"})).text)
    assert len(told) == 1


async def test_an_engine_that_listens_on_all_addresses_has_a_key_from_its_first_start(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("FIREDECK_API_KEY", raising=False)
    engine = await Engine.open(Settings(data_dir=tmp_path, host="0.0.0.0", allow_hosts=("gpu-box",)))
    try:
        at = Home(engine, tmp_path)
        async with at.http() as nobody, at.http(at.admin_key) as admin:
            for path in ("/v1/accounts", "/inference/v1/models"):
                for host in ("10.0.0.5:8700", "gpu-box:8700"):
                    assert (await nobody.get(path, headers={"host": host})).status_code == 401
                    assert (await admin.get(path, headers={"host": host})).status_code == 200
                assert (await admin.get(path, headers={"host": "other-box"})).status_code == 403
    finally:
        await engine.close()
