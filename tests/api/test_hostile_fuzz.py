"""Any fields with any values, over the inference routes: no 5xx, no hang, the documented envelope. 50,000 as `soak`."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.hostile import GOOD, OTHERS, RANGES, SWITCHES, TEXTS, WORDS, Case
from tests.api.test_hostile import JSON, fault, good
from tests.processes import PATIENCE_S, EngineProcess

pytestmark = pytest.mark.model
CONTENTS = ("messages", "prompt", "suffix", "input", "query", "documents", "dimensions", "encoding_format", "top_n")
FIELDS = [*RANGES, *SWITCHES, *TEXTS, *WORDS, *OTHERS, *CONTENTS, "reasoning_effort", "thinking", "functions"]
ENDS = ("data: [DONE]\n\n", 'data: {"type":"message_stop"}\n\n')  # OpenAI's streams, and Anthropic's
ASKED = frozenset({200, 400, 404, 413})  # 404 of a model of another kind; no more than a little text is asked for
SCALARS = st.none() | st.booleans() | st.integers(-5, 130) | st.integers() | st.floats() | st.text(max_size=20)
VALUES: Any = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.sampled_from(FIELDS), inner),
    max_leaves=6,
)  # fmt: skip
KNOWN = st.sampled_from([value for values in OTHERS.values() for value in values if len(json.dumps(value)) < 1000])


def ask_anything(engine: EngineProcess, examples: int) -> None:
    headers = {"Authorization": f"Bearer {engine.key}", **JSON}
    sent = 0
    with httpx.Client(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S) as http:
        right = good(http)

        @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(st.sampled_from(list(GOOD)), st.dictionaries(st.sampled_from(FIELDS), VALUES | KNOWN, max_size=3))
        def send(route: str, fields: dict[str, Any]) -> None:
            nonlocal sent
            sent += 1
            body = GOOD[route] | fields
            if not 0 <= _whole(body.get("max_tokens")) <= 4:
                body["max_tokens"] = 1  # thousands of tokens are legal, and take minutes
            body |= {name: 2 for name in ("n", "best_of") if _whole(body.get(name)) > 2}
            answer = http.post(route, content=json.dumps(body).encode())
            assert not fault(Case(route, b"", ASKED, None, ""), _whole_answer(answer)), answer.text[:500]
            if sent % 100 == 0:
                assert good(http) == right

        send()
        assert good(http) == right
    print(f"{sent} requests")


def _whole(value: object) -> int:
    return value if type(value) is int else 0


def _whole_answer(answer: httpx.Response) -> httpx.Response:
    """A stream that began ends as it should: no error event."""
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        assert answer.text.endswith(ENDS), answer.text[-500:]
    return answer


def test_any_fields_with_any_values(engine: EngineProcess) -> None:
    ask_anything(engine, 150)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_any_fields_with_any_values_50000_times(engine: EngineProcess) -> None:
    ask_anything(engine, 50_000)
