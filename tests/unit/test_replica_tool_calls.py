"""Tool calls and reasoning are read out of text the same way however it is cut, and nothing of it is lost."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.replica.tools import Answer, AnswerPlan, detect
from engine.replica.tools.calls import CallParser
from engine.replica.tools.family import FAMILIES, Family
from engine.replica.tools.parts import Arguments, CallOpened, Content

HERMES = "{{ tools }}<tool_call>"  # a template with the signs of its family
NAMES = frozenset({"get_weather", "add", "NOP-1"})
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
CALLS = st.lists(
    st.tuples(st.sampled_from(sorted(NAMES)), st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=3)),
    min_size=1,
    max_size=3,
)
WORDS = st.text(st.characters(codec="utf-8"), max_size=12)
CALLING = [family for family in FAMILIES if not family.channels]
each_family = pytest.mark.parametrize("family", CALLING, ids=lambda family: f"{family.name}-{family.spelling.before}")


def spelled(family: Family, calls: list[tuple[str, dict[str, Any]]]) -> str:
    """Calls as the family's models write them."""
    way = family.spelling
    texts = [way.before.replace("NAME", name) + json.dumps(given) + way.after for name, given in calls]
    return way.first + way.between.join(texts) + way.last


def cut(text: str, places: list[int]) -> list[str]:
    borders = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in pairwise(borders)]


def read(plan: AnswerPlan, pieces: list[str], *, limited: bool = False) -> Answer:
    answer = Answer(plan)
    for piece in pieces:
        answer.push(piece)
    answer.finish(cut=limited)
    return answer


def told(answer: Answer) -> tuple[str, str, list[tuple[str, str]]]:
    calls = [(call["function"]["name"], call["function"]["arguments"]) for call in answer.calls]
    return answer.content, answer.reasoning, calls


@each_family
@given(calls=CALLS, before=st.sampled_from(["", "Let me look.\n", "  "]), places=st.lists(st.integers(0, 999)))
def test_every_family_reads_what_it_writes_in_any_cut(
    family: Family, calls: list[tuple[str, dict[str, Any]]], before: str, places: list[int]
) -> None:
    if family.bare and not family.spelling.before.startswith(family.opening):
        before = ""  # a bare call stands first
    answer = read(AnswerPlan(family, NAMES), cut(before + spelled(family, calls), places))
    assert [(name, json.loads(given)) for name, given in told(answer)[2]] == calls
    assert answer.content == before.strip()
    assert answer.finish_reason("stop") == "tool_calls"
    assert answer.finish_reason("length") == "length"


FRAGMENTS = st.sampled_from([
    "<tool_call>", "</tool_call>", "<tool_", "call>", "[TOOL_CALLS]", "[", "]", "[ARGS]", "<|tool_call|>", "add", ",",
    "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<function=", "</function>", ">", "\n", " ", ";", "{", "}", '"', "\\",
    '{"name": "add", "arguments": {"a": 1}}', '{"name": "no", "arguments": {}}', '{"name": "add", "parameters": {',
    '{"arguments": {"b": "x"}, "name": "add"}', '{"name": "add"}', '{"a": 1}', "```json", "text",
    "<think>", "</think>", "<|channel|>analysis<|message|>", "<|end|>", "<|start|>assistant<|channel|>final<|message|>",
    "<function=add>", "<parameter=a>", "</parameter>", "add", "<arg_key>a</arg_key>", "<arg_value>", "</arg_value>",
    "<|channel|>commentary to=functions.add <|constrain|>json<|message|>", "<|call|>",
])  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@given(
    pieces=st.lists(FRAGMENTS | WORDS, max_size=12), places=st.lists(st.integers(0, 999), max_size=12), data=st.data()
)
def test_no_cut_changes_what_any_text_means(
    family: Family, pieces: list[str], places: list[int], data: st.DataObject
) -> None:
    text = "".join(pieces)
    think = data.draw(st.sampled_from([None, ("<think>", "</think>")]))
    plan = AnswerPlan(
        replace(family, think=think),
        data.draw(st.sampled_from([NAMES, frozenset()])),
        single=data.draw(st.booleans()),
        inside=data.draw(st.booleans()),
        dropped=data.draw(st.sampled_from([(), family.closings])),
    )
    for limited in (False, True):
        whole = told(read(plan, [text], limited=limited))
        assert told(read(plan, cut(text, places), limited=limited)) == whole
        assert told(read(plan, list(text), limited=limited)) == whole


