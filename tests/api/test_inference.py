"""The data plane through the gateway, asked by the official `openai` SDK over a real socket."""

from __future__ import annotations

import concurrent.futures

import fireworks
import httpx
import openai
import pytest

from client.resources import Client
from tests.conftest import SHARED, deploy
from tests.processes import GEMMA, PATIENCE_S, SMOLLM2, EngineProcess, poll

pytestmark = pytest.mark.model
DEPLOYMENT = f"accounts/local/deployments/{SHARED}"
HELLO = [{"role": "user", "content": "Say hello."}]


def test_a_stream_gives_the_text_that_the_whole_answer_gives(openai_client: openai.OpenAI) -> None:
    asked = {"model": DEPLOYMENT, "messages": HELLO, "max_tokens": 12, "temperature": 0}
    whole = openai_client.chat.completions.create(**asked)

    def streamed() -> list[str]:
        chunks = openai_client.chat.completions.create(**asked, stream=True)
        pieces = [c.choices[0].delta.content or "" for c in chunks if c.choices]
        assert "".join(pieces) == whole.choices[0].message.content != ""
        return [piece for piece in pieces if piece]

    poll(lambda: len(streamed()) > 1)  # what piled up while a busy machine held the replica up comes as one


@pytest.mark.parametrize("asked_for", [False, True])
def test_both_sdks_find_the_usage_once_in_the_last_chunk(
    engine: EngineProcess, openai_client: openai.OpenAI, asked_for: bool
) -> None:
    asked = {"model": DEPLOYMENT, "messages": HELLO, "max_tokens": 4, "temperature": 0, "stream": True}
    options = {"stream_options": {"include_usage": True}} if asked_for else {}
    with fireworks.Fireworks(api_key=engine.key, account_id="local", base_url=engine.context.base_url) as sdk:
        streams = (
            openai_client.chat.completions.create(**asked, **options),
            sdk.chat.completions.create(**asked, extra_body=options),
        )
        for chunks in map(list, streams):
            assert [c.usage.completion_tokens for c in chunks if c.usage] == [4]
            assert chunks[-1].usage is not None
            assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"


@pytest.mark.parametrize(
    "model",
    [
        SMOLLM2,
        f"{SMOLLM2}#{DEPLOYMENT}",
        DEPLOYMENT,
        f"fireworks/smollm2-135m-instruct#local/{SHARED}",
        f"fireworks/smollm2-135m-instruct#{SHARED}",
        "fireworks/smollm2-135m-instruct",
    ],
)
def test_every_documented_form_of_a_model_string_is_answered_and_echoed(
    openai_client: openai.OpenAI, model: str
) -> None:
    answer = openai_client.completions.create(model=model, prompt="One, two,", max_tokens=1)
    assert answer.model == model
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 1


@pytest.mark.parametrize("base", ["/v1", "/inference/v1"])
def test_both_prefixes_answer(engine: EngineProcess, base: str) -> None:
    with openai.OpenAI(base_url=engine.context.base_url + base, api_key=engine.key) as client:
        assert client.completions.create(model=DEPLOYMENT, prompt="Hi", max_tokens=1).choices[0].text
        assert DEPLOYMENT in {m.id for m in client.models.list()}
        assert client.models.retrieve(DEPLOYMENT).id == DEPLOYMENT


def test_the_fireworks_sdk_is_answered_unmodified(engine: EngineProcess) -> None:
    client = fireworks.Fireworks(api_key=engine.key, account_id="local", base_url=engine.context.base_url)
    answer = client.chat.completions.create(model=DEPLOYMENT, messages=HELLO, max_tokens=3)
    assert answer.usage.completion_tokens == 3
    assert client.deployments.get(SHARED).state == "READY"
    assert SHARED in {d.name.rpartition("/")[2] for d in client.deployments.list()}


def test_many_at_once_are_batched_and_each_gets_its_own_answer(openai_client: openai.OpenAI) -> None:
    def ask(i: int) -> str:
        prompt = f"Count: {i}, {i + 1},"
        asked = {"model": DEPLOYMENT, "prompt": prompt, "max_tokens": 12, "temperature": 0}
        return "".join(c.choices[0].text for c in openai_client.completions.create(**asked, stream=True) if c.choices)

    alone = [ask(i) for i in range(4)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        together = list(pool.map(ask, [0, 1, 2, 3] * 3))
    assert together == alone * 3


async def test_a_model_without_chat_template_says_to_use_completions(engine: EngineProcess) -> None:
    await deploy(engine, "gemma", GEMMA, min_replica_count=1)
    try:
        with openai.OpenAI(base_url=f"{engine.context.base_url}/v1", api_key=engine.key, max_retries=0) as client:
            with pytest.raises(openai.BadRequestError, match="completions"):
                client.chat.completions.create(model=GEMMA, messages=HELLO)
            assert client.completions.create(model=GEMMA, prompt="The sky is", max_tokens=2).choices[0].text
    finally:
        async with Client(engine.context) as fleet:
            await fleet.deployments.delete("gemma", hard=True, ignore_checks=True)


def test_a_client_that_leaves_frees_its_place(engine: EngineProcess, openai_client: openai.OpenAI) -> None:
    for _ in range(3):
        asked = {"model": DEPLOYMENT, "prompt": "Tell me a very long story.", "max_tokens": 1500}
        stream = openai_client.completions.create(**asked, stream=True, extra_body={"ignore_eos": True})
        next(iter(stream))
        stream.close()
    # Had the places leaked, eight more at once could not all be answered in turn.
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = {"model": DEPLOYMENT, "prompt": "Hi", "max_tokens": 2}
        answers = list(pool.map(lambda _: openai_client.completions.create(**asked), range(8)))
    assert all(a.usage and a.usage.completion_tokens for a in answers)


def test_cached_state_never_crosses_isolation_keys(openai_client: openai.OpenAI) -> None:
    prompt = "The quick brown fox jumps over the lazy dog. " * 4

    def cached(key: str, *, in_body: bool = False) -> int:
        where = {"extra_body": {"prompt_cache_isolation_key": key}} if in_body else {
            "extra_headers": {"x-prompt-cache-isolation-key": key}
        }  # fmt: skip
        answer = openai_client.completions.create(model=DEPLOYMENT, prompt=prompt, max_tokens=1, **where)
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        return answer.usage.prompt_tokens_details.cached_tokens or 0

    assert cached("tenant-a") <= 1  # at most the token that every text begins with
    assert cached("tenant-a") > 10
    assert cached("tenant-b") == 0
    assert cached("tenant-a", in_body=True) > 10  # the header and the field say the same


def test_answers_carry_a_request_id_and_the_prompt_tokens(engine: EngineProcess) -> None:
    answer = httpx.post(
        f"{engine.context.base_url}/v1/completions",
        headers={"Authorization": f"Bearer {engine.key}"},
        json={"model": DEPLOYMENT, "prompt": "Hi", "max_tokens": 1},
        timeout=PATIENCE_S,
    )
    assert answer.headers["x-request-id"]
    assert int(answer.headers["fireworks-prompt-tokens"]) == answer.json()["usage"]["prompt_tokens"]
