"""Grammars that force calls of tools, by the forms that templates write them in."""

from __future__ import annotations

import pytest

from client.errors import InvalidArgument
from engine.replica.answers import AnswerMaker
from engine.replica.grammar import any_json_object, check_gbnf, schema_to_gbnf
from engine.replica.tools import either_gbnf, forced_gbnf
from engine.replica.tools.family import FAMILIES, Family
from engine.replica.tools.forced import prefixed
from tests.unit.test_replica_tools import CONTROL, PLAIN, QWEN, R1, WEATHER, model, request


class TestForced:
    @pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
    def test_every_family_has_a_grammar_within_bounds(self, family: Family) -> None:
        functions = [(f"f{i}", schema_to_gbnf(WEATHER["function"]["parameters"], "f")) for i in range(8)]
        for several in (True, False):
            text = check_gbnf(forced_gbnf(family, functions, several=several), "f", 600)
            assert "NAME" not in text
            assert ("{0,7}" in text) == several

    def test_open_reasoning_may_go_on_and_must_close_before_the_call(self) -> None:
        for fields in ({"tools": [WEATHER], "tool_choice": "required"}, {}):
            demand = AnswerMaker(model(R1)).demand(request(**fields), any_json_object(), inside_reasoning=True)
            assert (demand.gbnf or "").startswith('root ::= thought "</think>"')
            assert ("get_weather" in (demand.gbnf or "")) == bool(fields)

    def test_rules_get_prefixes_and_nothing_else_does(self) -> None:
        gbnf = 'root ::= "root" [root] x-1{2,3} ("a" | y)? # root\nx-1 ::= root\ny ::= "\\"z"'
        assert prefixed(gbnf, "p-") == (
            'p-root ::= "root" [root] p-x-1{2,3} ("a" | p-y)? # root\np-x-1 ::= p-root\np-y ::= "\\"z"'
        )
        assert check_gbnf(either_gbnf(any_json_object(), 'root ::= "a"'), "f", 600)

    def test_required_forces_a_call_and_auto_forces_nothing(self) -> None:
        maker = AnswerMaker(model(PLAIN))
        assert maker.demand(request(tools=[WEATHER]), None, inside_reasoning=False).gbnf is None
        forced = maker.demand(request(tools=[WEATHER], tool_choice="required"), None, inside_reasoning=False)
        assert "get_weather" in (forced.gbnf or "")
        assert forced.field == "tools"
        both = maker.demand(request(tools=[WEATHER]), any_json_object(), inside_reasoning=False)
        assert (both.gbnf or "").startswith("root ::= x-root | y-root")

    def test_a_schema_beyond_grammars_is_an_error_only_when_it_is_strict(self) -> None:
        function = {"name": "f", "parameters": {"type": "object", "properties": {"a": {"$ref": "https://x.test/"}}}}
        for strict in (None, True):
            tool = {"type": "function", "function": function | {"strict": strict}}
            asked = request(tools=[tool], tool_choice="required")
            maker = AnswerMaker(model(PLAIN))
            if strict:
                with pytest.raises(InvalidArgument) as caught:
                    maker.demand(asked, None, inside_reasoning=False)
                assert (caught.value.field or "").startswith("tools.0.function.parameters")
            else:
                assert maker.demand(asked, None, inside_reasoning=False).gbnf

    def test_markers_that_are_control_tokens_show_and_one_call_ends_the_answer(self) -> None:
        asked = request(tools=[WEATHER], parallel_tool_calls=False)
        demand = AnswerMaker(model(QWEN)).demand(asked, None, inside_reasoning=False)
        shown = {CONTROL[token - 1000] for token in demand.special_text}
        assert shown == {"<think>", "</think>", "</tool_call>"}
        assert demand.stops == ("</tool_call>",)
        assert demand.plan is not None
        assert demand.plan.single
