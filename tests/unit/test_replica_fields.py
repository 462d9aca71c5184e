"""Requests are rebuilt from validated fields: ranges hold at their edges, unknown fields vanish, errors name theirs."""

from __future__ import annotations

import contextlib
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.errors import InvalidArgument
from engine.replica import ambiguity
from engine.replica.fields import ChatRequest, CompletionRequest
from engine.replica.grammar import any_json_object, check_gbnf, schema_to_gbnf
from engine.replica.openai import _gbnf
from engine.replica.request_body import parse
from engine.replica.strict_json import parse_json

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CHAT = {"messages": [{"role": "user", "content": "x"}]}
EDGES = [
    ("temperature", 0, 2),
    ("top_p", 0, 1),
    ("top_k", 0, 100),
    ("min_p", 0, 1),
    ("typical_p", 0, 1),
    ("repetition_penalty", 0, 2),
    ("presence_penalty", -2, 2),
    ("frequency_penalty", -2, 2),
    ("mirostat_target", 0, 100),
    ("mirostat_lr", 0, 1),
    ("top_logprobs", 0, 20),
    ("prompt_truncate_len", 1, 2**31 - 1),
    ("n", 1, 128),
    ("best_of", 1, 128),
    ("max_tokens", 0, 2**31 - 1),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(("field", "low", "high"), EDGES)
def test_ranges_hold_at_both_edges(field: str, low: int, high: int) -> None:
    for value in (low, high):
        assert getattr(parse(ChatRequest, CHAT | {"logprobs": True, field: value}), field) == value
    for value in (low - 1, high + 1, float("nan"), float("inf"), str(low), True, [low]):
        with pytest.raises(InvalidArgument) as caught:
            parse(ChatRequest, CHAT | {field: value})
        assert caught.value.field == field


def test_null_means_not_given() -> None:
    fields = {field: None for field, _, _ in EDGES} | {"tools": None, "stop": None, "logit_bias": None}
    assert parse(ChatRequest, CHAT | fields).token_limit is None


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*ChatRequest.model_fields, "id_slot", "cache_prompt", "n_discard"]), JSON))
def test_any_json_gives_a_request_or_a_named_refusal_and_unknown_fields_never_pass(body: dict[str, Any]) -> None:
    try:
        request = parse(ChatRequest, body)
    except InvalidArgument as error:
        assert error.message  # noqa: PT017 - either outcome is fine
    else:
        assert not hasattr(request, "id_slot")
        assert not hasattr(request, "n_discard")


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_any_bytes_parse_or_are_refused(raw: bytes) -> None:
    try:
        parse_json(raw)
    except InvalidArgument as error:
        assert error.status == 400  # noqa: PT017


