"""Schemas that no grammar can hold to, or nothing can satisfy, are refused with the place at fault."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.test_replica_schema import WITHOUT_VALUE, check, refused


class TestRefusals:
    @pytest.mark.parametrize(
        ("schema", "keyword"),
        [
            ({"pattern": "a"}, "pattern"),
            ({"patternProperties": {}}, "patternProperties"),
            ({"multipleOf": 2}, "multipleOf"),
            ({"uniqueItems": True}, "uniqueItems"),
            ({"items": {"type": "array", "maxContains": 1}}, "maxContains"),
            ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf"),
            ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, "oneOf"),
            ({"not": {"contains": {"type": "null"}}}, "not"),
            ({"format": "regex"}, "format"),
            ({"format": "date", "minLength": 11}, "minLength"),
            ({"type": "object", "minProperties": 2}, "minProperties"),
            ({"$ref": "http://169.254.169.254/"}, "$ref"),
            ({"$ref": "#/nowhere"}, "$ref"),
            ({"$ref": "#"}, "$ref"),
            ({"$defs": {"a": {"$id": "http://x/"}}}, "$id"),
            ({"$dynamicRef": "#a"}, "$dynamicRef"),
            ({"minLength": -1}, "minLength"),
            ({"maxItems": True}, "maxItems"),
            ({"minimum": "1"}, "minimum"),
            ({"maximum": 1e300}, "maximum"),
            ({"type": "text"}, "type"),
            ({"enum": 5}, "enum"),
            ({"nullable": True}, "nullable"),
        ],
        ids=str,
    )
    def test_the_keyword_at_fault_is_named(self, schema: Any, keyword: str) -> None:
        assert refused(schema).field == f"schema.{keyword}"

    @pytest.mark.parametrize(
        "schema",
        [
            False,
            {"enum": []},
            {"type": "integer", "minimum": 2, "maximum": 1},
            {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2},
            {"type": "string", "minLength": 2, "maxLength": 1},
            {"type": "object", "properties": {"a": False}, "required": ["a"]},
            {"type": "array", "items": False, "minItems": 1},
            {"type": "string", "const": 1},
            {"allOf": [{"type": "string"}, {"type": "null"}]},
            {"type": "object", "properties": {"x": {"$ref": "#"}}, "required": ["x"]},
        ],
        ids=str,
    )
    def test_a_schema_without_any_value_is_refused(self, schema: Any) -> None:
        assert refused(schema).message == WITHOUT_VALUE

    def test_a_property_may_be_called_like_a_keyword(self) -> None:
        check({"type": "object", "properties": {"pattern": {"type": "null"}, "$ref": {"type": "null"}}})

    def test_schemas_that_multiply_are_bounded(self) -> None:
        wide = {"anyOf": [{"required": [f"p{i}"]} for i in range(30)]}
        assert "combinations" in refused({"type": "object", "allOf": [wide] * 8}).message
        chain: dict[str, Any] = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(1500)} | {"d1500": True}
        assert refused({"$defs": chain, "$ref": "#/$defs/d0"}).field == "schema.$ref"
        deep: Any = True
        for _ in range(5_000):
            deep = [deep]
        assert "deeper" in refused({"prefixItems": deep}).message

    def test_lone_surrogates_are_refused(self) -> None:
        assert "Unicode" in refused({"const": "\ud800"}).message
