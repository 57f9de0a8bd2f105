"""What the strict hooks accept, refuse and report."""

import enum
import typing
from dataclasses import dataclass
from dataclasses import field as dc_field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar
from uuid import UUID

import pytest
from attrs import define, field, frozen, validators

from laplas_async import strict_converter
from laplas_async.structured.converter import default_converter
from laplas_async.structured.problems import problems_in

T = TypeVar("T")


class Currency(enum.Enum):
    EUR = "EUR"
    USD = "USD"


@define
class Line:
    """One line of an invoice."""

    sku: str = field(validator=validators.min_len(2), metadata={"description": "article number"})
    price: Annotated[Decimal, "for one piece"]
    count: int = field(default=1, validator=[validators.ge(1), validators.le(99)])


@frozen
class Invoice:
    """An invoice.

    Attributes:
        number: as printed at the top
    """

    number: int
    day: date
    lines: list[Line]
    currency: Currency = Currency.EUR
    note: str | None = None


@define
class Node:
    name: str
    children: "list[Node]" = field(factory=list)


@define
class Circle:
    radius: float


@define
class Square:
    side: float


@define
class Drawing:
    shape: Circle | Square


@define
class Cat:
    kind: Literal["cat"]
    lives: int


@define
class Dog:
    kind: Literal["dog"]
    good: bool


@dataclass
class Point:
    x: int
    y: int = 0
    tags: list[str] = dc_field(default_factory=list)


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Pair(NamedTuple):
    left: int
    right: str = "r"


@define
class Box(Generic[T]):
    content: T


@define
class Everything:
    at: datetime
    day: date
    clock: time
    length: timedelta
    id: UUID
    amount: Decimal
    flag: bool
    ratio: float
    kinds: set[Currency]
    pair: tuple[int, str]
    many: tuple[int, ...]
    either: int | str
    level: Literal["low", "high", 3]
    point: Point
    movie: Movie


EVERYTHING = {
    "at": "2024-05-17T09:30:00Z",
    "day": "2024-05-17",
    "clock": "09:30:00",
    "length": "PT1H30M",
    "id": "8c5e2c4a-7a53-4b1e-9d39-0d6f4f6c1b2a",
    "amount": "12.50",
    "flag": True,
    "ratio": 1,
    "kinds": ["EUR"],
    "pair": [1, "a"],
    "many": [1, 2, 3],
    "either": "x",
    "level": 3,
    "point": {"x": 1, "y": None, "tags": ["t"]},
    "movie": {"title": "M"},
}
INVOICE = {
    "number": 7,
    "day": "2024-05-17",
    "lines": [{"sku": "ab", "price": "1.20", "count": None}],
    "currency": None,
    "note": None,
}


def problems(value: object, tp: typing.Any, *, lenient: bool = False) -> list[str]:
    converter = default_converter(lenient=lenient)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever a hook raises
        converter.structure(value, tp)
    return [str(problem) for problem in problems_in(caught.value, converter)]


def read(value: object, tp: typing.Any, *, lenient: bool = False) -> typing.Any:
    return default_converter(lenient=lenient).structure(value, tp)


def test_reads_every_kind_of_field() -> None:
    made = read(EVERYTHING, Everything)
    assert made.length == timedelta(minutes=90)
    assert made.amount == Decimal("12.50")
    assert made.kinds == {Currency.EUR}
    assert made.pair == (1, "a")
    assert made.many == (1, 2, 3)
    assert made.point == Point(1, 0, ["t"])
    assert made.movie == {"title": "M"}
    assert made.level == 3
    assert type(made.ratio) is float


def test_null_selects_a_default_unless_null_is_a_value() -> None:
    made = read(INVOICE, Invoice)
    assert made.currency is Currency.EUR
    assert made.lines[0].count == 1
    assert made.note is None


@pytest.mark.parametrize(
    ("value", "tp"),
    [
        ("false", bool),
        (1, bool),
        (None, str),
        (5, str),
        (5.7, int),
        (True, int),
        ("5", int),
        (1e300, int),
        ("1", float),
        (True, float),
        (float("inf"), float),
        (10**400, float),
        ("abc", list[str]),
        ({"a": 1}, list[str]),
        ([], dict[str, int]),
        ([], Point),
        ("2024-05-17", datetime),
        ("20240517", date),
        ("PT", timedelta),
        ("P1Y", timedelta),
        ("12", time),
        ("NaN", Decimal),
        ("8c5e2c4a", UUID),
        (True, typing.Literal[1]),
        (1, typing.Literal[True]),
        ("EUro", Currency),
        ([1], tuple[int, str]),
        ({"x": 1, "z": 2}, Point),
        ({"title": "M", "years": 1}, Movie),
    ],
)
def test_refuses_what_would_have_to_be_invented(value: object, tp: object) -> None:
    assert problems(value, tp)


