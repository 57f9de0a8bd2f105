"""Calls and arguments as models really write them."""

from typing import Any

import pytest

from laplas_async import ChatCompletion, Choice, FunctionCall, Message, ToolCall
from laplas_async.structured.reading import NoJSON
from laplas_async.tools.arguments import calls_in, read_arguments


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (None, {}),
        ("", {}),
        (" ", {}),
        ("null", {}),
        ("{}", {}),
        ('{"a": 1}', {"a": 1}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('""', {}),
        ("{'a': True, 'b': None}", {"a": True, "b": None}),
        ('{"a": "\\ud800"}', {"a": "\ufffd"}),
    ],
)
def test_arguments_are_read(text: str | None, value: dict[str, Any]) -> None:
    assert read_arguments(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "{'a': 1e999}",
        '{"a": 1}}',
        '{"a": 1} done',
        '{"a": 1',
        '{"a": "x',
        "[1]",
        "5",
        '{"a": NaN}',
        '{"a": 1, "a": 2}',
        "{'a': __import__('os')}",
        "{'a': {1, 2}}",
        "{1: 2}",
        "{'a': 1, 'a': 2}",
        "{" * 5000,
        "{'a': " + "1" * 30_000 + "}",
    ],
)
def test_what_is_cut_or_no_object_is_refused(text: str) -> None:
    with pytest.raises(NoJSON):
        read_arguments(text)


def completion(text: str = "", *calls: ToolCall) -> ChatCompletion:
    return ChatCompletion(choices=[Choice(message=Message(content=text, tool_calls=[*calls]))])


def found(text: str) -> list[tuple[str, str]]:
    calls = calls_in(completion(text), {"add", "sub"}, 1)
    return [(call.function.name, call.function.arguments) for call in calls]


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "add", "parameters": {"a": 1}}',
        '<|python_tag|>{"type": "function", "name": "add", "arguments": {"a": 1}}<|eom_id|>',
        '<function=add>{"a": 1}</function>',
        '<think>{"name": "add", "parameters": {}}</think>{"name": "add", "parameters": {"a": 1}}',
        '```json\n{"name": "add", "parameters": {"a": 1}}\n```',
        '[TOOL_CALLS][{"name": "add", "arguments": {"a": 1}}]',
        '{"type": "function", "function": {"name": "add", "arguments": "{\\"a\\": 1}"}}',
        'Let me see. <tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>',
    ],
)
def test_a_call_in_the_text_counts_if_its_tool_is_known(text: str) -> None:
    assert found(text) == [("add", '{"a": 1}')]
    assert found(text.replace("add", "rm")) == []


def test_several_calls_in_the_text() -> None:
    one = '{"name": "add", "parameters": {}}'
    assert len(found(f"{one}; {one}")) == 2


@pytest.mark.parametrize(
    "text",
    [
        'You could call {"name": "add", "parameters": {}}',
        '{"name": "add"}',
        '{"name": "add", "age": 3, "parameters": {}}',
        "plain",
        "",
    ],
)
def test_prose_and_other_objects_are_no_calls(text: str) -> None:
    assert found(text) == []


def test_ids_are_made_unique() -> None:
    calls = [ToolCall(id, FunctionCall("add", "{}")) for id in ("", "x", "x", "call_3_0", "")]  # noqa: A001
    ids = [call.id for call in calls_in(completion("", *calls), set(), 3)]
    assert len(set(ids)) == 5
    assert ids[1] == "x"
