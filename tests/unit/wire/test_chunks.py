"""Events to chunks: half a character, errors in a stream, events that are not ours."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from laplas_async.types import ChatCompletionChunk
from laplas_async.wire.accumulate import Accumulator
from laplas_async.wire.chunks import ChunkDecoder, FailureEvent, chunk_from_completion
from laplas_async.wire.codec import DecodeError, to_dict

HIGH, LOW = "\ud83d", "\ude00"  # the halves of 😀


def event(*choices: dict[str, Any], **head: Any) -> bytes:
    return json.dumps({"choices": list(choices), **head}).encode()


def said(text: str | None, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"index": index, "delta": {"content": text}, **more}


def read(*events: bytes) -> list[ChatCompletionChunk]:
    decoder = ChunkDecoder()
    chunks = [decoder.decode(data) for data in events]
    return [chunk for chunk in chunks if chunk is not None]


def texts(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    return "".join(
        choice.delta.text for chunk in chunks for choice in chunk.choices if choice.index == index
    )


# --- half a character -------------------------------------------------------------------------


def test_a_character_in_two_halves_is_handed_out_whole() -> None:
    chunks = read(event(said("a" + HIGH)), event(said(LOW + "b")))
    assert [chunk.text for chunk in chunks] == ["a", "😀b"]


def test_nothing_between_the_halves_keeps_them_together() -> None:
    between = [
        event(),
        event(said(None)),
        event(said("")),
        event({"index": 0}),
        event(said("x", 1)),
    ]
    chunks = read(event(said(HIGH)), *between, event(said(LOW)))
    assert texts(chunks) == "😀"
    assert texts(chunks, 1) == "x"


def test_each_choice_has_its_own_half() -> None:
    chunks = read(
        event(said(HIGH, 0), said("a" + HIGH, 1)), event(said("\ude01", 1)), event(said(LOW, 0))
    )
    assert texts(chunks, 0) == "😀"
    assert texts(chunks, 1) == "a😁"


@pytest.mark.parametrize("name", ["content", "refusal"])
def test_each_text_has_its_own_half(name: str) -> None:
    other = "refusal" if name == "content" else "content"
    chunks = read(
        event({"delta": {name: HIGH}}),
        event({"delta": {other: "x"}}),
        event({"delta": {name: LOW}}),
    )
    assert "".join(getattr(c.choices[0].delta, name) or "" for c in chunks) == "😀"


def test_the_halves_in_a_call_s_arguments_come_together() -> None:
    def piece(text: str, index: int) -> dict[str, Any]:
        return {"delta": {"tool_calls": [{"index": index, "function": {"arguments": text}}]}}

    chunks = read(event(piece(HIGH, 0)), event(piece("x", 1)), event(piece(LOW, 0)))
    calls = [call for c in chunks for call in c.choices[0].delta.tool_calls or ()]
    joined = {0: "", 1: ""}
    for call in calls:
        assert call.index is not None
        assert call.function is not None
        joined[call.index] += call.function.arguments or ""
    assert joined == {0: "😀", 1: "x"}


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([event(said(HIGH)), event(said("b"))], "\ufffdb"),
        ([event(said(LOW)), event(said("b"))], "\ufffdb"),
        ([event(said(HIGH)), event(said(HIGH)), event(said(LOW))], "\ufffd😀"),
        ([event(said(HIGH + LOW))], "😀"),
        ([event(said(LOW + HIGH)), event(said("b"))], "\ufffd\ufffdb"),
        ([event(said(HIGH, finish_reason="stop"))], "\ufffd"),
        ([event(said(HIGH)), event(said(None, finish_reason="stop"))], "\ufffd"),
        ([event(said(HIGH)), event({"index": 0, "finish_reason": "stop"})], "\ufffd"),
    ],
)
def test_a_half_that_stays_alone_is_replaced(events: list[bytes], text: str) -> None:
    assert texts(read(*events)) == text


def test_a_half_in_a_call_s_arguments_that_stays_alone_is_replaced() -> None:
    call = {"index": 0, "function": {"name": "f", "arguments": '"' + HIGH}}
    accumulator = Accumulator()
    for chunk in read(
        event({"delta": {"tool_calls": [call]}}), event(said(None, finish_reason="tool_calls"))
    ):
        accumulator.add(chunk)
    assert accumulator.completion().tool_calls[0].function.arguments == '"\ufffd'


@pytest.mark.parametrize("odd", [[{"type": "text", "text": "x"}], ["x"], 5, True, {"a": 1}])
@pytest.mark.parametrize("name", ["content", "refusal", "reasoning", "tool_calls"])
def test_an_odd_value_behind_a_half_is_read_or_refused(name: str, odd: Any) -> None:
    decoder = ChunkDecoder()
    half = event({"delta": {"content": HIGH} | ({} if name == "tool_calls" else {name: HIGH})})
    decoder.decode(half)
    try:
        decoder.decode(event({"delta": {name: odd}, "finish_reason": "stop"}))
    except DecodeError:
        return


def test_what_is_null_stays_null_behind_a_half() -> None:
    chunks = read(event(said(HIGH)), event(said(None)))
    assert chunks[1].choices[0].delta.content is None


def test_invalid_utf_8_is_replaced() -> None:
    assert texts(read(b'{"choices":[{"delta":{"content":"a\xffb"}}]}')) == "a\ufffdb"


ANY = st.text(st.characters(exclude_categories=[]), max_size=4) | st.sampled_from([HIGH, LOW])


@settings(max_examples=200, deadline=None)
@given(st.lists(ANY, max_size=6), st.lists(ANY, max_size=6))
@example(["a" + HIGH, LOW], [])
def test_text_is_the_same_however_it_is_cut_into_chunks(one: list[str], two: list[str]) -> None:
    """Cut between the UTF-16 halves too; two choices interleaved."""
    events = [event(said(a, 0), said(b, 1)) for a, b in zip(one, two, strict=False)]
    events += [event(said(a, 0)) for a in one[len(two) :]]
    events += [event(said(b, 1)) for b in two[len(one) :]]
    end = event(said(None, 0, finish_reason="stop"), said(None, 1, finish_reason="stop"))
    chunks = read(*events, end)
    for index, pieces in ((0, one), (1, two)):
        whole = "".join(pieces).encode("utf-16-le", "surrogatepass")
        assert texts(chunks, index) == whole.decode("utf-16-le", "replace")


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in strings(part)]
    return [text for item in value for text in strings(item)] if isinstance(value, list) else []


FUNCTION = {"name": "%", "arguments": "%", "x": "%"}
FULL: dict[str, Any] = {
    "id": "%",
    "model": "%",
    "object": "%",
    "x": {"%": ["%"]},
    "usage": {"x": "%", "prompt_tokens": "%", "prompt_tokens_details": {"%": "%"}},
    "choices": [
        {
            "index": 0,
            "delta": {
                "role": "%",
                "content": "%",
                "refusal": "%",
                "x": "%",
                "tool_calls": [
                    {"index": 0, "id": "%", "type": "%", "x": "%", "function": FUNCTION}
                ],
            },
            "finish_reason": "%",
            "x": "%",
            "logprobs": {
                "x": "%",
                "content": [
                    {"token": "%", "x": "%", "top_logprobs": [{"token": "%", "x": "%"}]},
                ],
                "refusal": [{"token": "%"}],
            },
        }
    ],
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if value == "%":
        return [path]
    if not isinstance(value, dict | list):
        return []
    items: Any = value.items() if isinstance(value, dict) else enumerate(value)
    return [place for key, item in items for place in places(item, (*path, key))]


@pytest.mark.parametrize("place", places(FULL), ids=lambda path: ".".join(map(str, path)))
def test_a_lone_half_anywhere_can_be_encoded(place: tuple[Any, ...]) -> None:
    body = json.loads(json.dumps(FULL).replace("%", "a"))
    spot = body
    for key in place[:-1]:
        spot = spot["a" if key == "%" else key]
    spot[place[-1]] = "b" + HIGH
    [chunk] = read(json.dumps(body).encode())
    for text in strings(to_dict(chunk)):
        assert text.encode()


# --- events that are no chunk -----------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "m", "type": "server_error"}},
        {"error": "text"},
        {"error": {"message": "m"}, "choices": []},
        {"message": "m", "statusCode": 500, "requestId": "r"},
        {"message": ["m"], "statusCode": "429"},
        {"type": "error", "detail": "m"},
    ],
)
@pytest.mark.parametrize("kind", ["", "message", "error", "other"])
def test_an_error_is_reported_in_every_shape(body: dict[str, Any], kind: str) -> None:
    with pytest.raises(FailureEvent) as caught:
        ChunkDecoder().decode(json.dumps(body).encode(), kind)
    assert caught.value.body == body


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"upstream failed", "upstream failed"),
        (b"", ""),
        (b"\xff", "\ufffd"),
        (b"<html>", "<html>"),
        (b'"text"', "text"),
        (b"[1]", [1]),
        (b"null", None),
        (b'{"choices": []}', {"choices": []}),
        (b'{"detail": "\\ud83d"}', {"detail": "\ufffd"}),
    ],
)
def test_an_error_event_may_hold_anything(data: bytes, body: Any) -> None:
    with pytest.raises(FailureEvent) as caught:
        ChunkDecoder().decode(data, "error")
    assert caught.value.body == body


@pytest.mark.parametrize("data", [b"", b"ping", b"12", b'"now"', b"null", b"[]", b"true"])
def test_an_unknown_event_without_a_chunk_is_none(data: bytes) -> None:
    assert ChunkDecoder().decode(data, "ping") is None


def test_an_unknown_event_s_own_object_changes_nothing() -> None:
    accumulator = Accumulator()
    chunk = ChunkDecoder().decode(b'{"type": "ping", "at": 5}', "ping")
    if chunk is not None:
        accumulator.add(chunk)
    assert accumulator.completion().extra == {}


@pytest.mark.parametrize("kind", ["chunk", "chat.completion.chunk", "message"])
def test_a_chunk_in_an_event_of_any_name_is_a_chunk(kind: str) -> None:
    chunk = ChunkDecoder().decode(event(said("x")), kind)
    assert chunk is not None
    assert chunk.text == "x"


@pytest.mark.parametrize("data", [b"", b"{", b"ping", b"[]", b"12", b"null", b'"x"', b"<html>"])
@pytest.mark.parametrize("kind", ["", "message"])
def test_what_is_no_chunk_is_a_decode_error(data: bytes, kind: str) -> None:
    with pytest.raises(DecodeError):
        ChunkDecoder().decode(data, kind)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"choices": []}, ""),
        ({"choices": None, "usage": {"total_tokens": 1}}, ""),
        ({"usage": None, "choices": [{"index": 0}]}, ""),
        ({"choices": [{"delta": None}]}, ""),
        ({"choices": [{"delta": {"content": None, "role": "assistant"}}]}, ""),
        ({"choices": [{"delta": {"content": "x", "tool_calls": None}}]}, "x"),
        ({"choices": [{"index": 1, "delta": {"content": "y"}}]}, ""),
        ({"choices": [{"delta": {"content": "x"}, "finish_reason": "later"}]}, "x"),
        ({}, ""),
    ],
)
def test_what_servers_leave_out_is_no_harm(body: dict[str, Any], text: str) -> None:
    [chunk] = read(json.dumps(body).encode())
    assert chunk.text == text


# --- a whole answer in place of a stream ------------------------------------------------------


def test_a_whole_answer_is_one_chunk_that_says_it_all() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    chunk = chunk_from_completion(
        {
            "id": "i",
            "object": "chat.completion",
            "model": "m",
            "x": 1,
            "choices": [
                {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"},
                {"index": 1, "message": {"tool_calls": [call, call]}, "x": 2},
                {"index": 2},
            ],
            "usage": {"total_tokens": 3},
        }
    )
    assert (chunk.id, chunk.object, chunk.extra) == ("i", "chat.completion.chunk", {"x": 1})
    assert chunk.text == "a"
    assert chunk.choices[0].finish_reason == "stop"
    assert [call.index for call in chunk.choices[1].delta.tool_calls or ()] == [0, 1]
    assert chunk.choices[1].extra == {"x": 2}
    assert chunk.usage is not None
    assert chunk.usage.total_tokens == 3


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"choices": None}, {"choices": {}}, {"choices": [5]}, {"choices": [None]}),
        {"choices": [{"message": 5}]},
        {"choices": [{"message": {"content": 5}}]},
    ],
)
def test_what_is_no_answer_is_a_decode_error(body: dict[str, Any]) -> None:
    with pytest.raises(DecodeError):
        chunk_from_completion(body)
