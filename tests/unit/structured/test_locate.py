"""Where the JSON begins, whatever comes before it and however the text is cut."""

import pytest

from laplas_async.structured.locate import Locator

CASES = [
    ('{"a": 1}', '{"a": 1}'),
    ("{}", "{}"),
    ('```json\n{"a": 1}\n```', '{"a": 1}\n```'),
    ('Sure, with {name} filled in:\n{ "a": 1}', '{ "a": 1}'),
    ('<think>{"draft": 1}</think>{"a": 1}', '{"a": 1}'),
    ('<thinking>{"draft": 1}</thinking>\n{"a": 1}', '{"a": 1}'),
    ('Well. <think>a < b {"x": 1}</think> <think>again</think> {"a": 1}', '{"a": 1}'),
    ('<think>{"draft": 1}', ""),
    ('<Think>\u0130{"draft": 1}</THINK>{"a": 1}', '{"a": 1}'),
    ("no JSON {at all}", ""),
    ("", ""),
    ('a < b and <b>bold</b>: {"a": 1}', '{"a": 1}'),
    ("{      \n\n    ", ""),
]
ARRAYS = [
    ("[1, 2]", "[1, 2]"),
    ("```json\n[1]\n```", "[1]\n```"),
    ("<think>[0]</think>\n[1]", "[1]"),
    ('as in [1]: {"value": [1]}', '{"value": [1]}'),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("text", "found"), CASES)
def test_json_is_found_in_any_chunking(text: str, found: str, size: int) -> None:
    locator = Locator()
    got = "".join(locator.feed(text[at : at + size]) for at in range(0, len(text), size))
    assert got.replace(" ", "") == found.replace(" ", "")
    assert locator.found is bool(found)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("text", "found"), ARRAYS)
def test_an_array_counts_only_as_the_first_thing(text: str, found: str, size: int) -> None:
    locator = Locator(arrays=True)
    assert "".join(locator.feed(text[i : i + size]) for i in range(0, len(text), size)) == found


def test_text_without_json_is_not_kept() -> None:
    locator = Locator()
    for _ in range(1000):
        locator.feed("{ \n <abc ")
    assert len(locator._held) < 20
    assert len(locator._lead) < 100
