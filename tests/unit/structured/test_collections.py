"""JSON arrays and objects as collections: strictly, each wrong element with its index."""

import collections
import enum
from collections import abc
from typing import Any

import pytest

from laplas_async.structured.collections import is_array, is_mapping, is_set, item_types
from laplas_async.structured.converter import default_converter
from laplas_async.structured.problems import problems_in

CONVERTER = default_converter(lenient=False)


class Color(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("tp", "given", "value"),
    [
        (list[int], [1, 2], [1, 2]),
        (list, [1, "a"], [1, "a"]),
        (abc.Sequence[int], [1], [1]),
        (abc.Iterable[int], [1], [1]),
        (tuple[int, ...], [1, 2], (1, 2)),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[()], [], ()),
        (set[int], [1, 2], {1, 2}),
        (frozenset[int], [1], frozenset({1})),
        (collections.deque[int], [1], collections.deque([1])),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (dict[int, str], {"1": "a"}, {1: "a"}),
        (dict[Color, int], {"red": 1}, {Color.RED: 1}),
        (abc.Mapping[str, list[int]], {"a": [1]}, {"a": [1]}),
    ],
)
def test_a_collection_is_read(tp: Any, given: Any, value: Any) -> None:
    made = CONVERTER.structure(given, tp)
    assert made == value
    assert type(made) is type(value)


@pytest.mark.parametrize(
    ("tp", "given", "paths"),
    [
        (list[int], "12", [""]),
        (list[int], {"0": 1}, [""]),
        (list[int], [1, "2", 3, None], ["[1]", "[3]"]),
        (set[int], [[1]], ["[0]"]),
        (tuple[int, str], [1], [""]),
        (tuple[int, str], [1, "a", 2], [""]),
        (tuple[int, str], ["a", 1], ["[0]", "[1]"]),
        (dict[str, int], [["a", 1]], [""]),
        (dict[str, int], {"a": "1", "b": 2}, ["a"]),
        (dict[int, int], {"x": 1}, ["x"]),
    ],
)
def test_what_does_not_fit_is_reported_with_its_place(tp: Any, given: Any, paths: Any) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of whatever class
        CONVERTER.structure(given, tp)
    assert [problem.path for problem in problems_in(caught.value, CONVERTER)] == paths


@pytest.mark.parametrize(
    ("tp", "array", "a_set", "mapping"),
    [
        (list[int], True, False, False),
        (set, True, True, False),
        (tuple[int, ...], True, False, False),
        (dict[str, int], False, False, True),
        (abc.Mapping, False, False, True),
        (str, False, False, False),
    ],
)
def test_kinds_of_types_are_distinguished_by_their_origin(
    tp: Any, *, array: bool, a_set: bool, mapping: bool
) -> None:
    assert (is_array(tp), is_set(tp), is_mapping(tp)) == (array, a_set, mapping)


@pytest.mark.parametrize(
    ("tp", "types"),
    [
        (list[int], (int, None)),
        (list, (Any, None)),
        (tuple[int, ...], (int, None)),
        (tuple[int, str], (Any, (int, str))),
        (tuple[()], (Any, ())),
        (tuple, (Any, None)),
    ],
)
def test_the_types_of_elements_are_known(tp: Any, types: Any) -> None:
    assert item_types(tp) == types
