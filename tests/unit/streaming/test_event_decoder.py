"""From blocks of a stream to chunks and what it reports."""

import pytest

from laplas_async.streaming.event_decoder import DONE, EventDecoder
from laplas_async.types import ChatCompletionChunk
from laplas_async.wire.codec import DecodeError

CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}'


def test_an_event_with_a_chunk_is_decoded_to_it() -> None:
    decoded = EventDecoder().decode(CHUNK)
    assert isinstance(decoded, ChatCompletionChunk)
    assert decoded.choices[0].delta.content == "a"


def test_done_is_recognised_and_nothing_is_decoded_from_it() -> None:
    assert EventDecoder().decode(b"data: [DONE]") == DONE


@pytest.mark.parametrize("block", [b": keep-alive", b"data: : PROCESSING", b"data:  "])
def test_comments_and_empty_data_hold_no_event(block: bytes) -> None:
    assert EventDecoder().decode(block) is None


def test_events_separated_by_single_newlines_are_decoded_one_by_one() -> None:
    decoded = EventDecoder().decode(CHUNK + b"\n" + CHUNK + b"\ndata: [DONE]")
    assert isinstance(decoded, list)
    assert [type(item) for item in decoded] == [ChatCompletionChunk, ChatCompletionChunk, str]


def test_what_is_no_json_is_returned_as_its_error() -> None:
    assert isinstance(EventDecoder().decode(b"data: {broken"), DecodeError)
