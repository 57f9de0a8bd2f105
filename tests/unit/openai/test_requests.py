"""openai's arguments become the core's: each is sent, renamed, dropped, or refused in one line."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import pytest

from laplas_async.errors import ConfigError
from laplas_async.openai import NOT_GIVEN, omit
from laplas_async.openai.requests import core_arguments, plain
from laplas_async.openai.results import ChatCompletionMessage


def arguments(**parameters: Any) -> dict[str, Any]:
    return core_arguments(
        messages=parameters.pop("messages", [{"role": "user", "content": "Hi"}]),
        model=NOT_GIVEN,
        extra_headers=None,
        extra_query=None,
        extra_body=parameters.pop("extra_body", None),
        parameters=parameters,
    )


def test_openais_fields_are_sent_beside_those_of_the_service() -> None:
    made = arguments(temperature=1, reasoning_effort="low", store=True, extra_body={"x": 1})
    assert made["temperature"] == 1
    assert made["extra_body"] == {"reasoning_effort": "low", "store": True, "x": 1}


def test_the_limit_has_two_names() -> None:
    assert arguments(max_completion_tokens=5)["max_tokens"] == 5
    assert arguments(max_completion_tokens=5, max_tokens=5)["max_tokens"] == 5
    assert arguments(max_completion_tokens=None, max_tokens=4)["max_tokens"] == 4
    with pytest.raises(ConfigError, match="pass one of them"):
        arguments(max_completion_tokens=5, max_tokens=6)


@pytest.mark.parametrize("value", [NOT_GIVEN, omit, None])
def test_what_is_not_given_is_not_sent(value: Any) -> None:
    made = arguments(temperature=value, tools=value, user=value, response_format=value)
    assert not {"temperature", "tools", "user", "response_format"} & made.keys()
    assert made["extra_body"] is None


def test_empty_tools_are_not_sent() -> None:
    assert "tools" not in arguments(tools=[])
    assert "tools" not in arguments(tools=iter(()))
    assert arguments(functions=[])["extra_body"] is None


def test_generators_become_lists_and_results_become_dicts() -> None:
    def messages() -> Iterator[Any]:
        yield {"role": "user", "content": ({"type": "text", "text": t} for t in "ab")}
        yield ChatCompletionMessage(role="assistant", content="c")

    class Role(StrEnum):
        USER = "user"

    made = arguments(messages=messages())["messages"]
    assert made[0]["content"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert made[1] == {"role": "assistant", "content": "c"}
    assert plain({"role": Role.USER, "name": NOT_GIVEN}) == {"role": "user"}


def test_a_field_that_nobody_has_is_a_type_error_with_the_way_to_send_it() -> None:
    with pytest.raises(TypeError, match=r"unexpected keyword.*'wat'; extra_body=\{'wat': ...\}"):
        arguments(wat=1)
    with pytest.raises(TypeError, match=r"pass a class to chat.completions.parse\(\)"):
        arguments(response_format=dict)
