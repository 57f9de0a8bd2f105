"""What a body is, decided from its first bytes, however they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async import StreamProtocolError
from laplas_async.wire.body_kind import BLANK, MAX_PAGE_BYTES, BodyKind

LEADS = st.text("\r\n\t \ufeff", max_size=6).map(str.encode)


def fed(sniffer: BodyKind, data: bytes, size: int) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(sniffer.feed(piece) for piece in pieces)


@given(lead=LEADS, size=st.integers(1, 8), rest=st.binary(max_size=40))
@pytest.mark.parametrize("start", [b"data: {}", b": hello", b"event: x", b"id"])
def test_a_stream_is_handed_on(start: bytes, lead: bytes, size: int, rest: bytes) -> None:
    sniffer = BodyKind(max_bytes=10)
    data = lead + start + rest
    assert fed(sniffer, data, size) == data
    assert sniffer.other is None
    assert not sniffer.has_enough


@given(lead=LEADS, size=st.integers(1, 8), rest=st.binary(max_size=40))
@pytest.mark.parametrize("start", [b"{", b"[", b"<"])
def test_another_body_is_kept_whole(start: bytes, lead: bytes, size: int, rest: bytes) -> None:
    sniffer = BodyKind(max_bytes=1000)
    data = lead + start + rest
    # Blanks before it were handed on as they came: no line of a stream, so no harm.
    assert fed(sniffer, data, size).strip(b" \t\r\n\xef\xbb\xbf") == b""
    assert sniffer.other == data
    assert sniffer.is_page is (start == b"<")


def test_of_a_page_a_little_is_enough() -> None:
    sniffer = BodyKind(max_bytes=10 * MAX_PAGE_BYTES)
    sniffer.feed(b"<html>" + b"x" * MAX_PAGE_BYTES)
    assert sniffer.has_enough


def test_another_body_is_bounded() -> None:
    sniffer = BodyKind(max_bytes=100)
    sniffer.feed(b"{" + b" " * 99)
    with pytest.raises(StreamProtocolError, match="larger than 100 bytes"):
        sniffer.feed(b" ")


def test_blanks_alone_are_no_reason_to_wait_for_ever() -> None:
    sniffer = BodyKind(max_bytes=10)
    for _ in range(MAX_PAGE_BYTES + 1):
        sniffer.feed(b"\n")
    assert sniffer.feed(b"{") == b"{"


LINE = b'{"choices": [{"index": 0, "delta": {"content": "a"}}]}'


@given(size=st.integers(1, 80), lead=LEADS)
def test_lines_of_chunks_become_events_as_they_arrive(size: int, lead: bytes) -> None:
    kind = BodyKind(max_bytes=1000)
    data = lead + LINE + b"\n" + LINE + b"\r\n\n[DONE]"
    events = fed(kind, data, size).lstrip(BLANK)
    assert events.split() == (b"data: " + LINE + b"\n\ndata: " + LINE).split()
    assert kind.other is None
    assert kind.finish() == b"data: [DONE]"
    assert kind.finish() == b""


def test_a_line_without_an_end_is_bounded() -> None:
    kind = BodyKind(max_bytes=100)
    kind.feed(LINE + b"\n")
    with pytest.raises(StreamProtocolError, match="larger than 100 bytes"):
        kind.feed(b"x" * 101)


@pytest.mark.parametrize(
    "first", [b"{", b"[1]", b'{"choices": []}', b'{"choices": [{"message": {}}]}', b"[{}, {}]"]
)
def test_other_lines_are_one_body(first: bytes) -> None:
    kind = BodyKind(max_bytes=1000)
    assert kind.feed(first + b"\n" + LINE + b"\n") == b""
    assert kind.other == first + b"\n" + LINE + b"\n"
    assert kind.finish() == b""
