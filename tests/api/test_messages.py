"""Anthropic's Messages API, asked by the official `anthropic` SDK, unmodified, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from jsonschema import Draft202012Validator

from engine.gateway.openapi import document
from tests.api.conftest import Home
from tests.conftest import SHARED
from tests.documented import check_headers
from tests.processes import PATIENCE_S, SMOLLM2, EngineProcess

anthropic = pytest.importorskip("anthropic", reason="the anthropic SDK is not there: make install")
DEPLOYMENT = f"accounts/local/deployments/{SHARED}"
OFF = {"baseModel": SMOLLM2, "maxReplicaCount": 0}
HELLO = [{"role": "user", "content": "Say hello."}]
WEATHER = {
    "name": "weather", "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}  # fmt: skip
ASKED = {"model": DEPLOYMENT, "max_tokens": 12, "messages": HELLO, "extra_body": {"temperature": 0}}


@pytest.fixture
def sdk(engine: EngineProcess) -> Iterator[anthropic.Anthropic]:
    with sdk_of(engine) as client:
        yield client


def sdk_of(engine: EngineProcess, prefix: str = "/inference", key: str | None = None) -> anthropic.Anthropic:
    url = engine.context.base_url + prefix
    return anthropic.Anthropic(api_key=key or engine.key, base_url=url, max_retries=0, timeout=PATIENCE_S)


pytestmark = pytest.mark.model


def test_a_message_is_what_a_chat_completion_says(engine: EngineProcess, sdk: anthropic.Anthropic) -> None:
    found = sdk.messages.create(**ASKED, system="You are terse.")
    answer = httpx.post(
        f"{engine.context.base_url}/v1/chat/completions", headers={"authorization": f"Bearer {engine.key}"},
        json={"model": DEPLOYMENT, "max_tokens": 12, "temperature": 0,
              "messages": [{"role": "system", "content": "You are terse."}, *HELLO]},
        timeout=PATIENCE_S,
    ).json()  # fmt: skip
    assert [block.text for block in found.content] == [answer["choices"][0]["message"]["content"]]
    assert (found.type, found.role, found.model, found.stop_reason) == (
        "message",
        "assistant",
        DEPLOYMENT,
        "max_tokens",
    )
    usage = found.usage
    assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == answer["usage"]["prompt_tokens"]
    assert usage.output_tokens == 12
    with sdk_of(engine, "") as plain:
        assert plain.messages.create(**ASKED, system="You are terse.").content == found.content


def test_a_stream_gives_the_message_that_the_whole_answer_is(sdk: anthropic.Anthropic) -> None:
    whole = sdk.messages.create(**ASKED)
    with sdk.messages.stream(**ASKED) as stream:
        pieces = list(stream.text_stream)
        found = stream.get_final_message()
    assert "".join(pieces) == found.content[0].text == whole.content[0].text
    assert found.stop_reason == whole.stop_reason
    assert found.usage.output_tokens == whole.usage.output_tokens
    assert found.usage.input_tokens + (found.usage.cache_read_input_tokens or 0) > 0


def test_a_stop_sequence_ends_it_and_is_named(sdk: anthropic.Anthropic) -> None:
    said = sdk.messages.create(**ASKED).content[0].text
    stop = said[2:5]
    found = sdk.messages.create(**ASKED, stop_sequences=["never said", stop])
    assert (found.stop_reason, found.stop_sequence) == ("stop_sequence", stop)
    assert stop not in "".join(block.text for block in found.content)
    with sdk.messages.stream(**ASKED, stop_sequences=[stop]) as stream:
        assert stream.get_final_message().stop_sequence == stop


def test_a_tool_that_has_to_be_used_is_used_whole_and_streamed(sdk: anthropic.Anthropic) -> None:
    asked = ASKED | {"max_tokens": 60, "tools": [WEATHER], "tool_choice": {"type": "tool", "name": "weather"}}
    whole = sdk.messages.create(**asked)
    call = whole.content[0]
    assert (whole.stop_reason, call.type, call.name) == ("tool_use", "tool_use", "weather")
    assert isinstance(call.input["city"], str)
    with sdk.messages.stream(**asked) as stream:
        streamed = stream.get_final_message().content[0]
    assert (streamed.name, streamed.input) == (call.name, call.input)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
    turns = [*HELLO, {"role": "assistant", "content": [call.model_dump()]}, {"role": "user", "content": [result]}]
    assert sdk.messages.create(**ASKED | {"messages": turns, "tools": [WEATHER]}).content


def test_a_tool_call_that_is_cut_off_is_a_whole_answer_wherever_that_is(sdk: anthropic.Anthropic) -> None:
    asked = ASKED | {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "weather"}}
    kinds = set()
    for tokens in range(14, 26, 2):
        found = sdk.messages.create(**asked | {"max_tokens": tokens})
        if found.stop_reason == "max_tokens":
            kinds |= {(block.type, block.input == {}) for block in found.content}
    assert ("tool_use", True) in kinds


def test_tokens_are_counted_as_a_message_is_charged_and_nothing_is_computed(sdk: anthropic.Anthropic) -> None:
    asked = {"model": DEPLOYMENT, "messages": HELLO, "system": "You are terse.", "tools": [WEATHER]}
    counted = sdk.messages.count_tokens(**asked).input_tokens
    usage = sdk.messages.create(**asked, max_tokens=1).usage
    assert counted == usage.input_tokens + (usage.cache_read_input_tokens or 0)
    assert counted > sdk.messages.count_tokens(model=DEPLOYMENT, messages=HELLO).input_tokens


def test_refusals_are_the_sdks_own_errors(engine: EngineProcess, sdk: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match=r"messages\.0\.content\.0: image blocks") as refused:
        sdk.messages.create(**ASKED | {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]})
    assert refused.value.body["error"]["type"] == "invalid_request_error"  # type: ignore[index]
    assert refused.value.request_id == refused.value.body["request_id"]  # type: ignore[index]
    with pytest.raises(anthropic.NotFoundError, match="not deployed"):
        sdk.messages.create(**ASKED | {"model": "accounts/local/deployments/nowhere"})
    with sdk_of(engine, key="wrong") as stranger, pytest.raises(anthropic.AuthenticationError):
        stranger.messages.create(**ASKED)
    with pytest.raises(anthropic.BadRequestError, match="context"):
        sdk.messages.create(**ASKED | {"messages": [{"role": "user", "content": "word " * 4000}]})


def test_the_models_are_listed_in_pages_and_one_by_one(sdk: anthropic.Anthropic) -> None:
    whole = sdk.models.list(limit=1000)
    pages = [*sdk.models.list(limit=1)]
    assert [one.id for one in pages] == [one.id for one in whole.data]
    [mine] = [one for one in pages if one.id == DEPLOYMENT]
    assert (mine.type, mine.display_name, mine.lifecycle) == ("model", SHARED, "active")
    assert mine.max_input_tokens
    assert sdk.models.retrieve(DEPLOYMENT) == mine
    with pytest.raises(anthropic.NotFoundError, match="not deployed"):
        sdk.models.retrieve("nowhere")
    with pytest.raises(anthropic.BadRequestError, match="limit"):
        sdk.models.list(limit=0)


async def test_an_asynchronous_stream(engine: EngineProcess) -> None:
    async with anthropic.AsyncAnthropic(
        api_key=engine.key, base_url=f"{engine.context.base_url}/inference", max_retries=0, timeout=PATIENCE_S
    ) as sdk:
        async with sdk.messages.stream(**ASKED) as stream:
            kinds = [event.type async for event in stream]
        assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


async def test_what_comes_before_the_model_is_told_in_the_same_envelope(own: Home) -> None:
    async with own.http(own.admin_key) as http:
        for path in ("/v1/messages", "/inference/v1/messages/count_tokens"):
            for content, kind, status in (
                (b"{", "application/json", 400), (b"{}", "application/json", 400), (b"{}", "text/plain", 415),
            ):  # fmt: skip
                answer = await http.post(path, content=content, headers={"content-type": kind})
                assert (answer.status_code, answer.json()["type"]) == (status, "error"), path
                assert answer.headers["request-id"] == answer.json()["request_id"]
            assert (await http.get(path)).json()["error"]["type"] == "invalid_request_error"


async def test_the_models_are_listed_as_documented_in_the_shape_that_the_header_asks_for(own: Home) -> None:
    components = document()["components"]
    async with own.http(own.admin_key) as http:
        made = await http.post("/v1/accounts/local/deployments?deploymentId=d", json=OFF)
        assert made.status_code == 200, made.text
        for query, status, kind in (("", 200, "ListedModels"), ("?limit=0", 400, "MessagesError")):
            answer = await http.get(f"/v1/models{query}", headers={"anthropic-version": "2023-06-01"})
            assert answer.status_code == status, answer.text
            check_headers("GET", "/models", status, answer.headers)
            schema = {"$ref": f"#/components/schemas/{kind}", "components": components}
            Draft202012Validator(schema).validate(answer.json())
        plain = await http.get("/v1/models?limit=0")
        assert (plain.status_code, plain.json()["object"], "request-id" in plain.headers) == (200, "list", False)
