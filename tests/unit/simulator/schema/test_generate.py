"""Generated instances are valid by an independent validator, jsonschema."""

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async.simulator.rng import SeededRandom
from laplas_async.simulator.schema.generate import instance, instance_text
from laplas_async.simulator.schema.validate import fits


def _bounded(kind: str) -> st.SearchStrategy[Any]:
    low = st.integers(-1000, 1000)
    return st.tuples(low, st.integers(0, 50), st.booleans(), st.booleans()).map(
        lambda drawn: {
            "type": kind,
            ("exclusiveMinimum" if drawn[2] else "minimum"): drawn[0],
            ("exclusiveMaximum" if drawn[3] else "maximum"): drawn[0] + drawn[1] + 2,
        }
    )


SCALARS = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    _bounded("integer"),
    _bounded("number"),
    st.integers(1, 20).map(lambda step: {"type": "integer", "multipleOf": step}),
    st.tuples(st.integers(0, 20), st.integers(0, 40)).map(
        lambda drawn: {"type": "string", "minLength": drawn[0], "maxLength": sum(drawn)}
    ),
    st.sampled_from([r"^[A-Z]{3}-\d{2,4}$", r"^(a|b|cc)+$", r"\w+@\w+\.com", r"^[^a-z]?x*$"]).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    ),
    st.sampled_from(["date-time", "email", "uuid", "ipv4", "uri"]).map(
        lambda name: {"type": "string", "format": name}
    ),
    st.lists(
        st.one_of(st.integers(-(2**53), 2**53), st.text(), st.none(), st.booleans()), min_size=1
    ).map(lambda items: {"enum": items}),
    st.integers(-99, 99).map(lambda value: {"const": value}),
    st.just({"type": ["string", "null"]}),
    st.just({}),
    st.just(True),  # noqa: FBT003
)
NAMES = st.text(alphabet="abcdeé", min_size=1, max_size=4)


def _deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    objects = st.tuples(
        st.dictionaries(NAMES, inner, max_size=4), st.booleans(), st.randoms(use_true_random=False)
    ).map(
        lambda drawn: {
            "type": "object",
            "properties": drawn[0],
            "required": [name for name in drawn[0] if drawn[2].random() < 0.5],
            "additionalProperties": drawn[1],
        }
    )
    arrays = st.tuples(inner, st.integers(0, 3), st.integers(0, 3)).map(
        lambda drawn: {
            "type": "array",
            "items": drawn[0],
            "minItems": drawn[1],
            "maxItems": drawn[1] + drawn[2],
        }
    )
    choices = st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options})
    maps = inner.map(lambda one: {"type": "object", "additionalProperties": one})
    return st.one_of(objects, arrays, choices, maps, inner.map(lambda one: {"allOf": [one]}))


SCHEMAS = st.recursive(SCALARS, _deeper, max_leaves=12)


@settings(max_examples=300, deadline=None)
@given(SCHEMAS, st.integers(0, 1000))
def test_an_instance_is_valid(schema: Any, key: int) -> None:
    result = instance(schema, SeededRandom(key))
    jsonschema.validate(result, schema, cls=jsonschema.Draft202012Validator)
    assert fits(result, schema, schema)
    assert instance(schema, SeededRandom(key)) == result
    assert orjson.loads(instance_text(schema, SeededRandom(key))) == result


NODE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "left": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "right": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "more": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name", "left", "right", "more"],
            "additionalProperties": False,
        }
    },
}


@pytest.mark.parametrize(
    "schema",
    [
        NODE,
        {"oneOf": [{"type": "integer", "multipleOf": 3}, {"type": "integer", "multipleOf": 5}]},
        {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True, "minItems": 3},
        {"type": "array", "prefixItems": [{"const": 1}, {"const": "b"}], "items": False},
        {"type": "array", "contains": {"const": 7}},
        {"allOf": [{"properties": {"a": {"minimum": 3}}}, {"properties": {"a": {"maximum": 4}}}]},
        {"type": "object", "minProperties": 3},
        {"not": {"type": "string"}, "type": ["string", "integer"]},
        {"if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}, "type": "object"},
        {"type": "number", "minimum": 0, "exclusiveMaximum": 0.001},
        {"type": "number", "multipleOf": 0.1, "minimum": 3},
        {"type": "integer", "maximum": -500},
        {"type": "object", "required": ["x"]},
        {
            "definitions": {"p": {"type": "integer"}},
            "properties": {"q": {"$ref": "#/definitions/p"}},
        },
        {"type": "object", "properties": {"self": {"$ref": "#"}}, "required": ["name"]},
        {"anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"type": "integer", "minimum": 9}}},
    ],
)
@pytest.mark.parametrize("key", range(5))
def test_particular_schemas(schema: Any, key: int) -> None:
    result = instance(schema, SeededRandom(key))
    jsonschema.validate(result, schema, cls=jsonschema.Draft202012Validator)
    assert len(orjson.dumps(result)) < 20_000


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": 3},
        {"type": "array", "minItems": 10**9},
        {"type": "string", "minLength": 10**9},
        {"type": "integer", "minimum": "a"},
        {"allOf": [{"$ref": "#"}]},
        {"enum": 3},
    ],
)
def test_an_invalid_schema_is_a_value_error(schema: Any) -> None:
    with pytest.raises(ValueError, match="schema"):
        instance_text(schema, SeededRandom(1))


@pytest.mark.parametrize(
    "schema", [{"$ref": "#/a"}, {"$ref": "https://example.com/x"}, False, {"$ref": "#"}]
)
def test_an_unsatisfiable_schema_gets_a_best_attempt(schema: Any) -> None:
    instance_text(schema, SeededRandom(1))
