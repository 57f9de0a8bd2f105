"""Classes of pydantic and msgspec, where they are installed."""

from typing import Any

import pytest

from laplas_async import OutputType
from laplas_async.structured.foreign import tighten, without_unset
from laplas_async.structured.reading import Mismatch

SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Person",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "default": 0},
        "pet": {"anyOf": [{"$ref": "#/$defs/Pet"}, {"type": "null"}], "default": None},
    },
    "required": ["name"],
    "$defs": {
        "Pet": {
            "type": "object",
            "properties": {"kind": {"type": "string", "default": "cat"}},
        }
    },
}


def test_a_foreign_schema_is_made_strict() -> None:
    tight, loose = tighten(SCHEMA)
    assert loose == []
    assert tight["required"] == ["name", "age", "pet"]
    assert tight["properties"]["age"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert tight["$defs"]["Pet"]["additionalProperties"] is False
    assert SCHEMA["required"] == ["name"]
    assert tighten({"type": "object", "properties": {"x": {"type": "object"}}})[1] == ["x"]


def test_null_stands_for_a_default_where_it_is_no_value() -> None:
    value = {"name": "Ada", "age": None, "pet": {"kind": None}}
    assert without_unset(value, SCHEMA) == {"name": "Ada", "pet": {}}
    assert without_unset({"name": None, "pet": None}, SCHEMA) == {"name": None, "pet": None}


def test_pydantic_models_are_read_strictly() -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Person", name=(str, ...), age=(int, 0), tags=(list[str], []))
    output: OutputType[Any] = OutputType(model)
    assert output.schema.strict
    assert output.read('{"name": "Ada", "age": null, "tags": ["x"]}').age == 0
    with pytest.raises(Mismatch) as caught:
        output.read('{"age": "36", "tags": [1]}')
    assert [problem.path for problem in caught.value.problems] == ["name", "age", "tags[0]"]
    assert OutputType[Any](list[model]).read('{"value": [{"name": "A"}]}')[0].name == "A"  # type: ignore[valid-type]


def test_msgspec_structs_are_read_strictly() -> None:
    msgspec = pytest.importorskip("msgspec")
    struct = msgspec.defstruct("Person", [("name", str), ("age", int, 0)])
    output: OutputType[Any] = OutputType(struct)
    assert output.schema.strict
    assert output.read('{"name": "Ada", "age": null}').age == 0
    with pytest.raises(Mismatch, match=r"age"):
        output.read('{"name": "Ada", "age": "36"}')
