"""What a limit leaves of tool calls that it cuts off."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.replica.tools import Answer, AnswerPlan, detect
from engine.replica.tools.family import FAMILIES, Family
from tests.unit.test_replica_tool_calls import CALLS, HERMES, NAMES, read, spelled, told


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: f"{family.name}-{family.spelling.before}")
@given(calls=CALLS, before=st.sampled_from(["", "Let me look.\n"]), length=st.integers(0, 999))
def test_a_limit_anywhere_in_calls_leaves_none_of_their_spelling_in_the_content(
    family: Family, calls: list[tuple[str, dict[str, Any]]], before: str, length: int
) -> None:
    way = family.spelling
    if family.channels or (family.bare and not way.before.startswith(family.opening)):
        before = ""  # the call stands first
    whole = before + spelled(family, calls)
    text = whole[: len(before) + length % (len(whole) - len(before) + 1)]
    content, _, made = told(read(AnswerPlan(family, NAMES), list(text), limited=True))
    assert [name for name, _ in made] == [name for name, _ in calls[: len(made)]]
    if not made and family.bare and not way.before.startswith(family.opening):
        assert content in (text, "")  # an object that may be an answer in JSON
    else:
        assert content in (before, before.rstrip())


@pytest.mark.parametrize(
    "end", ["<", "<tool_", "<tool_call>", "\n<", "\n<tool_call>", "\n<tool_call>\n", '<tool_call>{"na']
)
def test_a_marker_that_a_limit_left_without_its_call_is_content_only_where_the_model_has_ended(end: str) -> None:
    plan, call = AnswerPlan(detect(HERMES), NAMES), '<tool_call>{"name": "add", "arguments": {}}</tool_call>'
    for before, said in (("", ""), ("Well.", "Well."), (call, ""), (call + "\n", "")):
        for pieces in ([before + end], list(before + end)):
            content, _, calls = told(read(plan, pieces, limited=True))
            assert (content, len(calls)) == (said, before.count("add"))
    assert told(read(plan, ["Well." + end]))[0] == "Well." + end
    assert told(read(AnswerPlan(detect(HERMES), dropped=("</tool_call>",)), ["Well." + end], limited=True))[0] == (
        "Well." + end
    )


def test_a_limit_takes_nothing_from_text_that_began_no_call() -> None:
    plan = AnswerPlan(detect("{{ messages }}"), NAMES)
    for text in ("So \n", "a < b", "a <tool> b", "\n", '{"name": "Al', '{"city": "R', "<tool_call> is a tag {"):
        assert told(read(plan, list(text), limited=True)) == (text, "", [])


def test_a_stream_that_a_limit_ends_says_what_the_whole_body_says() -> None:
    answer = Answer(AnswerPlan(detect(HERMES), NAMES))
    deltas = [answer.delta(answer.push(piece)) for piece in ("Well", ".", "\n", "<tool", "_call>", "\n")]
    deltas.append(answer.delta(answer.finish(cut=True)))
    assert [delta for delta in deltas if delta] == [{"content": "Well"}, {"content": "."}]
    assert answer.message() == {"content": "Well."}
    assert answer.finish_reason("length") == "length"
