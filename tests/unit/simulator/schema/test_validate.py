"""The simulator's own validator agrees with jsonschema about the keywords that it knows."""

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.simulator.schema.validate import fits, resolved

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    1.0,
    2.5,
    -3,
    "",
    "a",
    "abc",
    [],
    [1],
    [1, 1],
    ["a", 2],
    {},
]
VALUES += [{"a": 1}, {"a": "x", "b": None}, {"b": 2, "c": 3}, [True, 1], {"a": [1, 2]}]
SCHEMAS: list[Any] = [
    True,
    False,
    {},
    {"type": "integer"},
    {"type": "number", "minimum": 1, "exclusiveMaximum": 2.5},
    {"type": ["string", "null"], "maxLength": 1},
    {"pattern": "^a", "minLength": 1},
    {"multipleOf": 0.5},
    {"enum": [1, "a", None]},
    {"const": True},
    {"const": 1},
    {"type": "array", "items": {"type": "integer"}, "maxItems": 1},
    {"prefixItems": [{"type": "string"}], "items": {"type": "integer"}},
    {"uniqueItems": True},
    {"contains": {"const": 1}},
    {"required": ["a"], "properties": {"a": {"type": "integer"}}},
    {"additionalProperties": False, "properties": {"a": {}}},
    {"patternProperties": {"^a": {"type": "integer"}}, "additionalProperties": {"type": "null"}},
    {"minProperties": 1, "maxProperties": 1},
    {"allOf": [{"type": "integer"}, {"minimum": 1}]},
    {"anyOf": [{"type": "string"}, {"type": "null"}]},
    {"oneOf": [{"multipleOf": 1}, {"minimum": 1}]},
    {"not": {"type": "object"}},
    {"if": {"type": "integer"}, "then": {"minimum": 0}, "else": {"type": "string"}},
    {"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_it_agrees_with_an_independent_validator(schema: Any) -> None:
    validator = jsonschema.Draft202012Validator(schema)
    for value in VALUES:
        assert fits(value, schema, schema) == validator.is_valid(value), value


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_unknown_keywords_and_remote_references_match_anything(value: Any) -> None:
    schema = {"$ref": "https://example.com/schema", "x-note": "unknown"}
    assert fits(value, schema, schema)


def test_a_circular_reference_ends() -> None:
    schema = {"$ref": "#"}
    assert resolved(schema, schema) == {}
    assert fits(3, schema, schema)
