"""Shapes change how a completion is sent, and streams still accumulate to the plain one."""

from typing import Any

import orjson
import pytest

from laplas_async.simulator.answers import make_answer
from laplas_async.simulator.encode import completion, events
from laplas_async.simulator.shape_variants import (
    REASONING,
    REFERENCE,
    SHAPES,
    shape_completion,
    shape_events,
)

BODY: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 400,
}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": PARAMETERS}}
    for name in ("get_weather", "get_time")
]
CALLS = BODY | {"tools": TOOLS, "parallel_tool_calls": True}
TEXT = "".join(REASONING)


def shaped(*shapes: str, body: dict[str, Any] = BODY, usage: bool = True) -> list[Any]:
    """Return the decoded chunks of a stream, without ``[DONE]``."""
    answer = make_answer(body)
    plain = events(answer, include_usage=usage)
    made = shape_events(plain, shapes, completion(answer))
    assert made[-1].data == b"[DONE]"
    return [orjson.loads(event.data) for event in made[:-1]]


def plain(*shapes: str, body: dict[str, Any] = BODY) -> Any:
    return shape_completion(completion(make_answer(body)), shapes)


def deltas(chunks: list[Any], index: int = 0) -> list[Any]:
    return [
        choice["delta"]
        for chunk in chunks
        for choice in chunk["choices"]
        if choice["index"] == index
    ]


def reasons(chunks: list[Any]) -> list[Any]:
    return [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]


def text_of(chunks: list[Any]) -> str:
    return "".join(delta.get("content") or "" for delta in deltas(chunks))


PLAIN_TEXT: str = plain()["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    "shape", ["empty_finish_reasons", "stop_in_every_chunk", "early_stop", "role_in_every_chunk"]
)
def test_these_shapes_keep_the_text(shape: str) -> None:
    assert text_of(shaped(shape)) == PLAIN_TEXT
    assert plain(shape) == plain()


def test_finish_reasons_that_prove_nothing() -> None:
    assert set(reasons(shaped("empty_finish_reasons"))[:-1]) == {""}
    assert set(reasons(shaped("stop_in_every_chunk"))[:-1]) == {"stop"}
    early = reasons(shaped("early_stop"))
    assert early[:3] == [None, "stop", None]
    assert early[-1] == "stop"


def test_reasoning_comes_first_and_ends_with_an_early_stop() -> None:
    chunks = shaped("reasoning_content", "early_stop")
    found = deltas(chunks)
    assert [delta.get("reasoning_content") for delta in found[1:7]] == list(REASONING)
    assert reasons(chunks)[7] == "stop"
    assert text_of(chunks) == PLAIN_TEXT


@pytest.mark.parametrize("shape", ["reasoning", "reasoning_content"])
def test_reasoning_is_equal_streamed_and_plain(shape: str) -> None:
    chunks = shaped(shape, body=BODY | {"n": 2})
    for index in (0, 1):
        streamed = "".join(delta.get(shape) or "" for delta in deltas(chunks, index))
        assert streamed == TEXT
    whole = plain(shape, body=BODY | {"n": 2})
    assert [choice["message"][shape] for choice in whole["choices"]] == [TEXT, TEXT]
    assert chunks[-1]["usage"] == whole["usage"]
    assert whole["usage"]["completion_tokens_details"] == {"reasoning_tokens": len(REASONING)}


def test_a_whole_message_is_the_plain_completion() -> None:
    assert shaped("whole_message") == [plain()]
    assert shaped("reasoning", "whole_message") == [plain("reasoning")]


def test_a_message_in_every_chunk_has_the_content_of_the_deltas() -> None:
    chunks = shaped("message_in_every_chunk", "reasoning")
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert not any("delta" in choice for choice in choices)
    text = "".join(choice["message"].get("content") or "" for choice in choices)
    assert text == PLAIN_TEXT