def test_five_point_zero_is_the_integer_five() -> None:
    assert read(5.0, int) == 5


def test_lenient_reads_spelled_booleans_and_numbers_and_nothing_else() -> None:
    assert read("false", bool, lenient=True) is False
    assert read(" 5 ", int, lenient=True) == 5
    assert read("5.5", float, lenient=True) == 5.5
    assert problems("yes", bool, lenient=True)
    assert problems("5.7", int, lenient=True)
    assert problems(5, str, lenient=True)


def test_reports_every_problem_with_its_path() -> None:
    value = {
        "number": "x",
        "day": "2024-13-01",
        "lines": [{"sku": "a", "price": "1", "count": 0}, {"sku": "ab"}, 7],
        "currency": "GBP",
        "extra": 1,
    }
    assert problems(value, Invoice) == [
        "number: expected an integer, got 'x'",
        "day: expected a date like 2024-05-17, got '2024-13-01'",
        "lines[0].sku: Length of 'sku' must be >= 2: 1",
        "lines[0].count: 'count' must be >= 1: 0",
        "lines[1].price: is missing",
        "lines[2]: expected an object (Line), got 7",
        "currency: expected one of 'EUR', 'USD', got 'GBP'",
        "extra: is not a field",
    ]


def test_recursive_classes_are_read_to_any_depth() -> None:
    value: dict[str, object] = {"name": "leaf"}
    for _ in range(50):
        value = {"name": "inner", "children": [value]}
    made = read(value, Node)
    depth = 0
    while made.children:
        made, depth = made.children[0], depth + 1
    assert (made.name, depth) == ("leaf", 50)


def test_a_union_of_classes_is_distinguished_by_its_tag() -> None:
    assert read({"shape": {"type": "Square", "side": 1}}, Drawing).shape == Square(1.0)
    assert read({"shape": {"radius": 1}}, Drawing).shape == Circle(1.0)
    assert problems({"shape": {"type": "Hexagon", "side": 1}}, Drawing) == [
        "shape.type: expected one of 'Circle', 'Square', got 'Hexagon'"
    ]


def test_classes_with_a_literal_of_their_own_need_no_other_tag() -> None:
    assert read({"kind": "dog", "good": True}, Cat | Dog) == Dog("dog", good=True)
    assert problems({"kind": "dog", "lives": 9}, Cat | Dog) == [
        "good: is missing",
        "lives: is not a field",
    ]


def test_a_union_prefers_the_exact_type() -> None:
    assert read(5, float | int) == 5
    assert type(read(5, float | int)) is int
    assert read("2024-05-17", str | date) == "2024-05-17"
    assert read(None, int | None) is None
    assert problems([], int | str | None) == ["expected an integer or text or null, got []"]


def test_generic_classes_and_named_tuples() -> None:
    assert read({"content": 5}, Box[int]) == Box(5)
    assert problems({"content": "5"}, Box[int]) == ["content: expected an integer, got '5'"]
    assert read({"left": 1, "right": None}, Pair) == Pair(1, "r")


def test_constraints_in_annotated_are_checked() -> None:
    even = Annotated[int, validators.ge(2), validators.le(4)]
    assert read(4, even) == 4
    assert problems(5, even) == ["must be at most 4"]
    assert problems([1], list[even]) == ["[0]: must be at least 2"]


def test_values_that_are_of_the_type_already_pass() -> None:
    line = Line("ab", Decimal(1))
    assert read({**INVOICE, "lines": [line]}, Invoice).lines == [line]


def test_a_converter_takes_hooks_of_the_callers_own_types() -> None:
    class Celsius(float):
        pass

    converter = strict_converter()
    converter.register_structure_hook(Celsius, lambda value, _: Celsius(value))
    assert isinstance(converter.structure(21, Celsius), Celsius)


def test_integer_keys_are_read_from_text() -> None:
    assert read({"1": "a"}, dict[int, str]) == {1: "a"}
    assert problems({"x": "a"}, dict[int, str]) == ["x: the key 'x' is no integer"]
    assert read({"EUR": 1}, dict[Currency, int]) == {Currency.EUR: 1}


def test_a_validator_that_compares_fields_sees_them_all() -> None:
    @define
    class Span:
        first: int
        last: int = field()

        @last.validator
        def _check(self, attribute: object, value: int) -> None:
            if value < self.first:
                raise ValueError("last is before first")

    assert problems({"first": 2, "last": 1}, Span) == ["last: last is before first"]
    assert problems({"first": "x", "last": 1}, Span) == ["first: expected an integer, got 'x'"]
