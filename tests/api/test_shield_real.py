"""The response cache and guards on the real model: the same text in either form, and no word of it in any file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import openai
import pytest

from client.guard_types import GuardSpec
from client.resources import Client
from client.types import ColdOptions
from engine.placement.sockets import run_dir
from tests.conftest import deploy
from tests.processes import PATIENCE_S, EngineProcess, contents

pytestmark = pytest.mark.model
KEPT = "accounts/local/deployments/kept"
CANARY = "canary-kept-prompt-5e21"
HEADER = "x-firedeck-response-cache"


@pytest.fixture(scope="module")
def kept(engine: EngineProcess) -> Iterator[EngineProcess]:
    """The shared engine with one more deployment, whose response cache is on."""
    own = ColdOptions(response_cache=True)
    asyncio.run(deploy(engine, "kept", min_replica_count=1, max_replica_count=1, firedeck=own))
    yield engine
    with client_of(engine) as http:
        http.delete(f"/v1/{KEPT}?hard=true&ignoreChecks=true").raise_for_status()


def client_of(engine: EngineProcess) -> httpx.Client:
    headers = {"Authorization": f"Bearer {engine.key}"}
    return httpx.Client(base_url=engine.context.base_url, headers=headers, timeout=PATIENCE_S)


def fields(**more: object) -> dict[str, object]:
    messages = [{"role": "user", "content": f"Say something about {CANARY}."}]
    return {"model": KEPT, "messages": messages, "max_tokens": 12, **more}


@pytest.mark.parametrize("drawn", [{"temperature": 0}, {"temperature": 0.9, "seed": 11}], ids=["greedy", "seeded"])
@pytest.mark.parametrize("first_streams", [False, True], ids=["whole first", "streamed first"])
def test_the_official_sdk_reads_the_same_answer_from_the_cache_in_either_form(
    kept: EngineProcess, drawn: dict[str, float], first_streams: bool
) -> None:
    base_url = f"{kept.context.base_url}/inference/v1"
    extra = {"prompt_cache_isolation_key": f"{sorted(drawn)}-{first_streams}"}  # each case begins without the others'
    with openai.OpenAI(base_url=base_url, api_key=kept.key, max_retries=0) as sdk:
        told: list[tuple[str, str, int, int, int]] = []
        for stream in (first_streams, first_streams, not first_streams):
            create = sdk.chat.completions.with_raw_response.create
            raw = create(**fields(**drawn), stream=stream, extra_body=extra)  # type: ignore[call-overload]
            if stream:
                chunks = list(raw.parse())
                said = "".join(part.delta.content or "" for chunk in chunks for part in chunk.choices)
                usage, finish = chunks[-1].usage, chunks[-1].choices[0].finish_reason
            else:
                whole = raw.parse()
                said, usage, finish = whole.choices[0].message.content, whole.usage, whole.choices[0].finish_reason
            assert finish in ("stop", "length")
            cached = usage.prompt_tokens_details.cached_tokens
            told.append((raw.headers[HEADER], said, usage.prompt_tokens, usage.completion_tokens, cached))
    assert [one[0] for one in told] == ["miss", "hit", "hit"]
    assert len({one[1:4] for one in told}) == 1
    assert {one[4] for one in told[1:]} == {told[0][2]}, "a hit's prompt came from a cache, all of it"


def test_what_is_kept_is_in_no_file(kept: EngineProcess) -> None:
    with client_of(kept) as http:
        answers = [http.post("/v1/chat/completions", json=fields(temperature=0)) for _ in range(2)]
        assert answers[1].headers[HEADER] == "hit"
        said = answers[1].json()["choices"][0]["message"]["content"].encode()
        assert len(said) > 8
    assert holders(kept, CANARY.encode()) == holders(kept, said) == []


def holders(engine: EngineProcess, text: bytes) -> list[str]:
    return [file.name for file, content in contents(engine.data_dir, run_dir(engine.data_dir)) if text in content]


def test_a_guard_model_gives_a_verdict_and_rules_stop_what_it_would_pass(kept: EngineProcess) -> None:
    async def stand(*specs: tuple[str, GuardSpec]) -> None:
        async with Client(kept.context) as client:
            for name in [guard.id for guard in await client.guards.list()]:
                await client.guards.delete(name)
            for name, spec in specs:
                await client.guards.create(name, spec)

    asked = fields(temperature=0, seed=5)
    try:
        with client_of(kept) as http:
            model = GuardSpec(deployments=["kept"], model="shared", timeout="60s")
            asyncio.run(stand(("model", model)))
            answer = http.post("/v1/chat/completions", json=asked)
            assert answer.status_code in (200, 400), "a small model's verdict is what it is, but it is one"
            assert answer.status_code == 200 or answer.json()["error"]["code"] == "GUARD_REFUSED"
            request = f"/firedeck/v1/accounts/local/requests/{answer.headers['x-request-id']}"
            told = http.get(request).json()
            verdicts = [s["attributes"]["firedeck.guard.verdict"] for s in told["spans"] if s["name"] == "guard model"]
            print(f"the model says: {verdicts}")
            assert set(verdicts) <= {"passed", "refused"}
            too_long = asked | {"messages": [{"role": "user", "content": "word " * 20_000}]}
            assert http.post("/v1/chat/completions", json=too_long).status_code == 503, "it cannot be judged"
            asyncio.run(
                stand(("words", GuardSpec(deployments=["kept"], keywords=["say  something"], phases=["request"])))
            )
            answer = http.post("/v1/chat/completions", json=asked)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "GUARD_REFUSED")
            assert CANARY not in answer.text
            assert holders(kept, CANARY.encode()) == []
    finally:
        asyncio.run(stand())