def test_content_parts_are_equal_streamed_and_plain() -> None:
    parts = [
        part for delta in deltas(shaped("content_parts")) for part in delta.get("content") or ()
    ]
    thinking = "".join(
        inner["text"] for part in parts if part["type"] == "thinking" for inner in part["thinking"]
    )
    text = "".join(part["text"] for part in parts if part["type"] == "text")
    whole = plain("content_parts")["choices"][0]["message"]["content"]
    assert whole[0]["thinking"] == [{"type": "text", "text": thinking}]
    assert whole[1:] == [{"type": "text", "text": text}, REFERENCE]
    assert parts[-1] == REFERENCE


def calls_of(chunks: list[Any]) -> list[Any]:
    return [call for delta in deltas(chunks) for call in delta.get("tool_calls") or ()]


def arguments_of(calls: list[Any], expected: Any) -> list[str]:
    """Accumulate the arguments by the names, as each call has its own."""
    found: list[str] = []
    for call in calls:
        if call["function"].get("name"):
            found.append("")
        found[-1] += call["function"]["arguments"]
    assert len(found) == len(expected)
    return found


WHOLE_CALLS: Any = plain(body=CALLS)["choices"][0]["message"]["tool_calls"]
ARGUMENTS = [call["function"]["arguments"] for call in WHOLE_CALLS]


def test_tool_calls_that_share_an_index() -> None:
    calls = calls_of(shaped("same_index_tool_calls", body=CALLS))
    assert {(call["index"], call["id"]) for call in calls} == {(0, "")}
    assert [name for call in calls if (name := call["function"].get("name"))] == [
        "get_weather",
        "get_time",
    ]
    assert arguments_of(calls, ARGUMENTS) == ARGUMENTS


def test_tool_calls_with_unusual_indexes() -> None:
    calls = calls_of(shaped("no_index_tool_calls", body=CALLS))
    assert not any("index" in call for call in calls)
    calls = calls_of(shaped("tool_index_from_one", body=CALLS))
    assert {call["index"] for call in calls} == {1, 2}


def test_tool_names_repeated_or_split() -> None:
    calls = calls_of(shaped("repeated_tool_names", body=CALLS))
    for index, name in enumerate(("get_weather", "get_time")):
        names = {call["function"]["name"] for call in calls if call["index"] == index}
        assert names == {name}
    calls = calls_of(shaped("split_tool_names", body=CALLS))
    joined: dict[int, str] = {}
    for call in calls:
        joined[call["index"]] = joined.get(call["index"], "") + call["function"].get("name", "")
    assert joined == {0: "get_weather", 1: "get_time"}


def test_whole_tool_calls_are_one_chunk_each() -> None:
    calls = calls_of(shaped("whole_tool_calls", body=CALLS))
    assert [call["function"]["arguments"] for call in calls] == ARGUMENTS


@pytest.mark.parametrize("n", [1, 2])
def test_arguments_encoded_twice_decode_to_the_arguments(n: int) -> None:
    body = CALLS | {"n": n}
    chunks = shaped("double_encoded_arguments", body=body)
    whole = plain("double_encoded_arguments", body=body)
    for index in range(n):
        calls = [call for delta in deltas(chunks, index) for call in delta.get("tool_calls") or ()]
        expected = whole["choices"][index]["message"]["tool_calls"]
        found = arguments_of(calls, expected)
        assert found == [call["function"]["arguments"] for call in expected]
        assert all(isinstance(orjson.loads(orjson.loads(one)), dict) for one in found)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("body", [BODY, CALLS, BODY | {"n": 3}, CALLS | {"n": 2, "logprobs": True}])
def test_every_shape_is_possible_for_every_request(shape: str, body: dict[str, Any]) -> None:
    assert shaped(shape, body=body)
    assert plain(shape, body=body)["object"] == "chat.completion"


def test_all_shapes_combine() -> None:
    assert shaped(*(name for name in SHAPES if name != "whole_message"), body=CALLS)
    assert shaped(*SHAPES, body=CALLS)
