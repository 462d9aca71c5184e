"""Hundreds of hostile requests: each a 4xx in the documented envelope, and the next good one gets its right text."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.api.hostile import ANTHROPIC, COMPLETIONS, GROUPS, MODEL, Case
from tests.processes import PATIENCE_S, EngineProcess

pytestmark = pytest.mark.model
GREEDY = {"model": MODEL, "prompt": "The capital of France is", "max_tokens": 6, "temperature": 0}
JSON = {"content-type": "application/json"}


@pytest.fixture
def http(engine: EngineProcess) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {engine.key}"}
    with httpx.Client(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S) as client:
        yield client


def good(http: httpx.Client) -> str:
    answer = http.post(COMPLETIONS, json=GREEDY)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["text"])


def fault(case: Case, answer: httpx.Response) -> str:
    """What is wrong with an answer; nothing for a right one."""
    if answer.status_code not in case.status:
        return f"{answer.status_code} instead of {sorted(case.status)}: {answer.text[:200]}"
    if answer.status_code == 200:
        return ""
    told = answer.json()
    documented = {"message", "type"} if case.route in ANTHROPIC else {"message", "type", "code", "param"}
    in_envelope = set(told["error"]) == documented
    if not in_envelope or told["request_id"] != answer.headers["x-request-id"]:
        return f"another envelope: {answer.text[:200]}"
    if "Traceback" in answer.text or len(answer.text) > 4000 or not told["error"]["message"]:
        return f"no message for people: {answer.text[:200]}"
    if case.field and not (told["error"].get("param", case.field) or "").startswith(case.field):
        return f"it names {told['error']['param']}, not {case.field}"
    return ""


def test_there_are_at_least_500() -> None:
    names = [case.name for cases in GROUPS.values() for case in cases]
    assert len(names) == len(set(names))
    assert sum(case.status != {200} for cases in GROUPS.values() for case in cases) >= 500


@pytest.mark.parametrize("group", GROUPS)
def test_each_is_refused_and_the_next_good_request_gets_the_right_text(
    engine: EngineProcess, http: httpx.Client, group: str
) -> None:
    right, began, cases = good(http), time.monotonic(), GROUPS[group]
    replicas = {replica.pid for replica in engine.replicas()}
    wrong = {}
    for case in cases:
        if found := fault(case, http.post(case.route, content=case.body, headers=JSON)):
            wrong[case.name] = found
    print(f"{len(cases)} requests in {time.monotonic() - began:.1f}s")
    assert not wrong
    assert good(http) == right
    assert {replica.pid for replica in engine.replicas()} == replicas
