"""Every row of WIRE.md's request table, passing and failing."""

from typing import Any

import pytest

from laplas_async.simulator.validation import validation_errors

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def body_of(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [USER], **more}


GOOD = [
    {},
    {"model": "any other"},
    {"messages": [{"role": "system", "content": "s", "name": "n"}, USER]},
    {"messages": [{"role": "developer", "content": [{"type": "text", "text": "t"}]}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}]},
    {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}]},
    {"messages": [USER, {"role": "assistant", "refusal": "no"}]},
    {"messages": [{"role": "tool", "content": "1", "tool_call_id": "c"}]},
    {"max_tokens": 1},
    {"stop": "s"},
    {"stop": ["a", "b", "c", "d"]},
    {"stop": None},
    {"stream": True, "stream_options": {"include_usage": True}},
    {"n": 2},
    {"n": None},
    {"seed": 1},
    {"top_p": 0.01},
    {"top_k": -1},
    {"temperature": 2},
    {"repetition_penalty": None},
    {"logprobs": None, "top_logprobs": 20},
    {"echo": True},
    {"min_p": 1},
    {"presence_penalty": -2, "frequency_penalty": None},
    {"logit_bias": {"42": -100}},
    {"logit_bias": None},
    {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": None}}]},
    {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
    {"response_format": {"type": "text"}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}}},
    {"a_future_field": {"x": 1}},
]
BAD = [
    ({"model": 3}, ["model"]),
    ({"model": ""}, ["model"]),
    ({"messages": []}, ["messages"]),
    ({"messages": "hi"}, ["messages"]),
    ({"messages": ["hi"]}, ["messages", 0]),
    ({"messages": [{"role": "robot", "content": ""}]}, ["messages", 0, "role"]),
    ({"messages": [{"role": ["user"], "content": ""}]}, ["messages", 0, "role"]),
    ({"messages": [{"role": "user"}]}, ["messages", 0, "content"]),
    ({"messages": [{"role": "user", "content": []}]}, ["messages", 0, "content"]),
    ({"messages": [USER | {"name": 3}]}, ["messages", 0, "name"]),
    ({"messages": [{"role": "user", "content": [3]}]}, ["messages", 0, "content", 0]),
    (
        {"messages": [{"role": "user", "content": [{"type": "smell"}]}]},
        ["messages", 0, "content", 0, "type"],
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        ["messages", 0, "content", 0, "text"],
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "u"}]}]},
        ["messages", 0, "content", 0, "image_url"],
    ),
    ({"messages": [{"role": "assistant"}]}, ["messages", 0, "content"]),
    (
        {"messages": [{"role": "assistant", "tool_calls": [CALL | {"id": 1}]}]},
        ["messages", 0, "tool_calls", 0, "id"],
    ),
    ({"messages": [{"role": "tool", "content": "1"}]}, ["messages", 0, "tool_call_id"]),
    ({"max_tokens": 0}, ["max_tokens"]),
    ({"max_tokens": None}, ["max_tokens"]),
    ({"max_tokens": True}, ["max_tokens"]),
    ({"stop": 3}, ["stop"]),
    ({"stop": ["a"] * 5}, ["stop"]),
    ({"stop": ["a", 3]}, ["stop", 1]),
    ({"stream": "yes"}, ["stream"]),
    ({"stream": None}, ["stream"]),
    ({"stream_options": True}, ["stream_options"]),
    ({"stream_options": {"include_usage": 1}}, ["stream_options", "include_usage"]),
    ({"n": 0}, ["n"]),
    ({"n": 1.5}, ["n"]),
    ({"n": 129}, ["n"]),
    ({"seed": 0}, ["seed"]),
    ({"top_p": 0}, ["top_p"]),
    ({"top_p": 1.1}, ["top_p"]),
    ({"top_k": "all"}, ["top_k"]),
    ({"temperature": 2.1}, ["temperature"]),
    ({"temperature": "hot"}, ["temperature"]),
    ({"repetition_penalty": "x"}, ["repetition_penalty"]),
    ({"logprobs": 1}, ["logprobs"]),
    ({"top_logprobs": 21}, ["top_logprobs"]),
    ({"echo": None}, ["echo"]),
    ({"min_p": 1.01}, ["min_p"]),
    ({"presence_penalty": 2.5}, ["presence_penalty"]),
    ({"frequency_penalty": -3}, ["frequency_penalty"]),
    ({"logit_bias": []}, ["logit_bias"]),
    ({"logit_bias": {"42": 101}}, ["logit_bias", "42"]),
    ({"tools": {}}, ["tools"]),
    ({"tools": [TOOL] * 129}, ["tools"]),
    ({"tools": [3]}, ["tools", 0]),
    ({"tools": [{"type": "function"}]}, ["tools", 0, "function"]),
    ({"tools": [TOOL | {"type": "x"}]}, ["tools", 0, "type"]),
    (
        {"tools": [{"type": "function", "function": {"name": "a b"}}]},
        ["tools", 0, "function", "name"],
    ),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
        ["tools", 0, "function", "parameters"],
    ),
    ({"tool_choice": "some"}, ["tool_choice"]),
    ({"tool_choice": "required"}, ["tool_choice"]),
    (
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        ["tool_choice", "function", "name"],
    ),
    ({"parallel_tool_calls": 1}, ["parallel_tool_calls"]),
    ({"response_format": "json"}, ["response_format"]),
    ({"response_format": {"type": "xml"}}, ["response_format", "type"]),
    ({"response_format": {"type": "json_schema"}}, ["response_format", "json_schema"]),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
        ["response_format", "json_schema", "name"],
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": 3}}},
        ["response_format", "json_schema", "schema"],
    ),
]


@pytest.mark.parametrize("more", GOOD, ids=str)
def test_valid_bodies_pass(more: dict[str, Any]) -> None:
    assert validation_errors(body_of(**more)) == []


@pytest.mark.parametrize(("more", "path"), BAD, ids=str)
def test_an_invalid_body_is_reported_with_its_path(
    more: dict[str, Any], path: list[str | int]
) -> None:
    errors = validation_errors(body_of(**more))
    assert [one["path"] for one in errors] == [path]
    assert errors[0]["message"]


@pytest.mark.parametrize("body", [None, [], "x", 3])
def test_a_body_must_be_an_object(body: Any) -> None:
    assert [one["path"] for one in validation_errors(body)] == [[]]


def test_model_and_messages_are_required() -> None:
    assert [one["path"] for one in validation_errors({})] == [["model"], ["messages"]]


def test_all_errors_are_reported_at_once() -> None:
    assert len(validation_errors(body_of(n=0, seed=0, top_p=3))) == 3
