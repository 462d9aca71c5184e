"""`response_format` and the grammars that it becomes."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings

from client.errors import InvalidArgument
from engine.replica import ambiguity
from engine.replica.fields import ChatRequest
from engine.replica.grammar import any_json_object, check_gbnf, schema_to_gbnf
from engine.replica.openai import _gbnf
from engine.replica.request_body import parse
from tests.unit.test_replica_fields import CHAT, JSON


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
