"""fireworks.json: what of it is understood, what is refused, and what a replica makes of it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from client.errors import FailedPrecondition, FiredeckError, InvalidArgument
from client.model_types import ConversationConfig, Model
from engine import model_rules
from engine.models import customized
from engine.models.customized import Conversation, Customized
from engine.replica import defaults
from engine.replica.fields import CompletionRequest
from engine.replica.request_body import parse
from engine.replica.template import ChatTemplate
from tests.arbitrary import JSON

JINJA = {"style": "jinja", "args": {"template": "{{ messages[-1].content }}"}}
DEFAULTS = {"stop": ["<|im_end|>", "\n\n"], "temperature": 0.6, "top_p": 1, "top_k": 40, "frequency_penalty": -1}


def told(folder: Path, whole: Any) -> dict[str, Path]:
    file = folder / customized.NAME
    file.write_text(whole if isinstance(whole, str) else json.dumps(whole))
    return {customized.NAME: file}


def rendered(conversation: Conversation, *messages: tuple[str, str]) -> str:
    template = ChatTemplate(conversation.source, bos_token="", eos_token="")
    return template.render([{"role": role, "content": text} for role, text in messages]).text


def test_what_a_file_says_is_what_the_models_file_has(tmp_path: Path) -> None:
    found = customized.read(told(tmp_path, {"base_model": "x", "conversation_config": JINJA, "defaults": DEFAULTS}))
    assert found == Customized(Conversation("jinja", "{{ messages[-1].content }}"), DEFAULTS)
    metadata = found.metadata
    assert metadata["tokenizer.chat_template"] == "{{ messages[-1].content }}"
    assert json.loads(metadata[customized.CONVERSATION_KEY]) == {"style": "jinja"}
    assert defaults.checked(metadata[customized.DEFAULTS_KEY]) == DEFAULTS
    assert customized.read(told(tmp_path, {"defaults": {"stop": "END"}})).defaults == {"stop": ["END"]}
    assert customized.read({}) == customized.read(told(tmp_path, {})) == Customized()
    assert Customized().metadata == {}


def test_a_system_text_comes_first_where_the_conversation_has_none() -> None:
    plain = Conversation("jinja", "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}", 'Say "né"\n🙂')
    assert rendered(plain, ("user", "hi")) == '[system:Say "né"\n🙂][user:hi]'
    assert rendered(plain, ("system", "s"), ("user", "hi")) == "[system:s][user:hi]"


def test_chatml_is_as_documented() -> None:
    asked = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    first = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    assert rendered(Conversation("chatml"), ("user", "hi")) == first + asked
    assert (
        rendered(Conversation("chatml", system="Hm."), ("user", "hi")) == f"<|im_start|>system\nHm.<|im_end|>\n{asked}"
    )


@pytest.mark.parametrize(
    ("whole", "error", "said"),
    [
        ("{", InvalidArgument, "is not JSON"), ([1], InvalidArgument, "no JSON object|not a JSON object"),
        ({"model_class": "x"}, FailedPrecondition, "it has 'model_class', which is not served"),
        ({"conversation_config": 5}, InvalidArgument, "no object"),
        ({"conversation_config": {"style": "jinja"}}, InvalidArgument, "a template goes with the style jinja"),
        ({"conversation_config": {"style": "chatml", "args": {"template": "x"}}}, InvalidArgument, "and with it alone"),
        ({"conversation_config": {"style": "alpaca"}}, FailedPrecondition, "style 'alpaca' is not served"),
        ({"conversation_config": {}}, FailedPrecondition, "style 'None'"),
        ({"conversation_config": {**JINJA, "x": 1}}, FailedPrecondition, "conversation_config has 'x'"),
        ({"conversation_config": {"style": "jinja", "args": {"tools": 1}}}, FailedPrecondition, "args has 'tools'"),
        ({"conversation_config": {"style": "jinja", "args": {"template": 1}}}, InvalidArgument, "template is no text"),
        ({"defaults": []}, InvalidArgument, "no object"), ({"defaults": {"n": 2}}, FailedPrecondition, "has 'n'"),
        ({"defaults": {"max_tokens": 5}}, FailedPrecondition, "defaults has 'max_tokens'"),
        ({"defaults": {"temperature": 3}}, InvalidArgument, "temperature is 3"),
        ({"defaults": {"top_k": 1.5}}, InvalidArgument, "top_k is 1.5"),
        ({"defaults": {"top_p": True}}, InvalidArgument, "top_p is True"),
        ({"defaults": {"stop": []}}, InvalidArgument, "one to 4 texts"),
        ({"defaults": {"stop": ["a"] * 5}}, InvalidArgument, "one to 4 texts"),
        ({"defaults": {"stop": ["x" * 257]}}, InvalidArgument, "1 to 256 characters"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_with_the_reason(
    tmp_path: Path, whole: Any, error: type[FiredeckError], said: str
) -> None:
    with pytest.raises(error, match=said) as refused:
        customized.read(told(tmp_path, whole))
    assert refused.value.hint


def test_a_model_says_it_itself_or_its_folder_does(tmp_path: Path) -> None:
    mine = Conversation("chatml")
    files = told(tmp_path, {"defaults": DEFAULTS})
    assert customized.read(files, mine) == Customized(mine, DEFAULTS)
    with pytest.raises(FailedPrecondition, match="has a conversation_config, and the model"):
        customized.read(told(tmp_path, {"conversation_config": JINJA}), mine)
    spec = model_rules.read({"conversationConfig": {"style": "chatml", "system": "s"}})
    assert model_rules.conversation_of(spec) == Conversation("chatml", system="s")
    with pytest.raises(FailedPrecondition) as refused:
        model_rules.read({"conversationConfig": {"style": "vicuna"}})
    assert refused.value.field == "conversationConfig"
    changed = Model(conversation_config=ConversationConfig(style="chatml"))
    with pytest.raises(InvalidArgument, match="cannot be changed after creation"):
        model_rules.updated(Model(), changed, None)


def test_what_adapters_and_gguf_files_cannot_have_is_refused_and_nothing_else(tmp_path: Path) -> None:
    customized.check_unused(told(tmp_path, {"base_model": "x"}), None, "an adapter")
    customized.check_unused({}, None, "a GGUF file")
    for files, declared in ((told(tmp_path, {"defaults": DEFAULTS}), None), ({}, ConversationConfig(style="chatml"))):
        with pytest.raises(FailedPrecondition, match="is not served of an adapter"):
            customized.check_unused(files, declared, "an adapter")


def test_a_requests_own_fields_go_before_the_models() -> None:
    assert defaults.under(DEFAULTS, {"temperature": 0, "stop": None, "n": 2}) == {**DEFAULTS, "temperature": 0, "n": 2}
    assert defaults.under(DEFAULTS, "no object") == "no object"
    assert defaults.under({}, {"n": 2}) == {"n": 2}
    body = defaults.under(DEFAULTS, {"model": "m", "prompt": "p", "stop": ["x"]})
    request = parse(CompletionRequest, body)
    assert (request.stops, request.temperature) == (("x",), 0.6)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "[]",
        '{"temperature": 9}',
        '{"prompt": "p"}',
        '{"stop": [1]}',
        "[" * 99999,
        '{"stream": true}',
        '{"n": 2}',
    ],
)
def test_defaults_that_no_request_could_say_are_left_out_whole(text: str | None) -> None:
    assert defaults.checked(text) == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON)
def test_anything_is_read_or_refused_with_a_sentence(tmp_path: Path, whole: Any) -> None:
    for one in (whole, {"conversation_config": whole}, {"defaults": whole}, {"defaults": {"stop": whole}}):
        with contextlib.suppress(FiredeckError):
            customized.read(told(tmp_path, one))
