"""Every route of the engine, taken from its own route table, with every kind of key: who is let in, who is not, how."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, product

import httpx
import pytest
import pytest_asyncio

from client.access_types import ROLES
from engine.access import rules
from engine.access.rules import OPEN, RULES, rank
from engine.app import ROUTERS, control_plane
from engine.gateway.messages import MESSAGES
from engine.gateway.responses import RESPONSES
from engine.gateway.routes import _INFER
from engine.unoffered import OPERATIONS
from tests.house import Home, home

ROUTES = sorted((method, route.path) for router in ROUTERS for route in router.routes for method in route.methods)
INFERENCE = sorted(
    [
        *(("POST", path) for path in (*_INFER, MESSAGES, RESPONSES)), ("GET", "/v1/models"), ("GET", "/v1/models/some"),
        ("GET", RESPONSES), ("GET", f"{RESPONSES}/some"), ("DELETE", f"{RESPONSES}/some"),
    ]
)  # fmt: skip
NOT_OFFERED = {("POST", RESPONSES)} | {(o.method, o.path) for o in OPERATIONS if o.outcome == "unimplemented"}
CODES = {"permission_error": "PERMISSION_DENIED", "authentication_error": "UNAUTHORIZED"}  # of the Messages API's words
BODIES = {"POST": {}, "PATCH": {}}
PLACES = {
    "account": "local", "deployment_id": "theirs", "model_id": "theirs", "user_id": "them", "secret_id": "theirs",
    "quota_id": "replica-count", "deployed_model_id": "theirs", "shape_id": "theirs", "version_id": "v1",
    "request_id": "theirs", "router_id": "theirs",
    "key_id": "theirs", "guard_id": "theirs", "resource_id": "theirs",
}  # fmt: skip
_addresses = (f"10.0.{number // 250}.{number % 250}" for number in count())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_home(tmp_path_factory) -> AsyncIterator[Home]:
    async with home(tmp_path_factory.mktemp("access")) as opened:
        yield opened


async def ask(at: Home, key: str | None, route: tuple[str, str], **places: str) -> httpx.Response:
    method, template = route
    path = template.format(**PLACES | places)
    async with at.http(key, next(_addresses)) as http:
        if path.endswith(":watch"):
            path += "?interval=nonsense"  # a stream that never ends must not be begun: the rule comes before the query
        return await http.request(method, path, json=BODIES.get(method))


def refused(answer: httpx.Response, status: int, grpc: int) -> str:
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, grpc), (answer.request.url, body)
    assert set(body) == {"code", "message", "details"}
    return str(body["message"])


def test_every_route_has_a_rule_and_every_rule_a_route() -> None:
    assert set(ROUTES) == set(RULES)
    assert len(ROUTES) == len(set(ROUTES)) > 35


def who_may(method: str, path: str) -> tuple[str, str | None]:
    """The README's table of roles, by what a route is about: the least role, and that for what others own."""
    if "auditLogs" in path or "/guards" in path:
        return "admin", None
    if "apiKeys" in path and ("{quota_id}" not in path or method == "GET"):
        return "inference-user", "admin"
    if path.endswith(":getDownloadEndpoint"):
        return "contributor", None
    if (method == "GET" and not path.endswith(":validateUpload")) or path.endswith(":match"):
        return "inference-user", None
    if "/users" in path or "/quotas" in path:
        return "admin", None
    return "contributor", "user" if "{" in path.rpartition("/")[2] else None


@pytest.mark.parametrize("route", ROUTES, ids="-".join)
def test_the_table_is_what_users_are_told(route) -> None:
    assert (RULES[route].least, RULES[route].others) == who_may(*route)


@pytest.mark.asyncio(loop_scope="module")
async def test_no_route_comes_from_anywhere_else(shared_home: Home) -> None:
    app = control_plane(shared_home.engine.house)
    documented = {(method.upper(), path) for path, verbs in app.openapi()["paths"].items() for method in verbs} | {
        (m, r.path) for r in app.routes if getattr(r, "path", None) for m in r.methods - {"HEAD"}
    }  # type: ignore[attr-defined]
    assert documented == set(ROUTES) | OPEN


