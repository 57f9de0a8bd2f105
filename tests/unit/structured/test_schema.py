"""Schemas: strict where the type allows it, and always one that the reader agrees with."""

import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import jsonschema  # type: ignore[import-untyped]
import pytest
from attrs import define, field, make_class, validators

from laplas_async import ConfigError
from laplas_async.structured.schema import MAX_ENUM_VALUES, MAX_LEVELS, MAX_PROPERTIES, schema_for


class Color(enum.Enum):
    """What it looks like."""

    RED = "red"
    BLUE = "blue"


@define
class Line:
    """One line."""

    sku: str = field(
        validator=[  # type: ignore[arg-type]  # the two validators are of different types
            validators.min_len(2),
            validators.matches_re("[A-Z]+-[0-9]+"),
        ],
        metadata={"description": "article number"},
    )
    price: Annotated[Decimal, "for one piece"]
    count: int = field(default=1, validator=[validators.ge(1), validators.lt(100)])
    size: str = field(default="M", validator=validators.in_(["S", "M", "L"]))


@define
class Order:
    """An order.

    More that the model need not see.

    Attributes:
        day: when it was placed
    """

    day: date
    lines: list[Line] = field(validator=validators.max_len(50))
    first: Annotated[Line, "the most important one"]
    color: Color = Color.RED
    note: str | None = None


@define
class Node:
    name: str
    children: "list[Node]" = field(factory=list)
    parent: "Node | None" = None


@define
class Circle:
    radius: float


@define
class Square:
    side: float


@define
class Drawing:
    shapes: list[Circle | Square | str]


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


@dataclass
class Mixed:
    pair: tuple[int, str]
    same: tuple[float, float]
    names: set[str]
    level: Literal["low", 1] | None
    movie: Movie
    things: Sequence[int]


@define
class Loose:
    scores: dict[str, int]
    raw: Any


STRICT_TYPES = [Order, Node, Drawing, Movie, Mixed, list[Line], int, Line | None, Circle | Square]


def schema(tp: Any, *, strict: bool | None = None) -> dict[str, Any]:
    return schema_for(tp, strict=strict).schema


def objects_in(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [one for inner in node for one in objects_in(inner)]
    if not isinstance(node, dict):
        return []
    own = [node] if "properties" in node and node.get("type") == "object" else []
    return own + [one for inner in node.values() for one in objects_in(inner)]


@pytest.mark.parametrize("tp", STRICT_TYPES)
def test_strict_schemas_keep_the_rules_of_strict_mode(tp: Any) -> None:
    made = schema_for(tp, strict=True)
    jsonschema.Draft202012Validator.check_schema(made.schema)
    assert made.schema["type"] == "object"
    assert "anyOf" not in made.schema
    for one in objects_in(made.schema):
        assert one["additionalProperties"] is False
        assert one["required"] == list(one["properties"])
    text = json.dumps(made.schema)
    for keyword in ("default", "minLength", "maxLength", "uniqueItems", "prefixItems", "oneOf"):
        assert f'"{keyword}":' not in text


def test_constraints_become_keywords_or_words() -> None:
    line = schema(Line)["properties"]
    assert line["sku"] == {
        "type": "string",
        "pattern": "^(?:[A-Z]+-[0-9]+)$",
        "description": "article number; at least 2 characters long",
    }
    assert line["price"]["description"] == "for one piece"
    count, null = line["count"]["anyOf"]
    assert count == {"type": "integer", "minimum": 1, "exclusiveMaximum": 100}
    assert null == {"type": "null"}
    assert line["count"]["description"] == "null means 1"
    assert line["size"]["anyOf"][0] == {"type": "string", "enum": ["S", "M", "L"]}
    assert schema(Line, strict=False)["properties"]["sku"]["minLength"] == 2


def test_docstrings_describe_classes_fields_and_enums() -> None:
    made = schema(Order)
    assert made["description"] == "An order."
    assert made["properties"]["day"]["description"] == "when it was placed"
    assert made["$defs"]["Line"]["description"] == "One line."
    assert "What it looks like." in json.dumps(made["properties"]["color"])


def test_a_described_reference_is_an_any_of() -> None:
    assert schema(Order)["properties"]["first"] == {
        "anyOf": [{"$ref": "#/$defs/Line"}],
        "description": "the most important one",
    }


def test_fields_keep_the_order_of_their_declaration() -> None:
    assert list(schema(Order)["properties"]) == ["day", "lines", "first", "color", "note"]


def test_a_root_that_contains_itself_is_inlined() -> None:
    made = schema(Node)
    assert made["properties"]["children"]["anyOf"][0]["items"] == {"$ref": "#"}
    assert "$defs" not in made
    wrapped = schema(list[Node])
    assert wrapped["$defs"]["Node"]["properties"]["parent"]["anyOf"][0] == {"$ref": "#/$defs/Node"}


def test_classes_in_a_union_get_a_tag_each() -> None:
    made = schema(Drawing)
    assert made["$defs"]["Circle"]["properties"]["type"] == {"type": "string", "const": "Circle"}
    assert made["$defs"]["Square"]["required"] == ["type", "side"]


def test_tuples_sets_and_literals() -> None:
    mixed = schema(Mixed)["properties"]
    assert mixed["pair"] == {
        "type": "array",
        "minItems": 2,
        "maxItems": 2,
        "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        "description": "in this order: int, str",
    }
    assert mixed["same"]["items"] == {"type": "number"}
    assert mixed["names"]["description"] == "no element twice"
    level, null = mixed["level"]["anyOf"]
    assert level == {"type": ["string", "integer"], "enum": ["low", 1]}
    assert null == {"type": "null"}
    assert schema(Mixed, strict=False)["properties"]["names"]["uniqueItems"] is True


def test_what_cannot_be_strict_is_plain_or_an_error_with_its_path() -> None:
    made = schema_for(Loose)
    assert not made.strict
    assert made.schema["properties"]["scores"]["additionalProperties"] == {"type": "integer"}
    with pytest.raises(ConfigError, match=r"scores: an object with arbitrary keys; raw: any value"):
        schema_for(Loose, strict=True)
    with pytest.raises(ConfigError, match="without the type of its elements"):
        schema_for(list, strict=True)


def test_plain_schemas_require_only_fields_without_default() -> None:
    assert schema(Order, strict=False)["required"] == ["day", "lines", "first"]


def test_the_limits_of_strict_mode_are_known() -> None:
    wide = make_class("Wide", {f"f{i}": field(type=int) for i in range(MAX_PROPERTIES + 1)})
    assert f"more than {MAX_PROPERTIES}" in schema_for(wide).loose[0]
    deep: Any = int
    for level in range(MAX_LEVELS + 1):
        deep = make_class(f"Level{level}", {"inner": field(type=deep)})
    assert "11 levels" in schema_for(deep).loose[0]
    many: Any = enum.Enum("Many", {f"v{i}": i for i in range(MAX_ENUM_VALUES + 1)})  # type: ignore[misc]
    assert f"more than {MAX_ENUM_VALUES}" in schema_for(many).loose[0]


def test_two_classes_of_one_name_are_two_definitions() -> None:
    one = make_class("Same", {"a": field(type=int)})
    other = make_class("Same", {"b": field(type=str)})
    both = make_class("Both", {"x": field(type=one), "y": field(type=other)})
    assert set(schema(both)["$defs"]) == {"Same", "Same_2"}


def test_an_annotation_that_cannot_be_resolved_says_so() -> None:
    @define
    class Local:
        other: "Missing"  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigError, match="Missing"):
        schema_for(Local)