@each_family
@given(pieces=st.lists(FRAGMENTS | WORDS, max_size=10))
def test_text_without_a_call_stays_as_it_is(family: Family, pieces: list[str]) -> None:
    text = "".join(pieces)
    for noise in family.noise:
        text = text.replace(noise, "")
    parser = CallParser(family, {"other"})
    parts = [*parser.push(text), *parser.finish()]
    assert all(isinstance(part, Content) for part in parts)
    assert "".join(part.text for part in parts) == text


@given(WORDS, WORDS, st.lists(st.integers(0, 99)))
def test_reasoning_is_parted_from_the_answer(thought: str, said: str, places: list[int]) -> None:
    family = detect("{{ '<think>' }}{{ '</think>' }}")
    for inside, text in (
        (False, f"<think>\n{thought}\n</think>\n\n{said}"),
        (True, f"\n{thought}\n</think>\n\n{said}"),
    ):
        answer = read(AnswerPlan(family, inside=inside), cut(text, places))
        assert (answer.content, answer.reasoning) == (said.lstrip(), thought.strip())


def test_reasoning_that_never_ends_is_no_answer_and_an_answer_without_reasoning_is_one() -> None:
    family = detect("</think>")
    assert told(read(AnswerPlan(family), ["<think>", "so"])) == ("", "so", [])
    assert told(read(AnswerPlan(family, inside=True), ["so", " what "])) == ("", "so what", [])
    assert told(read(AnswerPlan(family), ["I <think> so"])) == ("I <think> so", "", [])


def test_arguments_flow_before_the_call_is_complete() -> None:
    parser = CallParser(detect(HERMES), NAMES)
    assert parser.push('<tool_call>\n{"name": "add", "arguments": {"a"') == [CallOpened(0, "add"), Arguments(0, '{"a"')]
    assert parser.push(": [1") == [Arguments(0, ": [1")]
    assert parser.push("]}}\n</tool_") == [Arguments(0, "]}")]
    assert parser.push("call>") + parser.finish() == []


def test_a_call_cut_off_keeps_its_beginning_and_one_without_a_name_becomes_content() -> None:
    plan = AnswerPlan(detect(HERMES), NAMES)
    assert told(read(plan, ['<tool_call>{"name": "add", "arguments": {"a": "b']))[2] == [("add", '{"a": "b')]
    assert told(read(plan, ['Hm <tool_call>{"name": "ad'])) == ('Hm <tool_call>{"name": "ad', "", [])
    assert told(read(plan, ['<tool_call>{"name": "rm", "arguments": {}}</tool_call>!']))[2] == []


def test_other_forms_that_models_write_are_calls_too() -> None:
    plan = AnswerPlan(detect(HERMES), NAMES)
    for text in (
        '{"arguments": {"a": 1}, "name": "add"}',
        '{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}',
        '{"id": "x", "name": "add", "parameters": {"a": 1}, "more": 2}',
        '{"name": "add", "arguments": "{\\"a\\": 1}"}',
        '[{"name": "add", "arguments": {"a": 1}}]',
    ):
        content, _, calls = told(read(plan, [f"<tool_call>{text}</tool_call>"]))
        assert [(name, json.loads(given)) for name, given in calls] == [("add", {"a": 1})]
        assert content == ""
    assert told(read(plan, ['<tool_call>{"name": "add"}']))[2] == [("add", "{}")]


def test_raw_line_breaks_in_arguments_become_json() -> None:
    answer = read(AnswerPlan(detect(HERMES), NAMES), ['<tool_call>{"name": "add", "arguments": {"a": "x\ny"}}'])
    assert json.loads(told(answer)[2][0][1]) == {"a": "x\ny"}


def test_after_a_single_call_nothing_is_told() -> None:
    family = detect(HERMES)
    calls: list[tuple[str, dict[str, Any]]] = [("add", {"a": 1}), ("get_weather", {})]
    answer = read(AnswerPlan(family, NAMES, single=True), [spelled(family, calls) + " done"])
    assert told(answer) == ("", "", [("add", '{"a": 1}')])


def test_a_bare_object_is_a_call_only_at_the_beginning_and_only_of_a_declared_function() -> None:
    plan = AnswerPlan(detect("{{ tools }}<|python_tag|>"), NAMES)
    call = '{"name": "add", "parameters": {"a": 1}}'
    assert told(read(plan, [f"{call}; {call}"]))[2] == [("add", '{"a": 1}')] * 2
    for text in (f"So: {call}", '{"name": "Bob", "parameters": {}}', '{"city": "Rome"}', "{", "{ x }"):
        assert told(read(plan, [text])) == (text, "", [])


