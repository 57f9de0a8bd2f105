"""The incremental parser: any chunking, only complete values, linear effort."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.structured.partial import (
    MAX_DEPTH,
    MISSING,
    JSONSyntaxError,
    PartialParser,
    Shape,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


def fed(text: str, size: int) -> PartialParser:
    parser = PartialParser()
    for at in range(0, len(text), size):
        parser.feed(text[at : at + size])
    return parser


def pieces(text: str, cuts: list[int]) -> list[str]:
    places = sorted({cut % (len(text) + 1) for cut in cuts} | {0, len(text)})
    return [text[a:b] for a, b in pairwise(places)]


@given(
    JSON, st.booleans(), st.sampled_from([None, 1]), st.lists(st.integers(0, 500)), st.booleans()
)
def test_any_chunking_gives_the_value_that_json_gives(
    value: Any, ascii_only: bool, indent: int | None, cuts: list[int], lazily: bool
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    parser = PartialParser()
    for piece in pieces(text, cuts):
        if lazily:
            parser.feed_lazily(piece)
        else:
            parser.feed(piece)
            parser.open_string()
    assert parser.finish()
    assert parser.value == json.loads(text)


@given(
    st.text(st.sampled_from('{}[]",:\\ntrue1-.e \ud83d'), max_size=40), st.lists(st.integers(0, 40))
)
def test_any_chunking_gives_the_same_verdict_on_broken_text(text: str, cuts: list[int]) -> None:
    def verdict(parts: list[str]) -> object:
        parser = PartialParser()
        try:
            for part in parts:
                parser.feed(part)
            return parser.finish(), repr(parser.value)
        except JSONSyntaxError:
            return "wrong"

    assert verdict(pieces(text, cuts)) == verdict([text])


@pytest.mark.parametrize(
    "text", ['{"a": t', '{"a": 1', '{"a": "x', '{"a": "\\u00', '{"a"', '{"a":']
)
def test_what_is_not_complete_is_not_shown(text: str) -> None:
    parser = PartialParser()
    parser.feed(text)
    assert parser.value == {}
    assert not parser.finish()


def test_containers_are_shown_from_their_bracket_on_and_grow_in_place() -> None:
    parser = PartialParser()
    parser.feed('{"lines": [{"id": 1, "n')
    value = parser.value
    assert value == {"lines": [{"id": 1}]}
    parser.feed('ame": "x"}, 2]}')
    assert value == {"lines": [{"id": 1, "name": "x"}, 2]}
    assert parser.complete


def test_an_open_string_is_given_on_request_without_half_an_escape() -> None:
    parser = PartialParser()
    shown = []
    for char in '{"a": "x\\n\\u00e9\\ud83d\\ude00\\\\"':
        parser.feed(char)
        shown.append(parser.open_string())
    seen = [text for text in shown if text is not None]
    assert seen[-1] == "x\né😀\\"
    assert all(seen[-1].startswith(text) for text in seen)
    assert all(char < "\ud800" or char > "\udfff" for text in seen for char in text)


def test_a_lone_surrogate_becomes_a_replacement_character() -> None:
    parser = PartialParser()
    parser.feed('["\\ud800x", "\\ude00"]')
    assert parser.value == ["\ufffdx", "\ufffd"]


@pytest.mark.parametrize(
    "text",
    [
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1e999}',
        '{"a": 01}',
        '{"a": tru}',
        '{"a": 1, "a": 2}',
        '{"a": 1,}',
        "[1,]",
        "[1}",
        '{"a" 1}',
        "{'a': 1}",
        '{"a": "\\x"}',
        "]",
        "[" * (MAX_DEPTH + 2),
        "[" + "1" * 5000,
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_what_is_no_json_is_refused(text: str, size: int) -> None:
    with pytest.raises(JSONSyntaxError):
        fed(text, size)


def test_a_shape_converts_each_value_when_it_is_complete() -> None:
    shape = Shape(fields={"n": Shape(str), "items": Shape(tuple, items=Shape(lambda v: v["x"]))})
    parser = PartialParser(shape)
    parser.feed('{"n": 1, "items": [{"x": 5}, {"x": 6')
    assert parser.value == {"n": "1", "items": [5, {}]}
    parser.feed("}]")
    assert parser.value == {"n": "1", "items": (5, 6)}


def test_a_value_that_cannot_be_converted_stays_as_it_is() -> None:
    parser = PartialParser(Shape(items=Shape(int)))
    parser.feed('["x", "5"]')
    assert parser.value == ["x", 5]


def test_blanks_between_tokens_are_counted() -> None:
    parser = PartialParser()
    for _ in range(100):
        parser.feed("\n  ")
    assert parser.blanks == 300
    parser.feed('{"a": "')
    parser.feed(" " * 1000)  # inside a string they count for nothing
    assert parser.blanks == 0


def test_nothing_was_fed() -> None:
    assert PartialParser().value is MISSING
    assert not PartialParser().finish()


def test_a_number_at_the_root_ends_with_the_text() -> None:
    parser = PartialParser()
    parser.feed("12")
    assert parser.value is MISSING
    assert parser.finish()
    assert parser.value == 12


def test_the_effort_is_linear_in_the_text() -> None:
    """Counted in characters that the scanner is given, so that no clock is needed."""
    scanned = 0

    class Counting(PartialParser):
        __slots__ = ()

        def _token(self, text: str, at: int) -> int:
            nonlocal scanned
            end = super()._token(text, at)
            scanned += end - at
            return end

    text = '{"a": [' + '{"x": "y", "z": [1, 2]}, ' * 500 + "0]}"
    parser = Counting()
    for at in range(0, len(text), 4):
        parser.feed_lazily(text[at : at + 4])
    assert parser.finish()
    assert scanned <= len(text)