@pytest.mark.parametrize("prompt", ["x", ["x", "y"], [1, 2], [[1], [2, 3]]])
def test_a_prompt_is_text_texts_ids_or_lists_of_ids(prompt: Any) -> None:
    assert parse(CompletionRequest, {"prompt": prompt}).prompt == prompt


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        (CompletionRequest, {"prompt": [-1] * 300_000}, "prompt"),
        (CompletionRequest, {"prompt": [[-1]] * 300_000}, "prompt"),
        (CompletionRequest, {"prompt": [[1], [-1] * 300_000]}, "prompt"),
        (CompletionRequest, {"prompt": ["x", *[1] * 100]}, "prompt"),
        (CompletionRequest, {"prompt": [1, "x"]}, "prompt"),
        (CompletionRequest, {"prompt": {"x": 1}}, "prompt"),
        (CompletionRequest, {"prompt": [None] * 300_000}, "prompt"),
        (ChatRequest, {"messages": [1] * 300_000}, "messages"),
        (ChatRequest, {"messages": [1] * 4000}, "messages.0"),
        (ChatRequest, {"messages": [{"role": "user", "content": [1] * 300_000}]}, "messages.0.content"),
        (ChatRequest, CHAT | {"logit_bias": {str(i): 999 for i in range(100_000)}}, "logit_bias"),
        (ChatRequest, CHAT | {"stop": [1] * 300_000}, "stop"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_a_huge_bad_list_costs_one_error(kind: Any, body: dict[str, Any], field: str) -> None:
    tracemalloc.start()
    with pytest.raises(InvalidArgument) as caught:
        parse(kind, body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (caught.value.field or "").startswith(field)
    assert peak < 2 * 1024 * 1024


@pytest.mark.parametrize(("prompts", "n"), [(128, 2), (2, 65), (64, 3)])
def test_prompts_times_n_are_bounded(prompts: int, n: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(CompletionRequest, {"prompt": ["x"] * prompts, "n": n})
    assert caught.value.field == "n"
    assert parse(CompletionRequest, {"prompt": [[1]] * 64, "n": 2}).prompts == [[1]] * 64


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"role": "robot", "content": "x"}, "role"),
        ({"role": "tool", "content": "x", "tool_calls": [CALL]}, "tool_calls"),
        ({"role": "user", "content": "x", "tool_call_id": "c"}, "tool_call_id"),
        ({"role": "user", "content": "x", "tool_calls": [CALL]}, "tool_calls"),
        ({"role": "user", "content": "x", "function_call": {"name": "f", "arguments": "{}"}}, "function_call"),
        ({"role": "user", "content": "x", "reasoning_content": "hm"}, "reasoning_content"),
        ({"role": "user", "content": "x", "name": "bob"}, "name"),
    ],
)
def test_what_a_template_would_drop_from_a_message_is_refused_by_name(message: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(ChatRequest, {"messages": [message]})
    assert caught.value.field == f"messages.0.{field}"


def test_empty_tool_fields_of_an_echoed_answer_are_harmless() -> None:
    echoed = {"role": "assistant", "content": "x", "tool_calls": [], "function_call": None, "name": "", "refusal": None}
    assert parse(ChatRequest, {"messages": [echoed]}).messages[0].text("f") == "x"


def test_logprobs_true_is_new_style_and_an_integer_legacy() -> None:
    new = parse(ChatRequest, CHAT | {"logprobs": True, "top_logprobs": 2})
    old = parse(ChatRequest, CHAT | {"logprobs": 0})
    assert (new.legacy_logprobs, new.top_count) == (False, 2)
    assert (old.legacy_logprobs, old.top_count) == (True, 0)
    assert parse(ChatRequest, CHAT | {"logprobs": False}).top_count is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"prediction": "a b"}, "a b"),
        ({"prediction": {"type": "content", "content": "a"}}, "a"),
        ({"prediction": {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}}, "ab"),
        ({"speculation": "a"}, "a"),
        ({"speculation": [1, 2]}, [1, 2]),
        ({"speculation": None, "prediction": None, "rewrite_speculation": True, "adaptive_speculation": None}, ""),
    ],
    ids=str,
)
def test_expected_output_comes_as_prediction_or_as_speculation(body: dict[str, Any], expected: Any) -> None:
    assert parse(ChatRequest, CHAT | body).expected == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": []}, "messages: must not be empty"),
        ({"messages": None}, "messages: must be a list"),
        ({"messages": [{}]}, "messages.0.role: is required"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content: must be text or a list"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
            "messages.0.content.0.text: must be text",
        ),
        ({"prediction": {"type": "content"}}, "prediction.content: is required"),
        ({"prediction": {"type": "z", "content": "a"}}, "prediction.type: must be 'content'"),
        ({"prediction": {"content": [{"type": "text"}]}}, "prediction.content.0.text: is required"),
        ({"prediction": 5}, "prediction: must be text or an object"),
        ({"logprobs": 50}, "logprobs: must be a whole number from 0 to 5, or true"),
        ({"logprobs": "a"}, "logprobs: must be a whole number from 0 to 5, or true"),
        ({"seed": "abc"}, f"seed: must be a whole number from {-(2**63)} to {2**63 - 1}"),
        ({"seed": 2**63}, f"seed: must be a whole number from {-(2**63)} to {2**63 - 1}"),
        ({"seed": True}, f"seed: must be a whole number from {-(2**63)} to {2**63 - 1}"),
        ({"max_tokens": "abc"}, "max_tokens: must be a whole number"),
        ({"max_tokens": 2**31}, f"max_tokens: must be less than {2**31}"),
        ({"n": 1.5}, "n: must be a whole number"),
        ({"temperature": "hot"}, "temperature: must be a number"),
        ({"temperature": 3}, "temperature: must be less than or equal to 2"),
        ({"stream": "yes"}, "stream: must be true or false"),
        ({"stop": ""}, "stop: must not be empty"),
        ({"stop": [5]}, "stop.0: must be text"),
        ({"response_format": "json"}, "response_format: must be an object"),
    ],
    ids=str,
)
def test_a_refusal_says_what_to_send_in_the_words_of_the_wire(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(ChatRequest, CHAT | fields)
    assert caught.value.message == message
    assert caught.value.field == message.partition(":")[0]


def test_seeds_hold_at_both_edges() -> None:
    assert [parse(ChatRequest, CHAT | {"seed": seed}).seed for seed in (-(2**63), 2**63 - 1)] == [-(2**63), 2**63 - 1]


@pytest.mark.parametrize("role", ["user", "system", "developer", "assistant"])
def test_a_message_without_content_is_refused_by_place(role: str) -> None:
    for empty in ({"role": role}, {"role": role, "content": None}):
        with pytest.raises(InvalidArgument) as caught:
            parse(ChatRequest, {"messages": [*CHAT["messages"], empty]})
        assert (caught.value.field, caught.value.status) == ("messages.1.content", 400)
    assert parse(ChatRequest, {"messages": [{"role": role, "content": ""}]})


@pytest.mark.parametrize("instead", [{"tool_calls": [CALL]}, {"function_call": CALL["function"]}])
def test_an_assistant_that_calls_need_not_say_anything(instead: dict[str, Any]) -> None:
    assert parse(ChatRequest, {"messages": [{"role": "assistant"} | instead]})


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"oneOf": []}}}, "json_schema.schema.oneOf"),
        ({"type": "json_schema", "json_schema": {"oneOf": []}}, "json_schema.oneOf"),
        ({"type": "json_schema", "schema": {"oneOf": []}}, "schema.oneOf"),
        ({"type": "json_object", "schema": {"oneOf": []}}, "schema.oneOf"),
    ],
    ids=str,
)
def test_a_schemas_fault_is_named_where_the_request_has_it(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        _gbnf(parse(ChatRequest, CHAT | {"response_format": given}).response_format)
    assert caught.value.field == f"response_format.{field}"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prediction": "a", "speculation": "a"}, "speculation"),
        ({"prediction": {"type": "image", "content": "a"}}, "prediction.type"),
        ({"prediction": {"type": "content"}}, "prediction.content"),
        ({"prediction": "\ud800"}, "prediction"),
        ({"speculation": "\ud800"}, "speculation"),
        ({"speculation": [-1]}, "speculation"),
        ({"speculation": [True]}, "speculation"),
        ({"speculation": {}}, "speculation"),
        ({"disable_speculation": "yes"}, "disable_speculation"),
        ({"lora": [{"id": "a", "scale": 4.5}]}, "lora.0.scale"),
        ({"lora": [{"id": ""}]}, "lora.0.id"),
        ({"lora": [{"id": 0}]}, "lora.0.id"),
        ({"lora": [{"id": "a"}] * 9}, "lora"),
        ({"service_tier": "gold"}, "service_tier"),
        ({"prompt_truncate_len": 5, "safe_tokenization": True}, "prompt_truncate_len"),
        ({"suffix": "x"}, "suffix"),
        ({"n": 3, "best_of": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"echo_last": -1}, "echo_last"),
        ({"logprobs": 6}, "logprobs"),
    ],
    ids=str,
)
def test_what_does_not_fit_together_is_refused_by_name(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(ChatRequest, CHAT | body)
    assert caught.value.field == field


@pytest.mark.parametrize(("tier", "priority"), [("priority", 1), ("default", 0), ("auto", 0), (None, 0), ("flex", -1)])
def test_the_service_tier_is_the_priority(tier: str | None, priority: int) -> None:
    assert parse(ChatRequest, CHAT | {"service_tier": tier}).priority == priority


@pytest.mark.parametrize("other", [{"echo": True}, {"echo_last": 1}, {"prompt_truncate_len": 9}, {"prompt": [1]}])
def test_a_suffix_stands_with_a_whole_text_prompt_only(other: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(CompletionRequest, {"prompt": "x", "suffix": "y"} | other)
    assert caught.value.field == "suffix"


def test_prompts_times_best_of_are_bounded() -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(CompletionRequest, {"prompt": ["x", "y"], "best_of": 65})
    assert caught.value.field == "best_of"


def test_text_parts_are_joined_and_other_parts_refused_by_place() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    request = parse(ChatRequest, {"messages": [{"role": "user", "content": parts}]})
    assert request.messages[0].text("f") == "ab"
    image = parse(ChatRequest, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})
    with pytest.raises(InvalidArgument) as caught:
        image.messages[0].text("messages.0.content")
    assert caught.value.field == "messages.0.content"


def test_fields_of_later_versions_are_refused_by_name_unless_empty() -> None:
    assert parse(ChatRequest, CHAT | {"images": []})
    with pytest.raises(InvalidArgument) as caught:
        parse(ChatRequest, CHAT | {"images": ["x"]})
    assert caught.value.field == "images"


def test_fields_of_chat_are_refused_by_name_for_completions_unless_they_ask_for_nothing() -> None:
    assert parse(CompletionRequest, {"prompt": "x", "tools": [], "tool_choice": "none", "reasoning_effort": None})
    for field, value in [("tools", [{}]), ("functions", [{}]), ("tool_choice", "required"), ("reasoning_effort", 1)]:
        with pytest.raises(InvalidArgument) as caught:
            parse(CompletionRequest, {"prompt": "x", field: value})
        assert caught.value.field == field


@pytest.mark.parametrize("field", ["schema", "json_schema"])
def test_a_schema_may_come_as_text(field: str) -> None:
    def read(given: Any) -> Any:
        request = parse(ChatRequest, CHAT | {"response_format": {"type": "json_schema", field: given}})
        assert request.response_format is not None
        return request.response_format.schema_ or request.response_format.json_schema

    assert read('{"type": "object"}') == read({"type": "object"}) == {"type": "object"}
    for broken in ("{", "1", '{"a": NaN}', "[" * 5000):
        with pytest.raises(InvalidArgument) as caught:
            read(broken)
        assert caught.value.field == f"response_format.{field}"


class TestGrammar:
    def test_parentheses_in_literals_and_classes_do_not_count_as_nesting(self) -> None:
        text = 'root ::= "' + "(" * 500 + '" [' + "(" * 500 + "] # " + "(" * 500
        assert check_gbnf(text) == text

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "x ::= y",
            "root ::= " + "(" * 101,
            'root ::= "a"{3000}',
            'root ::= "a"{0,9999999999999999}',
            "root ::= \0",
        ],
    )
    def test_bombs_are_refused(self, text: str) -> None:
        with pytest.raises(InvalidArgument):
            check_gbnf(text)

    @pytest.mark.parametrize(
        "rule",
        ['("a"?){200}', '([^"]*){500}', '"x" ("a"?){200}', " | ".join(f'"a{i}"' for i in range(100)), 'root "x"'],
    )
    def test_grammars_too_ambiguous_to_follow_are_refused(self, rule: str) -> None:
        with pytest.raises(InvalidArgument):
            check_gbnf(f"root ::= {rule}")

    @pytest.mark.parametrize(
        "braces",
        [
            "{1,2,3}",
            "{1 2,3}",
            "{" + "1" * 5000 + "}",
            "{0000000001999}",
            "{,3}",
            "{}",
            "{x}",
            "{\u0661}",
            "{1,\u00b2}",
        ],
    )
    def test_repetitions_that_are_no_two_short_numbers_are_refused(self, braces: str) -> None:
        with pytest.raises(InvalidArgument):
            check_gbnf(f'root ::= "a"{braces}')

    def test_repetitions_with_spaces_are_read(self) -> None:
        assert check_gbnf('root ::= "a"{ 1 , 3 } "b"{2} "c"{2,}')

    def test_each_item_of_a_long_grammar_is_measured_a_bounded_number_of_times(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = []
        measure = ambiguity._Measure._item
        monkeypatch.setattr(ambiguity._Measure, "_item", lambda self, item: seen.append(1) or measure(self, item))
        for rule in (".?" * 2000 + '"x"', "(" * 90 + '"a"? ' * 40 + ")" * 90, '"a" ' * 2000):
            seen.clear()
            with contextlib.suppress(InvalidArgument):
                check_gbnf("root ::= " + rule)
            assert len(seen) < 10_000

    def test_ordinary_grammars_and_schemas_pass(self) -> None:
        assert check_gbnf('root ::= "- " item ("\\n- " item){2,20}\nitem ::= [a-z]+ (" " [a-z]+)*')
        properties = {f"p{i}": {"type": "string", "maxLength": 50} for i in range(50)}
        assert schema_to_gbnf({"type": "object", "properties": properties})
        assert schema_to_gbnf({"enum": [f"value {i}" for i in range(500)]})

    def test_a_property_may_be_called_like_a_keyword(self) -> None:
        schema = {"type": "object", "properties": {"pattern": {"type": "string"}, "oneOf": {"type": "integer"}}}
        assert "root" in schema_to_gbnf(schema)

    def test_local_references_work_and_those_without_end_are_refused(self) -> None:
        shared = {"$defs": {"a": {"type": "string"}}, "type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}}
        assert "root" in schema_to_gbnf(shared)
        assert "root" in schema_to_gbnf({"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"})
        assert "root" in schema_to_gbnf({"properties": {"x": {"$ref": "#"}}})
        for schema in (
            {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
            {"properties": {"x": {"$ref": "#"}}, "required": ["x"], "type": "object"},
        ):
            with pytest.raises(InvalidArgument):
                schema_to_gbnf(schema)

    def test_references_that_fan_out_are_bounded(self) -> None:
        # Each definition names the next one many times: 30 levels would be visited 10**30 times.
        definitions: dict[str, Any] = {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 10} for i in range(30)} | {
            "d30": {"type": "string"}
        }
        with pytest.raises(InvalidArgument):
            schema_to_gbnf({"$defs": definitions, "$ref": "#/$defs/d0"})

    @settings(deadline=None)
    @given(JSON)
    def test_any_json_as_schema_gives_a_grammar_or_a_refusal(self, schema: Any) -> None:
        if isinstance(schema, dict):
            with contextlib.suppress(InvalidArgument):
                assert "root" in schema_to_gbnf(schema)

    def test_a_json_object_has_a_grammar(self) -> None:
        assert "root" in any_json_object()