SCHEMA = {"properties": {"a": {"type": "integer"}, "b": {"type": "string"}, "c": {"type": "object"}}}
QWEN_CALL = (
    "<tool_call>\n<function=add>\n<parameter=a>\n1\n</parameter>\n<parameter=b>\n1 <\n</parameter>\n<parameter=c>\n"
    '{"x": []}\n</parameter>\n</function>\n</tool_call>'
)
GLM_CALL = (
    "<tool_call>add\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n<arg_key>b</arg_key>\n<arg_value>1 <</arg_value>"
    '<arg_key>c</arg_key><arg_value>{"x": []}</arg_value>\n</tool_call>'
)


@pytest.mark.parametrize(("sign", "text"), [("<parameter=", QWEN_CALL), ("<arg_key>", GLM_CALL)])
@given(places=st.lists(st.integers(0, 999)))
def test_arguments_in_tags_become_json_by_their_schema(sign: str, text: str, places: list[int]) -> None:
    plan = AnswerPlan(detect("{{ tools }}" + sign), NAMES, schemas={"add": SCHEMA})
    content, _, calls = told(read(plan, cut(f"Well.\n{text}\n{text}", places)))
    assert content == "Well."
    assert [(name, json.loads(given)) for name, given in calls] == [("add", {"a": 1, "b": "1 <", "c": {"x": []}})] * 2
    assert told(read(plan, [text[: text.index("<", 40)]]))[2] == [("add", "")]


def test_a_call_without_parameters_in_tags_has_an_empty_object() -> None:
    plan = AnswerPlan(detect("{{ tools }}<parameter="), NAMES)
    assert told(read(plan, ["<tool_call><function=add></function></tool_call>"]))[2] == [("add", "{}")]
    assert told(read(plan, ["<tool_call><function=add> or not"])) == ("or not", "", [("add", "{}")])


def test_channels_carry_reasoning_calls_and_the_answer() -> None:
    family = detect("<|channel|>")
    text = (
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.add "
        '<|constrain|>json<|message|>{"a": 1}<|call|>'
    )
    for pieces in ([text], list(text)):
        assert told(read(AnswerPlan(family, NAMES), pieces)) == ("", "hm", [("add", '{"a": 1}')])
    final = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Hello"
    assert told(read(AnswerPlan(family), list(final))) == ("Hello", "hm", [])


def test_deltas_have_one_entry_a_call_and_name_it_once() -> None:
    answer = Answer(AnswerPlan(detect(HERMES), NAMES))
    first = answer.delta(answer.push('<tool_call>{"name": "add", "arguments": {"a"'))["tool_calls"]
    assert first[0]["function"] == {"name": "add", "arguments": '{"a"'}
    assert first[0]["id"].startswith("call_")
    assert answer.delta(answer.push(": 1}}")) == {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}
    assert answer.delta(answer.push("</tool_call>")) == {}
    assert answer.message() == {"content": None, "tool_calls": answer.calls}


def test_the_old_function_call_is_answered_in_its_own_words() -> None:
    answer = Answer(AnswerPlan(detect(""), NAMES, single=True, legacy=True))
    spoken = answer.push('{"name": "add", "arguments": {}}')
    assert answer.delta(spoken) == {"function_call": {"name": "add", "arguments": "{}"}}
    assert answer.message() == {"content": None, "function_call": {"name": "add", "arguments": "{}"}}
    assert answer.finish_reason("stop") == "function_call"


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{% if tools %}<tool_call></tool_call>", "hermes"),
        ("{{ tools }}<|python_tag|>", "llama"),
        ("{{ tools }}[TOOL_CALLS][TOOL_RESULTS]", "mistral"),
        ("{{ tools }}[TOOL_CALLS]name[ARGS]", "mistral"),
        ("{{ tools }}<｜tool▁call▁begin｜>", "deepseek"),
        ("{{ tools }}<|tool_call|>", "granite"),
        ("{{ tools }}<function=x>", "functionary"),
        ("<|channel|>", "harmony"),
        ("{{ tools }}<tool_call><function=x><parameter=y>", "qwen-tags"),
        ("{{ tools }}<tool_call><arg_key>", "glm-tags"),
        ("{{ tools }}<|tool_call_argument_begin|>", "kimi"),
        ('{{ tools }}<|start_header_id|>{"name": .., "parameters": dictionary', "llama"),
        ("{{ messages }}<tool_call>", "generic"),
    ],
)
def test_a_templates_text_shows_its_family(template: str, name: str) -> None:
    assert detect(template).name == name
