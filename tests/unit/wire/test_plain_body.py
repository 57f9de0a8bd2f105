"""The body of a successful response: a completion, an error, or incomplete; never a guess."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laplas_async.types import ChatCompletion
from laplas_async.wire.chunks import FailureEvent
from laplas_async.wire.codec import DecodeError
from laplas_async.wire.plain_body import IncompleteBody, read_body

TEXT = 'He said: "Das Flüßchen \U0001f600" \\u0041\n'
BODY: dict[str, Any] = {
    "id": "c",
    "created": 17,
    "logprobs": None,
    "flag": True,
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
    ],
}


def chunk(**choice: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0} | choice]}).encode() + b"\n\n"


STREAM = (
    chunk(delta={"role": "assistant", "content": ""})
    + chunk(delta={"content": TEXT[:9]})
    + chunk(delta={"content": TEXT[9:]})
    + chunk(delta={}, finish_reason="stop")
    + b"data: [DONE]\n\n"
)


def test_a_completion_is_read() -> None:
    assert read_body(json.dumps(BODY).encode()).text == TEXT


@pytest.mark.parametrize("ascii_only", [False, True])
def test_a_completion_cut_anywhere_is_incomplete(*, ascii_only: bool) -> None:
    data = json.dumps(BODY, ensure_ascii=ascii_only).encode()
    for size in range(len(data)):
        with pytest.raises(IncompleteBody):
            read_body(data[:size])


def test_a_stream_cut_anywhere_is_incomplete_or_whole() -> None:
    end = STREAM.index(b'"stop"') + len(b'"stop"}]}')
    for size in range(len(STREAM)):
        if size >= end:
            assert read_body(STREAM[:size]).text == TEXT
        else:
            with pytest.raises(IncompleteBody):
                read_body(STREAM[:size])


@pytest.mark.parametrize(
    "before", [b"", b"\xef\xbb\xbf", b"\n\n ", b": a\n\n: b\r\n\r\n", b":\n\n"]
)
@pytest.mark.parametrize(
    "after", [b"", b"\n", b"\n\ndata: [DONE]\n\n", b"[DONE]", b"\n: bye\n", b"data: [DONE]"]
)
def test_heartbeats_before_and_a_stream_s_end_after_a_completion_are_skipped(
    before: bytes, after: bytes
) -> None:
    data = before + json.dumps(BODY).encode() + after
    assert read_body(data).text == TEXT


@pytest.mark.parametrize("after", [b"{}", b"<html>", b'data: {"choices": []}', b"\x00", b"more"])
def test_other_bytes_after_a_completion_are_an_error(after: bytes) -> None:
    with pytest.raises(DecodeError):
        read_body(json.dumps(BODY).encode() + after)


@pytest.mark.parametrize("data", [b"", b"\n", b": only a comment", b": a\n\n:", b"\xef\xbb\xbf"])
def test_a_body_without_content_is_incomplete(data: bytes) -> None:
    with pytest.raises(IncompleteBody, match="empty"):
        read_body(data)


@pytest.mark.parametrize(
    "data",
    [b"{nope}", b"<html>502</html>", b"not JSON", b"[1, 2]", b'{"a": 1}', b"5", b'{"a" 1}'],
)
def test_a_body_of_another_kind_is_a_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError):
        read_body(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"error": {"message": "m"}}',
        b'[{"error": {"message": "m"}}]',
        b'data: {"error": {"message": "m"}}\n\n',
        b'event: error\ndata: {"message": "m"}\n\n',
        chunk(delta={"content": "a"}) + b'data: {"error": "m"}\n\n',
        chunk(delta={"content": "a"}, finish_reason="abort"),
        json.dumps({"choices": [{"error": {"message": "m"}}]}).encode(),
        b"data: " + json.dumps({"choices": [{"message": {}, "error": "m"}]}).encode(),
    ],
)
def test_an_error_is_an_error_wherever_it_is(data: bytes) -> None:
    with pytest.raises(FailureEvent):
        read_body(data)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=40),
    st.sampled_from([b"", b"{", b"data: ", b": x\n\n", STREAM[:90], json.dumps(BODY).encode()]),
)
def test_every_body_is_a_completion_or_one_of_three_errors(data: bytes, before: bytes) -> None:
    try:
        assert isinstance(read_body(before + data), ChatCompletion)
    except (IncompleteBody, FailureEvent, DecodeError):
        return


CHUNKS = [
    {"choices": [{"index": 0, "delta": {"content": TEXT[:9]}}]},
    {"choices": [{"index": 0, "delta": {"content": TEXT[9:]}, "finish_reason": "stop"}]},
]
OTHER_SHAPES: dict[str, Any] = {
    "lines of chunks": "\n".join(map(json.dumps, CHUNKS)),
    "a list of chunks": json.dumps(CHUNKS),
    "a list of one completion": json.dumps([BODY]),
    "a completion inside a string": json.dumps(json.dumps(BODY)),
    "a chunk": json.dumps({"choices": [{"delta": {"content": TEXT}, "finish_reason": "stop"}]}),
    "text": json.dumps({"choices": [{"text": TEXT, "finish_reason": "stop"}]}),
    "a message that is text": json.dumps({"choices": [{"message": TEXT}]}),
}


@pytest.mark.parametrize("body", OTHER_SHAPES.values(), ids=OTHER_SHAPES.keys())
def test_a_completion_in_another_shape_keeps_its_text(body: str) -> None:
    assert read_body(body.encode()).text == TEXT


@pytest.mark.parametrize("body", [CHUNKS[:1], {"choices": []}], ids=["no end", "no choices"])
def test_a_response_without_its_end_or_without_choices_is_incomplete(body: Any) -> None:
    with pytest.raises(IncompleteBody):
        read_body(json.dumps(body).encode())


def test_an_error_inside_of_a_message_is_an_error() -> None:
    with pytest.raises(FailureEvent):
        read_body(json.dumps({"choices": [{"message": {"content": "", "error": "m"}}]}).encode())


def test_the_failed_finish_reasons_are_given() -> None:
    body = json.dumps(BODY).encode()
    assert read_body(body, frozenset()).finish_reason == "stop"
    with pytest.raises(FailureEvent):
        read_body(body, {"stop"})
