"""Typed values out of text that is still arriving."""

from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field, validators

from laplas_async import ConfigError, OutputType
from laplas_async.structured.partial_output import MAX_BLANKS, PartialOutput
from laplas_async.structured.reading import Mismatch


@define
class Line:
    sku: str
    price: Decimal
    count: int = field(default=1, validator=validators.ge(1))


@define
class Order:
    customer: str
    lines: list[Line]
    tags: list[str] = field(factory=list)


@define
class Letter:
    order: Order


LINES = '{"sku": "a", "price": "1.5"}, {"sku": "b", "price": 2, "count": null}'
TEXT = f'```json\n{{"customer": "Ada", "lines": [{LINES}], "tags": ["x", "y"]}}\n```'
EXPECTED = [Line("a", Decimal("1.5")), Line("b", Decimal(2))]


def drained(reader: Any) -> list[Any]:
    got = []
    while found := reader.next():
        got += found
    return got


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_each_element_is_given_once_it_is_complete(size: int) -> None:
    partial = PartialOutput(OutputType(Order))
    lines, tags = partial.items("lines"), partial.items("tags")
    got_lines, got_tags = [], []
    for at in range(0, len(TEXT), size):
        partial.feed(TEXT[at : at + size])
        got_lines += drained(lines)
        got_tags += drained(tags)
    final = partial.output.read(TEXT)
    assert got_lines + lines.finish(final) == EXPECTED
    assert got_tags + tags.finish(final) == ["x", "y"]
    assert partial.value == final


def test_an_element_is_given_with_the_brace_that_closes_it() -> None:
    partial = PartialOutput(OutputType(Order))
    items = partial.items("lines")
    partial.feed('{"customer": "Ada", "lines": [{"sku": "a", "price": 1')
    assert drained(items) == []
    partial.feed("}")
    assert drained(items) == [Line("a", Decimal(1))]


def test_the_partial_value_is_typed_where_it_is_complete() -> None:
    partial = PartialOutput(OutputType(Order))
    assert partial.value is None
    partial.feed('{"customer": "Ada", "lines": [{"sku": "a", "price": "1"}, {"sku": "b", "pri')
    assert partial.value == {"customer": "Ada", "lines": [Line("a", Decimal(1)), {"sku": "b"}]}
    partial.feed('ce": "2", "count": 5}], "tags": ["op')
    value: Any = partial.value
    assert value["lines"][1] == Line("b", Decimal(2), 5)
    assert partial.open_string == "op"


def test_an_element_that_does_not_fit_is_reported_with_its_path() -> None:
    partial = PartialOutput(OutputType(Order))
    items = partial.items("lines")
    partial.feed('{"lines": [{"sku": "a", "price": 1}, {"sku": "b", "price": 1, "count": 0}')
    assert items.next() == [Line("a", Decimal(1))]
    with pytest.raises(Mismatch) as caught:
        items.next()
    assert str(caught.value) == "lines[1].count: 'count' must be >= 1: 0"


def test_paths_go_through_classes_and_wrapped_roots() -> None:
    partial = PartialOutput(OutputType(Letter))
    items = partial.items("order.lines")
    partial.feed(f'{{"order": {{"customer": "x", "lines": [{LINES}]}}}}')
    assert drained(items) + items.finish(partial.value) == EXPECTED
    wrapped = PartialOutput(OutputType(list[Line]))
    items = wrapped.items("")
    wrapped.feed(f'{{"value": [{LINES}]')
    assert drained(items) == EXPECTED
    bare = PartialOutput(OutputType(list[Line]))
    items = bare.items("")
    bare.feed(f"[{LINES}")
    assert drained(items) == EXPECTED


@pytest.mark.parametrize("path", ["customer", "nothing", "lines.sku", ""])
def test_a_path_without_a_list_is_a_config_error(path: str) -> None:
    with pytest.raises(ConfigError):
        PartialOutput(OutputType(Order)).items(path)


def test_thoughts_yield_nothing() -> None:
    partial = PartialOutput(OutputType(Order))
    items = partial.items("lines")
    partial.feed(f'<think>{{"lines": [{LINES}]}}')
    assert drained(items) == []
    assert partial.value is None


@pytest.mark.parametrize("start", ["", '{"customer": "Ada",', '{"customer": "Ada", "lines": []}'])
def test_endless_white_space_is_noticed(start: str) -> None:
    partial = PartialOutput(OutputType(Order))
    partial.feed(start)
    for _ in range(MAX_BLANKS // 2):
        partial.feed("\n ")
    assert not partial.is_endless
    for _ in range(600):
        partial.feed("\n ")
    assert partial.is_endless


def test_broken_json_is_left_to_the_whole_answer() -> None:
    partial = PartialOutput(OutputType(Order))
    partial.feed('{"customer": oops}')
    assert partial.value == {}