@pytest.mark.asyncio(loop_scope="module")
async def test_a_route_without_a_rule_is_closed_to_everyone(shared_home: Home, monkeypatch) -> None:
    monkeypatch.setattr(rules, "RULES", {})
    message = refused(await ask(shared_home, shared_home.admin_key, ("GET", "/v1/accounts")), 500, 13)
    assert "no rule" in message


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("route", ROUTES, ids="-".join)
async def test_without_a_good_key_every_route_answers_401_with_a_remedy(shared_home: Home, route) -> None:
    for key, why in await bad_keys(shared_home):
        message = refused(await ask(shared_home, key, route), 401, 16)
        assert why in message
        assert message.endswith(")"), "the remedy stands in brackets"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("route", ROUTES, ids="-".join)
async def test_a_key_of_another_account_is_refused_with_403(shared_home: Home, route) -> None:
    if "{account}" not in route[1]:
        pytest.skip("names no account: it is about the key's own")
    message = refused(await ask(shared_home, await stranger(shared_home), route), 403, 7)
    assert "account" in message


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("route", "role"), list(product(ROUTES, ROLES)), ids=lambda x: x if isinstance(x, str) else "-".join(x)
)
async def test_each_role_may_what_its_rule_says_and_no_more(shared_home: Home, route, role) -> None:
    key = await person(shared_home, role)
    rule = RULES[route]
    answer = await ask(shared_home, key, route)
    if rank(role) < rank(rule.others or rule.least):
        message = refused(answer, 403, 7)
        assert f"needs the role {rule.others or rule.least}" in message
        assert ("firedeck user update" in message) == ((rule.others or rule.least) != "admin")
    else:
        assert answer.status_code not in (401, 403), answer.text
        assert (answer.status_code == 501) == (route in NOT_OFFERED)
        assert answer.status_code < 500 or route in NOT_OFFERED


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("route", [r for r in ROUTES if RULES[r].others], ids="-".join)
@pytest.mark.parametrize("role", ROLES)
async def test_what_is_ones_own_needs_less(shared_home: Home, route, role) -> None:
    key = await person(shared_home, role)
    places = {place: f"own-{role}" for place in PLACES if place.endswith("_id")}
    _, template = route
    collection = template.partition("{account}/")[2].split("/")[0]
    await shared_home.engine.house.access.records.add_audit(
        [], [(f"accounts/local/{collection}/own-{role}", f"p-{role}")]
    )
    if "user_id" in template:
        places["user_id"] = f"p-{role}"
    answer = await ask(shared_home, key, route, **places)
    assert (answer.status_code == 403) == (rank(role) < rank(RULES[route].least)), answer.text


@pytest.mark.asyncio(loop_scope="module")
async def test_the_library_is_everybodys_to_read_and_to_prepare_and_nobodys_to_change(shared_home: Home) -> None:
    for route in ROUTES:
        if "{account}" not in route[1]:
            continue
        rule, places = RULES[route], {"account": "fireworks"}
        answer = await ask(shared_home, shared_home.admin_key, route, **places)
        assert (answer.status_code == 403) != (rule.library or rule.operated), (route, answer.text)
        if rule.operated:  # what happens to serverless deployments tells who uses them, and with what
            user = await person(shared_home, "user")
            for key in (user, await stranger(shared_home)):
                assert (await ask(shared_home, key, route, **places)).status_code == 403


def code_of(refused: httpx.Response) -> str:
    told = refused.json()["error"]
    return told.get("code") or CODES[told["type"]]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("route", INFERENCE, ids="-".join)
