"""Which fragment belongs to which tool call, however the server identifies calls."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.types import FunctionCallDelta, ToolCallDelta
from laplas_async.wire.tool_calls import GrowingCalls

Fragment = tuple[int | None, str | None, str | None, str | None]  # index, id, name, arguments


def grown(fragments: list[Fragment]) -> list[tuple[str, str, str]]:
    calls = GrowingCalls()
    for index, id_, name, arguments in fragments:
        calls.add([ToolCallDelta(index, id_, None, FunctionCallDelta(name, arguments))])
    values = [call.value() for call in calls.calls]
    return [(call.id, call.function.name, call.function.arguments) for call in values]


CASES: dict[str, tuple[list[Fragment], list[tuple[str, str, str]]]] = {
    "by index": (
        [(0, "a", "f", ""), (1, "b", "g", ""), (0, None, None, "{}"), (1, None, None, "[]")],
        [("a", "f", "{}"), ("b", "g", "[]")],
    ),
    "by id at one index": (
        [(0, "a", "f", "{"), (0, "b", "g", "{"), (0, "a", None, "}"), (0, "b", None, "}")],
        [("a", "f", "{}"), ("b", "g", "{}")],
    ),
    "by neither": ([(None, None, "f", "{"), (None, None, None, "}")], [("", "f", "{}")]),
    "a name after whole arguments": (
        [(0, "", "f", "{}"), (0, "", "g", "{}")],
        [("", "f", "{}"), ("", "g", "{}")],
    ),
    "a name after a whole list": (
        [(0, "", "f", "[1]"), (0, "", "g", "[2]")],
        [("", "f", "[1]"), ("", "g", "[2]")],
    ),
    "a name after null": (
        [(0, "", "f", "null"), (0, "", "g", "null")],
        [("", "f", "null"), ("", "g", "null")],
    ),
    "the name in pieces": (
        [(0, "a", "get_", ""), (0, "a", "time", "{}")],
        [("a", "get_time", "{}")],
    ),
    "the name repeated": ([(0, "a", "f", "{"), (0, "a", "f", "}")], [("a", "f", "{}")]),
    "an id for each piece": ([(0, "a", "f", "{"), (0, "b", None, "}")], [("a", "f", "{}")]),
    "the id comes later": ([(0, None, "f", "{"), (0, "a", None, "}")], [("a", "f", "{}")]),
    "an index from 1": ([(1, "a", "f", "{"), (1, None, None, "}")], [("a", "f", "{}")]),
}


@pytest.mark.parametrize(("fragments", "calls"), CASES.values(), ids=CASES.keys())
def test_fragments_find_their_call(fragments: list[Fragment], calls: Any) -> None:
    assert grown(fragments) == calls


def test_one_chunk_that_names_two_calls_without_ids_begins_two() -> None:
    calls = GrowingCalls()
    calls.add([ToolCallDelta(0, "", None, FunctionCallDelta(name, "")) for name in ("f", "g")])
    assert [call.name for call in calls.calls] == ["f", "g"]


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=5)), st.data())
def test_arguments_cut_anywhere_stay_one_call(value: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(value)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    first: list[Fragment] = [(0, "", "f", "")]
    assert grown(first + [(0, "", "f", piece) for piece in pieces]) == [("", "f", text)]


def test_the_pieces_of_a_call_can_be_extended_by_its_index() -> None:
    calls = GrowingCalls()
    calls.add([ToolCallDelta(2, "a", "function", FunctionCallDelta("f", "{"))])
    calls.arguments(2).append("}")
    assert calls.size == 2
    assert calls.calls[0].value().function.arguments == "{}"


def test_unknown_fields_and_the_type_are_kept() -> None:
    calls = GrowingCalls()
    function = FunctionCallDelta("f", "{}", {"note": "a"})
    calls.add([ToolCallDelta(0, "a", "custom", function, {"more": 1})])
    call = calls.calls[0].value()
    assert (call.type, call.extra, call.function.extra) == ("custom", {"more": 1}, {"note": "a"})
