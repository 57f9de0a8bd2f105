"""From cattrs' nested errors to a flat list of problems with the paths of the JSON."""

from typing import Any

import pytest
from attrs import define, field, validators

from laplas_async.errors import Problem
from laplas_async.structured.converter import default_converter
from laplas_async.structured.problems import join, problems_in, summary


@define
class Item:
    name: str = field(validator=validators.min_len(2))
    price: float = field(validator=validators.gt(0))


@define
class Order:
    items: list[Item]
    by_day: dict[str, Item] = field(factory=dict)
    sku: str = field(default="", alias="stock")


def problems(value: Any, tp: Any = Order) -> list[tuple[str, str]]:
    converter = default_converter(lenient=False)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of whatever class, it is flattened
        converter.structure(value, tp)
    return [(one.path, one.message) for one in problems_in(caught.value, converter)]


@pytest.mark.parametrize(
    ("path", "part", "joined"),
    [
        ("", "a", "a"),
        ("a", "b", "a.b"),
        ("a", 2, "a[2]"),
        ("", 0, "[0]"),
        ("a", "not plain", "a['not plain']"),
        ("a", "1st", "a['1st']"),
        ("", "größe", "größe"),
    ],
)
def test_a_path_reads_like_python(path: str, part: str | int, joined: str) -> None:
    assert join(path, part) == joined


def test_every_problem_is_found_with_its_path() -> None:
    value = {
        "items": [{"name": "ab", "price": 1}, {"name": 5, "price": "x"}, {}],
        "by_day": {"mon day": {"name": "ab"}},
        "extra": 1,
    }
    found = dict(problems(value))
    assert set(found) == {
        "items[1].name",
        "items[1].price",
        "items[2].name",
        "items[2].price",
        "by_day['mon day'].price",
        "extra",
    }
    assert found["items[2].name"] == "is missing"
    assert found["extra"] == "is not a field"


def test_paths_use_the_keys_of_the_json() -> None:
    assert problems({"items": [], "stock": 5})[0][0] == "stock"


def test_all_validators_of_a_class_run() -> None:
    paths = [path for path, _ in problems({"items": [{"name": "a", "price": -1}]})]
    assert paths == ["items[0].name", "items[0].price"]


def test_the_value_itself_has_an_empty_path() -> None:
    assert problems([])[0][0] == ""


def test_a_summary_shows_twenty_problems_and_how_many_more() -> None:
    found = [Problem(f"a[{number}]", "is wrong") for number in range(25)]
    lines = summary(found).splitlines()
    assert lines[0] == "a[0]: is wrong"
    assert lines[-1] == "and 5 more"
    assert len(lines) == 21
    assert summary(found[:20]).splitlines()[-1] == "a[19]: is wrong"
