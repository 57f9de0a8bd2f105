"""From text to object: what is found, what is refused, and what the errors say."""

import pytest
from attrs import define

from laplas_async import ConfigError, OutputType
from laplas_async.structured.reading import Mismatch, NoJSON, find_partial, find_value


@define
class Person:
    name: str
    age: int = 0


PERSON: OutputType[Person] = OutputType(Person)
ADA = '{"name": "Ada", "age": 36}'


@pytest.mark.parametrize(
    "text",
    [
        ADA,
        f"```json\n{ADA}\n```",
        f"Here you are:\n\n{ADA}",
        f"{ADA}\n\nI hope that {{helps}}.",
        f'<think>{{"name": "draft"}}</think>{ADA}',
        f'{{"name": "draft"}}\n</think>\n{ADA}',
        f'\u0130{{"name": "draft"}}</Think>{ADA}',
        '{"name": "Ada",\n "age": 36.0}',
    ],
)
def test_the_object_is_found_in_what_is_around_it(text: str) -> None:
    assert PERSON.read(text) == Person("Ada", 36)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (" \n ", "is empty"),
        ("I cannot do that.", "no JSON"),
        (f"{ADA} {ADA}", "more than one"),
        (f"{ADA} and also {{}}", "more than one"),
        ('{"name": "Ada", "age": NaN}', "broken"),
        ('{"name": "Ada", "name": "Bob"}', "twice"),
        ('{"name": "Ada", "age": 1e999}', "too large"),
        ('{"name": "Ada", "age": 3', "ends in the middle"),
        ('{"name": "Ad', "ends in the middle"),
        ('{"name": "Ada", oops, "x": {"name": "Bob"}}', "broken"),
        ('{"a":' * 5000, "nested"),
        ('<think>{"name": "draft"}', "no JSON"),
    ],
)
def test_what_is_no_single_json_object_is_refused(text: str, words: str) -> None:
    with pytest.raises(NoJSON, match=words):
        PERSON.read(text)


def test_whether_json_is_cut_is_known() -> None:
    with pytest.raises(NoJSON) as cut:
        find_value('{"name": "Ad')
    with pytest.raises(NoJSON) as broken:
        find_value('{"name" "Ada"}')
    assert (cut.value.cut, broken.value.cut) == (True, False)


def test_control_characters_in_strings_and_escaped_surrogates_are_readable() -> None:
    assert PERSON.read('{"name": "A\nda"}').name == "A\nda"
    assert PERSON.read('{"name": "\\ud83d\\ude00\\ud800"}').name == "😀\ufffd"


def test_a_mismatch_lists_every_problem() -> None:
    with pytest.raises(Mismatch) as caught:
        PERSON.read('{"age": 5.7, "size": 1}')
    assert [str(problem) for problem in caught.value.problems] == [
        "name: is missing",
        "age: expected an integer, got 5.7",
        "size: is not a field",
    ]


def test_types_that_are_no_object_are_wrapped_and_unwrapped() -> None:
    numbers: OutputType[list[int]] = OutputType(list[int])
    assert numbers.schema.schema["required"] == ["value"]
    assert numbers.read('{"value": [1, 2]}') == [1, 2]
    assert numbers.read("```json\n[1, 2]\n```") == [1, 2]
    assert OutputType(int).read('{"value": 5}') == 5
    assert OutputType(Person | None).read('{"value": null}') is None


def test_lenient_reading_is_opt_in() -> None:
    assert OutputType(Person, lenient=True).read('{"name": "Ada", "age": "36"}').age == 36
    with pytest.raises(Mismatch):
        PERSON.read('{"name": "Ada", "age": "36"}')


def test_a_type_that_json_cannot_express_is_refused() -> None:
    for tp in (bytes, complex, type):
        with pytest.raises(ConfigError, match="no JSON form"):
            OutputType(tp)


def test_the_complete_values_of_cut_json_are_found() -> None:
    assert find_partial('So: {"name": "Ada", "tags": ["x", "y') == {"name": "Ada", "tags": ["x"]}
    assert find_partial("nothing") is None
