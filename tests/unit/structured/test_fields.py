"""The fields of every kind of class, as schema and reader both see them."""

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    TypedDict,
    TypeVar,
)

import pytest
from attrs import define, field

from laplas_async.errors import ConfigError
from laplas_async.structured.fields import (
    class_name,
    fields_of,
    has_fields,
    is_nullable,
    members_of,
    tag_of,
    type_hints,
    unwrap,
)

T = TypeVar("T")


@define
class Attrs:
    """A class.

    Args:
        a: from the docstring
    """

    a: int
    b: str | None = None
    c: list[int] = field(factory=list, metadata={"description": "from the metadata"})
    d: int = field(default=1, init=False)
    _e: int = 0


@dataclass
class Data:
    a: int
    b: list[int] = dataclass_field(default_factory=list)
    c: str = "x"


class Typed(TypedDict):
    a: int
    b: NotRequired[str]


class Named(NamedTuple):
    a: int
    b: str = "x"


@define
class Box(Generic[T]):
    content: T


@pytest.mark.parametrize("tp", [Attrs, Data, Typed, Named, Box[int]])
def test_classes_with_named_fields_are_recognised(tp: Any) -> None:
    assert has_fields(tp)


@pytest.mark.parametrize("tp", [int, str, list[int], dict[str, int], tuple, Any, None, int | str])
def test_other_types_have_no_fields(tp: Any) -> None:
    assert not has_fields(tp)


@pytest.mark.parametrize(
    ("tp", "required"),
    [
        (Attrs, {"a": True, "b": False, "c": False, "_e": False}),
        (Data, {"a": True, "b": False, "c": False}),
        (Typed, {"a": True, "b": False}),
        (Named, {"a": True, "b": False}),
    ],
)
def test_fields_come_in_their_order_with_whether_they_are_required(tp: Any, required: Any) -> None:
    specs = fields_of(tp)
    assert {spec.name: spec.required for spec in specs} == required
    assert [spec.name for spec in specs] == list(required)


def test_keys_and_descriptions_are_the_authors() -> None:
    specs = {spec.name: spec for spec in fields_of(Attrs)}
    assert specs["_e"].key == "e"
    assert specs["a"].description == "from the docstring"
    assert specs["c"].description == "from the metadata"
    assert (specs["b"].nullable, specs["a"].nullable) == (True, False)


def test_the_arguments_of_a_generic_class_are_put_into_its_fields() -> None:
    assert fields_of(Box[int])[0].type is int
    assert fields_of(Box[list[str]])[0].type == list[str]


def test_an_annotation_that_cannot_be_resolved_is_a_config_error() -> None:
    made = type("Made", (), {"__annotations__": {"a": "Nowhere"}})
    with pytest.raises(ConfigError, match="Nowhere"):
        type_hints(made)


UserId = NewType("UserId", int)


@pytest.mark.parametrize(
    ("tp", "bare"),
    [
        (UserId, int),
        (Annotated[UserId, "a note"], int),
        (NotRequired[str], str),
        (None, type(None)),
        (list[int], list[int]),
    ],
)
def test_wrappers_are_taken_off(tp: Any, bare: Any) -> None:
    assert unwrap(tp)[0] == bare


def test_unions_are_flattened() -> None:
    assert members_of(int | Annotated[str | None, "x"]) == (int, str, type(None))
    assert members_of(int) == (int,)
    assert is_nullable(int | None)
    assert not is_nullable(int)


@define
class Cat:
    kind: Literal["cat"]


@define
class Dog:
    kind: Literal["dog"]


def test_classes_that_carry_their_own_tag_keep_it() -> None:
    assert tag_of((Cat, Dog)).key == "kind"


def test_a_class_has_a_name_for_the_schema() -> None:
    assert class_name(Cat) == "Cat"
    assert class_name(Box[int]).startswith("Box")
