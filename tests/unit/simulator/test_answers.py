"""Answers are deterministic and obey the fields of the request."""

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async.simulator.answers import make_answer
from laplas_async.simulator.text import tokens

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "clock", "description": "the time"}},
]


def answered(body: Any, **options: Any) -> Any:
    return make_answer(body, **options)


def body_of(text: str = "Name a river.", **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


BODIES = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["m", "meta/é"]),
        "messages": st.lists(
            st.one_of(
                st.text(max_size=30).map(lambda text: {"role": "user", "content": text}),
                st.just({"role": "user", "content": [{"type": "text", "text": "a story"}]}),
                st.just({"role": "tool", "content": "21", "tool_call_id": "call_1"}),
            ),
            min_size=1,
            max_size=3,
        ),
    },
    optional={
        "max_tokens": st.integers(1, 60),
        "stop": st.one_of(st.none(), st.just(" the"), st.lists(st.text(max_size=3), max_size=4)),
        "n": st.one_of(st.none(), st.integers(1, 4)),
        "seed": st.integers(1, 99),
        "logprobs": st.sampled_from([True, False, None]),
        "top_logprobs": st.integers(0, 20),
        "echo": st.booleans(),
        "tools": st.just(TOOLS),
        "tool_choice": st.sampled_from(["none", "auto"]),
        "parallel_tool_calls": st.booleans(),
        "response_format": st.sampled_from(
            [
                {"type": "text"},
                {"type": "json_object"},
                {"type": "json_schema", "json_schema": {"name": "w", "schema": WEATHER}},
            ]
        ),
    },
)


@given(BODIES)
@settings(deadline=None)
def test_usage_counts_tokens(body: Any) -> None:
    body = {name: value for name, value in body.items() if name not in ("echo", "tools")}
    result = answered(body)
    assert result.completion_tokens == sum(len(choice.tokens) for choice in result.choices)
    for choice in result.choices:
        assert list(choice.tokens) == tokens(choice.text)
        assert len(choice.tokens) <= body.get("max_tokens", 512)


def test_choices_seeds_and_prompts_give_different_texts() -> None:
    several = answered(body_of(n=3)).choices
    assert len({choice.text for choice in several}) == 3
    assert answered(body_of()).choices[0].text == several[0].text
    assert answered(body_of(seed=2)).choices[0].text != several[0].text
    assert answered(body_of("Other")).choices[0].text != several[0].text
    assert answered(body_of()).id != answered(body_of(temperature=1)).id


def test_max_tokens_cuts() -> None:
    result = answered(body_of(max_tokens=3))
    assert result.choices[0].finish_reason == "length"
    assert result.completion_tokens == 3
    assert answered(body_of()).choices[0].text.startswith(result.choices[0].text)


@pytest.mark.parametrize("at", range(1, 40))
def test_stop_ends_before_the_stop_string_even_across_tokens(at: int) -> None:
    text = answered(body_of()).choices[0].text
    stop = text[at : at + 9]
    result = answered(body_of(stop=["never there", stop])).choices[0]
    assert result.finish_reason == "stop"
    assert result.text == text[: text.find(stop)]


def test_echo_comes_first() -> None:
    plain = answered(body_of())
    result = answered(body_of(echo=True))
    assert result.choices[0].text == "Name a river." + plain.choices[0].text
    assert result.completion_tokens == plain.completion_tokens


@pytest.mark.parametrize(
    "choice", ["auto", "required", {"type": "function", "function": {"name": "weather"}}]
)
def test_a_tool_is_called_with_valid_arguments(choice: Any) -> None:
    result = answered(body_of(tools=TOOLS, tool_choice=choice)).choices[0]
    assert result.finish_reason == "tool_calls"
    assert [call.name for call in result.calls] == ["weather"]
    assert len(result.calls[0].pieces) > 1
    jsonschema.validate(orjson.loads(result.calls[0].arguments), WEATHER)


def test_the_tools_called_follow_tool_choice_and_prompt() -> None:
    def names(**more: Any) -> list[str]:
        return [call.name for call in answered(body_of(**more)).choices[0].calls]

    assert names(tools=TOOLS, tool_choice="none") == []
    assert names(tools=TOOLS, parallel_tool_calls=True) == ["weather", "clock"]
    assert names(tools=TOOLS, parallel_tool_calls=False) == ["weather"]
    assert names(text="Use the clock", tools=TOOLS) == ["clock"]
    done = [{"role": "user", "content": "?"}, {"role": "tool", "content": "1", "tool_call_id": "c"}]
    assert names(tools=TOOLS, messages=done) == []
    assert names(tools=TOOLS, messages=done, tool_choice="required") == ["weather"]


def test_max_tokens_cuts_a_tool_call() -> None:
    result = answered(body_of(tools=TOOLS, max_tokens=2))
    assert result.choices[0].finish_reason == "length"
    assert result.completion_tokens == 2


def test_json_formats() -> None:
    json_object = answered(body_of(response_format={"type": "json_object"}, echo=True))
    assert isinstance(orjson.loads(json_object.choices[0].text), dict)
    wanted = {"type": "json_schema", "json_schema": {"name": "w", "schema": WEATHER}}
    fitting = answered(body_of(response_format=wanted)).choices[0].text
    jsonschema.validate(orjson.loads(fitting), WEATHER)


def test_a_body_nested_too_deeply_is_a_value_error() -> None:
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    with pytest.raises(ValueError, match="nested"):
        answered(body_of(extra=deep))
