"""Whatever is sent to the routes of users, keys, secrets, quotas and audit logs: a clear refusal, never a failure."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from engine.access.rules import RULES
from tests.house import home

ROUTES = sorted(
    (method, path)
    for method, path in RULES
    if any(collection in path for collection in ("/users", "/secrets", "/quotas", "/auditLogs", "/guards", "whoami"))
)
WORDS = [
    "admin", "local", "fireworks", "accounts/local/users/admin", "..", "%", "'", "x" * 70, "é", "MY_SECRET", "0", "-1",
    "name", "value", "timestamp desc", 'message="x"', "1e400", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59",
]  # fmt: skip
FIELDS = [
    "role", "email", "displayName", "serviceAccount", "apiKey", "expireTime", "keyId", "name", "keyName", "value",
    "maxValue", "key_id", "nonsense", "keywords", "patterns", "phases", "breaker", "hits", "window", "model", "timeout",
]  # fmt: skip
texts = st.sampled_from(WORDS) | st.text(max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=6,
)
queries = st.dictionaries(
    st.sampled_from(
        ["userId", "guardId", "updateMask", "filter", "orderBy", "pageSize", "pageToken", "startTime", "endTime"]
    ),
    texts, max_size=3,
)  # fmt: skip
asked = st.tuples(st.sampled_from(ROUTES), st.lists(texts, min_size=3, max_size=3), queries, values)

SLASHES = [  # once answered by a redirect without a body
    (route, [text] * 3, {}, {}) for route in ROUTES for text in ("", "/", "x/", "//")
]


@pytest.mark.parametrize("examples", [10, pytest.param(500, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_nothing_makes_the_control_plane_fail(tmp_path_factory: pytest.TempPathFactory, examples: int) -> None:
    # Each example is an engine: shrinking would take minutes.
    @example(SLASHES)
    @settings(max_examples=examples, phases=[Phase.explicit, Phase.generate])
    @given(st.lists(asked, min_size=5, max_size=15))
    def play(script: list[Any]) -> None:
        asyncio.run(played(script))

    async def played(script: list[Any]) -> None:
        async with home(tmp_path_factory.mktemp("fuzz")) as at, at.http(at.admin_key) as http:
            for (method, template), places, query, body in script:
                names = iter(places)
                path = template.replace("{account}", "local")
                while "{" in path:
                    before, _, rest = path.partition("{")
                    path = before + quote(next(names), safe="") + rest.partition("}")[2]
                answer = await http.request(
                    method, path, params=query, json=body if method in ("POST", "PATCH") else None
                )
                assert answer.status_code < 500, (method, path, query, body, answer.text)
                assert answer.status_code == 200 or {"code", "message", "details"} == set(answer.json())
            assert (await at.engine.house.access.audit.verify()).valid

    play()
