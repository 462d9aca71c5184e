"""JSON Schema to grammars: whatever a grammar allows validates, and what cannot be promised is refused by name."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.errors import InvalidArgument
from engine.replica.grammar import any_json_object, schema_to_gbnf
from engine.replica.schema import to_gbnf
from tests.gbnf import Texts
from tests.published import SuiteSchema, accepted, suite_schemas

VALIDATORS: dict[str, Any] = {
    "2020-12": jsonschema.Draft202012Validator,
    "2019-09": jsonschema.Draft201909Validator,
    "7": jsonschema.Draft7Validator,
    "6": jsonschema.Draft6Validator,
    "4": jsonschema.Draft4Validator,
    "3": jsonschema.Draft3Validator,
}
WITHOUT_VALUE = "the schema allows no value at all"


def texts(schema: Any, count: int = 20, seed: int = 1) -> Iterator[str]:
    """Random texts of a schema's grammar."""
    grammar, chance = Texts(schema_to_gbnf(schema, "schema")), random.Random(seed)
    return (grammar.one(chance) for _ in range(count))


def check(schema: Any, draft: str = "2020-12", count: int = 20) -> None:
    """Every text that was tried is JSON without duplicate keys among the listed ones, and validates."""
    validator = VALIDATORS[draft]
    judge = validator(schema, format_checker=validator.FORMAT_CHECKER)
    for text in texts(schema, count):
        judge.validate(json.loads(text))


def refused(schema: Any) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        to_gbnf(schema, "schema")
    return caught.value


@pytest.fixture(scope="module")
def suite() -> list[SuiteSchema]:
    return suite_schemas()


def refusals(suite: list[SuiteSchema]) -> Iterator[tuple[SuiteSchema, InvalidArgument]]:
    for entry in suite:
        try:
            to_gbnf(entry.schema, "schema")
        except InvalidArgument as error:
            yield entry, error


class TestPublishedSuite:
    def test_at_least_300_schemas_are_accepted_and_every_text_of_them_validates(self, suite: list[SuiteSchema]) -> None:
        taken = list(accepted(suite))
        for entry, _ in taken:
            check(entry.schema, entry.draft, count=10)
        assert len(taken) >= 300

    def test_every_refusal_names_a_keyword_or_says_that_there_is_no_value(self, suite: list[SuiteSchema]) -> None:
        for entry, error in refusals(suite):
            keyword = str(error.field).removeprefix("schema").removeprefix(".")
            named = keyword and f'"{keyword}"' in json.dumps(entry.schema).replace('"id"', '"$id"')
            assert named or error.message in (WITHOUT_VALUE, "the schema holds something that is no schema"), entry

    def test_a_schema_said_to_allow_nothing_has_no_valid_instance(self, suite: list[SuiteSchema]) -> None:
        never = [entry for entry, error in refusals(suite) if error.message == WITHOUT_VALUE]
        assert len(never) >= 8
        assert not [entry.place for entry in never if entry.valid]


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-120, 120), st.sampled_from([0.5, -2.25, 1e3]), st.text(max_size=3)
)
NAMES = st.sampled_from(["a", "b", "ab", "a-b", 'q"', "é", ""])
BOUNDS = st.one_of(st.integers(-1200, 1200), st.decimals(-50, 50, places=2).map(float))
TYPES = ["object", "array", "string", "number", "integer", "boolean", "null"]


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    some = st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.one_of(st.sampled_from(TYPES), st.lists(st.sampled_from(TYPES), min_size=1, unique=True)),
            "properties": st.dictionaries(NAMES, inner, max_size=3),
            "required": st.lists(NAMES, max_size=2, unique=True),
            "additionalProperties": inner,
            "minProperties": st.integers(0, 2),
            "maxProperties": st.integers(0, 3),
            "propertyNames": inner,
            "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=1), max_size=1),
            "unevaluatedProperties": inner,
            "items": inner,
            "prefixItems": some,
            "minItems": st.integers(0, 3),
            "maxItems": st.integers(0, 4),
            "contains": inner,
            "unevaluatedItems": inner,
            "minLength": st.integers(0, 300),
            "maxLength": st.integers(0, 600),
            "minimum": BOUNDS,
            "maximum": BOUNDS,
            "exclusiveMinimum": BOUNDS,
            "exclusiveMaximum": BOUNDS,
            "enum": st.lists(SCALARS, min_size=1, max_size=4),
            "const": SCALARS,
            "anyOf": some,
            "allOf": some,
            "oneOf": some,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
        },
    ).map(_thinned)


def _thinned(schema: dict[str, Any]) -> dict[str, Any]:
    """At most five keywords, so that something is left to be valid."""
    return dict(random.Random(json.dumps(schema, sort_keys=True)).sample(sorted(schema.items()), min(5, len(schema))))


SCHEMAS = st.recursive(st.booleans() | st.sampled_from([{"type": name} for name in TYPES]), _schemas, max_leaves=8)