@pytest.mark.parametrize("prefix", ["", "/inference"])
async def test_inference_takes_every_role_and_no_bad_key(shared_home: Home, route, prefix) -> None:
    method, path = route
    for role in ROLES:
        answer = await ask(shared_home, await person(shared_home, role), (method, prefix + path))
        expected = (501,) if route in NOT_OFFERED else (200, 400, 404)  # asked for nothing that there is
        assert answer.status_code in expected, answer.text
    nobody = await stranger(shared_home, role="nothing-known")
    answer = await ask(shared_home, nobody, (method, prefix + path))
    assert (answer.status_code, code_of(answer)) == (403, "PERMISSION_DENIED")
    for key, why in await bad_keys(shared_home):
        answer = await ask(shared_home, key, (method, prefix + path))
        assert (answer.status_code, code_of(answer)) == (401, "UNAUTHORIZED")
        assert why in answer.json()["error"]["message"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", sorted(path for _, path in OPEN if "{" not in path))
async def test_probes_and_figures_need_no_key(shared_home: Home, path) -> None:
    assert (await ask(shared_home, None, ("GET", path))).status_code == 200


@pytest.mark.asyncio(loop_scope="module")
async def test_a_thousand_wrong_keys_slow_their_sender_down_and_nobody_else(shared_home: Home, monkeypatch) -> None:
    good = shared_home.admin_key
    monkeypatch.setattr(shared_home.engine.house.keyring._misses, "_now", lambda: 30.0)  # all in one minute
    statuses = []
    async with shared_home.http(None, "192.0.2.1") as thief, shared_home.http(good, "192.0.2.1") as neighbour:
        for number in range(1000):
            answer = await thief.get("/v1/accounts", headers={"x-api-key": f"fd_{number:043}"})
            statuses.append(answer.status_code)
        assert statuses == [401] * 60 + [429] * 940
        assert int(answer.headers["retry-after"]) == 30
        assert answer.json()["code"] == 8
        assert (await neighbour.get("/v1/accounts")).status_code == 200
    async with shared_home.http("fd_wrong", "192.0.2.2") as another:
        assert (await another.get("/v1/accounts")).status_code == 401


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "text", ["' OR 1=1 --", '"; DROP TABLE api_keys; --', "%", "*", "fd_%", "\\", "1 UNION SELECT 1"]
)
async def test_sql_in_a_key_a_filter_an_order_or_a_token_is_text(shared_home: Home, text) -> None:
    assert (await ask(shared_home, text, ("GET", "/v1/accounts"))).status_code == 401
    async with shared_home.http(shared_home.admin_key) as http:
        for parameter in ("filter", "orderBy", "pageToken"):
            answer = await http.get("/v1/accounts/local/auditLogs", params={parameter: text})
            assert answer.status_code == 400, answer.text
        query = {"filter": f'principal="{text}"'.replace('""', '"')}
        assert (await http.get("/v1/accounts/local/auditLogs", params=query)).status_code in (200, 400)
        assert (await http.get("/v1/accounts/local/users")).json()["totalSize"] >= 1


_people: dict[str, str] = {}
_bad_keys: list[tuple[str | None, str]] = []


async def bad_keys(at: Home) -> list[tuple[str | None, str]]:
    """Every kind of key that lets nobody in, and what its holder is told: an admin's once, too."""
    if not _bad_keys:
        expired = await at.person("former", "admin", datetime.now(UTC) + timedelta(days=1))
        await age(at, expired)
        gone = await at.person("former", "admin")
        await revoke(at, gone)
        _bad_keys.extend([(None, "no API key"), ("fd_" + "x" * 43, "invalid"), (expired, "expired"), (gone, "revoked")])
    return _bad_keys


async def person(at: Home, role: str) -> str:
    if role not in _people:
        _people[role] = await at.person(f"p-{role}", role)
    return _people[role]


async def stranger(at: Home, role: str = "admin") -> str:
    name = f"stranger-{role}"
    if name not in _people:
        _people[name] = await at.stranger(role=role)
    return _people[name]


def _record(at: Home, key: str):
    return next(r for r in at.engine.house.keyring.of("local", "former") if r.prefix == key[:8])


async def age(at: Home, key: str) -> None:
    """The key's time has come."""
    old = replace(_record(at, key), expire_time=(datetime.now(UTC) - timedelta(seconds=1)).isoformat())
    at.engine.house.keyring.take([old])


async def revoke(at: Home, key: str) -> None:
    async with at.client() as admin:
        await admin.api_keys.delete("former", _record(at, key).id)