class TestSoundness:
    @settings(max_examples=400)
    @given(SCHEMAS)
    def test_every_text_of_an_accepted_schema_validates(self, schema: Any) -> None:
        try:
            to_gbnf(schema, "schema")
        except InvalidArgument:
            return
        check(schema, count=6)

    @pytest.mark.parametrize("kind", ["integer", "number"])
    @given(low=BOUNDS, high=BOUNDS, low_open=st.booleans(), high_open=st.booleans())
    def test_numbers_stay_within_bounds(
        self, kind: str, low: float, high: float, low_open: bool, high_open: bool
    ) -> None:
        low, high = min(low, high), max(low, high)
        bounds = {
            "exclusiveMinimum" if low_open else "minimum": low,
            "exclusiveMaximum" if high_open else "maximum": high,
        }
        empty = low == high and (low_open or high_open)
        if kind == "integer":
            empty = not any(
                (n > low or (n == low and not low_open)) and (n < high or (n == high and not high_open))
                for n in range(math.floor(low), math.ceil(high) + 1)
            )
        if empty:
            assert refused({"type": kind, **bounds}).message == WITHOUT_VALUE
        else:
            check({"type": kind, **bounds})

    @pytest.mark.parametrize(
        "schema",
        [
            {"type": "integer", "minimum": -3, "maximum": 18446744073709551615},
            {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            {"type": "number", "minimum": 0.1, "maximum": 0.2},
            {"type": "string", "minLength": 1000, "maxLength": 50_000},
            {"type": "array", "items": {"type": "null"}, "minItems": 450, "maxItems": 990},
            {"additionalProperties": {"type": "integer"}, "properties": {"a": {}, "ab": {}, "[^-]\\": {}}},
            {"properties": {"a": False, 'quote"': {"const": "\n\x7f\\"}}, "required": ['quote"']},
            {"enum": ["\u2028", {"b": [1.0, 1e300], "a": {}}, 1e-7, "😀"]},
            {"type": "object", "properties": {"on": {"format": "date-time"}, "ip": {"format": "ipv6"}}},
            {"properties": {"kind": {"const": "x"}}, "required": ["kind"], "unevaluatedProperties": False},
            {
                "oneOf": [
                    {"properties": {"kind": {"const": name}, name: {"type": "integer"}}, "required": ["kind", name]}
                    for name in ("circle", "square")
                ],
                "type": "object",
            },
            {
                "$defs": {"tree": {"properties": {"next": {"$ref": "#/$defs/tree"}, "all": {"items": {"$ref": "#"}}}}},
                "allOf": [{"$ref": "#/$defs/tree"}, {"required": ["all"]}],
                "type": "object",
            },
        ],
        ids=lambda schema: json.dumps(schema)[:50],
    )  # fmt: skip
    def test_awkward_schemas_are_sound(self, schema: Any) -> None:
        check(schema, count=60)

    def test_keys_are_never_written_twice_where_they_are_listed(self) -> None:
        schema = {"properties": {"a": True, "b": True}, "additionalProperties": {"type": "null"}, "type": "object"}

        def no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            listed = [name for name, _ in pairs if name in ("a", "b")]
            assert len(set(listed)) == len(listed)
            return dict(pairs)

        for text in texts(schema, 100):
            json.loads(text, object_pairs_hook=no_twins)


class TestWhatIsWritten:
    def test_keywords_about_objects_make_an_object_where_no_type_is_given(self) -> None:
        assert all(text.startswith("{") for text in texts({"properties": {"a": {"type": "integer"}}}))

    def test_listed_properties_are_all_unless_the_schema_speaks_of_others(self) -> None:
        closed = {"type": "object", "properties": {"a": {"type": "null"}}}
        assert {frozenset(json.loads(text)) for text in texts(closed, 50)} == {frozenset(), frozenset("a")}
        assert any(set(json.loads(text)) - {"a"} for text in texts(closed | {"additionalProperties": True}, 50))

    def test_every_optional_property_and_every_alternative_can_come(self) -> None:
        schema = {"properties": {"a": {"enum": [1, None]}, "b": {"type": "boolean"}}, "required": ["b"]}
        found = {text.replace(" ", "").replace("\n", "").replace("\t", "") for text in texts(schema, 400)}
        assert found == {
            '{"b":true}', '{"b":false}', '{"a":1,"b":true}', '{"a":1,"b":false}', '{"a":null,"b":true}',
            '{"a":null,"b":false}',
        }  # fmt: skip

    def test_every_value_of_a_long_enum_can_come(self) -> None:
        values = [*(f"value {i}" for i in range(25)), "value", "", 1, 12, 123, "v"]
        assert {json.loads(text) for text in texts({"enum": values}, 40_000)} == set(values)

    def test_any_json_object_is_written_for_json_mode(self) -> None:
        grammar, chance = Texts(any_json_object()), random.Random(3)
        assert all(isinstance(json.loads(grammar.one(chance)), dict) for _ in range(50))

    @pytest.mark.parametrize("count", [60, 5_000, 100_000])
    def test_long_limits_keep_the_grammar_small(self, count: int) -> None:
        assert len(to_gbnf({"type": "string", "minLength": count // 2, "maxLength": count}, "schema")) < 1_000
