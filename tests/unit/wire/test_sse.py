"""The parser of server-sent events, against a slow reading of the standard."""

import re
import sys
from collections import Counter
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from laplas_async.errors import StreamProtocolError
from laplas_async.wire.sse import ServerSentEvent, SSEParser

Event = tuple[str, str]  # data, event


class Reference:
    """WHATWG HTML, 9.2.6, word by word, over the whole bytes.

    ``retry`` is set with its event's blank line, as the parser does; the standard sets it a line
    or two earlier.
    """

    def __init__(self, body: bytes) -> None:
        self.events: list[Event] = []
        self.last_event_id = ""
        self.retry: int | None = None
        text = body.decode("utf-8", "replace").removeprefix("\ufeff")
        lines = re.split("\r\n|\r|\n", text)
        lines.pop()  # what no line end ended
        data, kind, identity, retry = "", "", "", None
        for line in lines:
            if line == "":
                self.last_event_id = identity
                self.retry = self.retry if retry is None else retry
                if data:
                    self.events.append((data.removesuffix("\n"), kind))
                data, kind, retry = "", "", None
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match name:
                case "data":
                    data += value + "\n"
                case "event":
                    kind = value
                case "id" if "\0" not in value:
                    identity = value
                case "retry" if re.fullmatch("[0-9]+", value):
                    retry = int(value)


def read(pieces: list[bytes], **options: Any) -> tuple[list[Event], SSEParser]:
    parser = SSEParser(**options)
    events = [event for piece in pieces for event in parser.feed(piece)]
    return [plain(event) for event in events], parser


def plain(event: ServerSentEvent) -> Event:
    return event.data.decode("utf-8", "replace"), event.event


def read_until_failure(pieces: list[bytes], limit: int) -> tuple[list[Event], bool]:
    """What came, and whether a ``StreamProtocolError`` followed it."""
    parser = SSEParser(max_event_bytes=limit)
    events: list[Event] = []
    try:
        for piece in [*pieces, b""]:  # an error waits until the events before it were given
            events += [plain(event) for event in parser.feed(piece)]
    except StreamProtocolError:
        return events, True
    return events, False


WORDS = [
    *(b"\r", b"\n", b"\r\n", b":", b" ", b"\n\n", b"\r\r", b"\r\n\r\n"),
    *(b"data", b"event", b"id", b"retry", b"data:", b"data: ", b"event: error", b"12", b"x"),
    *(b"\xef\xbb\xbf", b"\xef", b"\xbb", b"\0", "\u2028".encode(), "\u0085".encode()),
    *("é".encode(), "🦀".encode(), b"\xf0\x9f", b"\xff", b"\xc3", b"[DONE]", b"\x0b\x0c\x1c"),
]
bodies = st.lists(st.sampled_from(WORDS) | st.binary(max_size=4), max_size=40).map(b"".join)


@st.composite
def cut_bodies(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    body = draw(bodies)
    return body, draw(cuts_of(body))


def cuts_of(body: bytes) -> st.SearchStrategy[list[bytes]]:
    places = st.lists(st.integers(0, len(body)), max_size=12).map(sorted)
    some = places.map(
        lambda at: [body[a:b] for a, b in zip([0, *at], [*at, len(body)], strict=True)]
    )
    return some | st.just([body[i : i + 1] for i in range(len(body))])


@settings(max_examples=1000, deadline=None)
@given(cut_bodies())
@example((b"\xef\xbb\xbfdata: x\r\r\n", [b"\xef", b"\xbb", b"\xbfdata: x\r", b"\r", b"\n"]))
@example((b"\n\n\ndata: x\n\n", [b"\n", b"\n", b"\ndata: x\n", b"\n"]))
def test_any_cut_of_any_bytes_gives_what_the_standard_says(cut: tuple[bytes, list[bytes]]) -> None:
    body, pieces = cut
    expected = Reference(body)
    events, parser = read(pieces)
    assert events == expected.events
    assert (parser.last_event_id, parser.retry) == (expected.last_event_id, expected.retry)


@settings(max_examples=300, deadline=None)
@given(cut_bodies())
def test_what_is_unfinished_is_the_event_that_a_blank_line_would_end(
    cut: tuple[bytes, list[bytes]],
) -> None:
    body, pieces = cut
    events, parser = read(pieces)
    rest = parser.unfinished()
    expected = Reference(body + b"\n\n").events
    assert events + ([plain(rest)] if rest is not None else []) == expected
    assert parser.unfinished() is None


# --- the examples of the standard, and the last section of WIRE.md ----------------------------


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"data: YHOO\ndata: +2\ndata: 10\n\n", [("YHOO\n+2\n10", "")], id="lines"),
        pytest.param(
            b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\ndata: 1\n\n",
            [("73857293", "add"), ("2153", "remove"), ("1", "")],
            id="kinds",
        ),
        pytest.param(
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third\n",
            [("first event", ""), ("second event", "")],
            id="ids",
        ),
        pytest.param(b"data\n\ndata\ndata\n\ndata:", [("", ""), ("\n", "")], id="empty data"),
        pytest.param(b"data:test\n\ndata: test\n\n", [("test", "")] * 2, id="one space"),
        pytest.param(b"data:  x\n\n", [(" x", "")], id="two spaces"),
        pytest.param(b"\xef\xbb\xbfdata: x\n\n", [("x", "")], id="byte-order mark"),
        pytest.param(b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n", [], id="two byte-order marks"),
        pytest.param(b": ping\n\n:\n\ndata: x\n\n", [("x", "")], id="heartbeats"),
        pytest.param(b"event: a\n\nid: 1\n\nretry: 5\n\ndata: x\n\n", [("x", "")], id="alone"),
        pytest.param(b"event: a\nevent: b\ndata: x\n\n", [("x", "b")], id="the last kind counts"),
        pytest.param(b"Data: x\ndata : y\n data: z\n\n", [], id="names are exact"),
        pytest.param("data: a\u2028b\u0085c\n\n".encode(), [("a\u2028b\u0085c", "")], id="U+2028"),
        pytest.param(b"data: a\x0bb\x0cc\x1cd\n\n", [("a\x0bb\x0cc\x1cd", "")], id="VT FF FS"),
        pytest.param(b"data: \xff\n\n", [("\ufffd", "")], id="invalid UTF-8"),
        pytest.param(b"data: a:b: c\n\n", [("a:b: c", "")], id="colons"),
        pytest.param(b"\n\n\n\ndata: x\n\n\n\n\n", [("x", "")], id="blank lines"),
        pytest.param(b"data: [DONE]\n\nrubbish", [("[DONE]", "")], id="bytes behind"),
        pytest.param(b"<html>\n\n{}\n\n", [], id="no stream at all"),
        pytest.param(b"data: x\n", [], id="no blank line"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_a_stream_is_read_as_written(body: bytes, expected: list[Event], end: bytes) -> None:
    body = body.replace(b"\n", end)
    whole, _ = read([body])
    bytewise, _ = read([body[i : i + 1] for i in range(len(body))])
    assert whole == bytewise == [(data, kind) for data, kind in expected]


@pytest.mark.parametrize(
    ("body", "last", "retry"),
    [
        (b"id: 7\n\n", "7", None),
        (b"id: 7\ndata: x\n\nid\n\n", "", None),
        (b"id: 7\n\nid: 8\0\n\n", "7", None),
        (b"id: 7\n\nid: 8\n", "7", None),
        (b"retry: 250\n\n", "", 250),
        (b"retry: 250\n\nretry: 3s\n\nretry:\n\nretry: -1\n\n", "", 250),
        ("retry: ٣\n\n".encode(), "", None),
        (b"retry: " + b"9" * 5000 + b"\n\n", "", None),
    ],
)
def test_id_and_retry_are_what_the_stream_said_last(
    body: bytes, last: str, retry: int | None
) -> None:
    _, parser = read([body])
    assert (parser.last_event_id, parser.retry) == (last, retry)


def test_an_event_is_given_with_the_byte_that_ends_it() -> None:
    parser = SSEParser()
    assert parser.feed(b"data: x\r") == []
    assert parser.feed(b"\r") == [ServerSentEvent(b"x")]
    assert parser.feed(b"\ndata: y\n\n") == [ServerSentEvent(b"y")]


@pytest.mark.parametrize(
    ("body", "rest"),
    [
        (b"", None),
        (b"data: x\n\n", None),
        (b"data: x\n", ServerSentEvent(b"x")),
        (b"event: error\ndata: {", ServerSentEvent(b"{", "error")),
        (b": ping", None),
        (b"\xef", None),
        (b"\xef\xbb", None),
    ],
)
def test_at_the_end_the_unfinished_event_can_be_looked_at(
    body: bytes, rest: ServerSentEvent | None
) -> None:
    parser = SSEParser()
    parser.feed(body)
    assert parser.unfinished() == rest


# --- bounds -----------------------------------------------------------------------------------

LIMIT = 40


def event_of(size: int) -> bytes:
    """An event of so many bytes: a comment, a kind and two lines of data."""
    head = b": c\nevent: e\ndata: a\ndata: "
    return head + b"x" * (size - len(head))


@st.composite
def bounded(draw: st.DrawFn) -> tuple[int, int, list[bytes]]:
    """How many small events come first, the next one's size, and all of it in pieces."""
    before = draw(st.integers(0, 3))
    size = draw(st.integers(LIMIT - 2, LIMIT + 5))
    blank = draw(st.sampled_from([b"", b"\n", b"\n\n\n"]))
    body = blank + b"data: small\n\n" * before + blank + event_of(size) + b"\n\ndata: last\n\n"
    body = body.replace(b"\n", draw(st.sampled_from([b"\n", b"\r", b"\r\n"])))
    return before, size, draw(cuts_of(body))


@settings(max_examples=400, deadline=None)
@given(bounded())
def test_an_event_over_the_bound_is_refused_behind_those_before_it_however_cut(
    case: tuple[int, int, list[bytes]],
) -> None:
    before, size, pieces = case
    events, failed = read_until_failure(pieces, LIMIT)
    assert events[:before] == [("small", "")] * before
    assert failed == (size > LIMIT)
    assert len(events) == before + (0 if failed else 2)


@pytest.mark.parametrize("endless", [b"data: ", b": ", b"x", b"data: y\n", b": \r\n", b"\xef\xbb"])
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_what_never_ends_is_refused_at_the_bound(endless: bytes, step: int) -> None:
    parser = SSEParser(max_event_bytes=LIMIT)
    body = (endless * 1000)[:1000]
    fed = 0

    def feed_all() -> None:
        nonlocal fed
        for start in range(0, len(body), step):
            fed = start
            parser.feed(body[start : start + step])

    with pytest.raises(StreamProtocolError, match="larger than 40 bytes"):
        feed_all()
    assert fed <= 2 * LIMIT


def test_blank_lines_without_end_are_no_event() -> None:
    parser = SSEParser(max_event_bytes=LIMIT)
    assert [event for _ in range(1000) for event in parser.feed(b"\n")] == []
    assert parser.feed(b"data: x\n\n") == [ServerSentEvent(b"x")]


def test_a_refused_stream_stays_refused() -> None:
    parser = SSEParser(max_event_bytes=LIMIT)
    for data in (b"x" * 100, b"", b"data: x\n\n"):
        with pytest.raises(StreamProtocolError):
            parser.feed(data)
    with pytest.raises(StreamProtocolError):
        parser.unfinished()


@pytest.mark.parametrize("over", [1, 2, 3])
def test_an_unfinished_event_over_the_bound_is_refused_too(over: int) -> None:
    def read_to_the_end() -> None:
        parser = SSEParser(max_event_bytes=LIMIT)
        parser.feed(event_of(LIMIT + over))
        parser.unfinished()

    with pytest.raises(StreamProtocolError):
        read_to_the_end()


def test_an_event_of_many_small_pieces_is_joined_once() -> None:
    size = 200_000
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call":
            calls[called.__name__] += 1

    parser = SSEParser()
    events: list[ServerSentEvent] = []
    sys.setprofile(count)
    try:
        for _ in range(size):
            parser.feed(b"x")
        for byte in (b"\n", b"d", b"a", b"t", b"a", b"\n", b"\n"):
            events += parser.feed(byte)
    finally:
        sys.setprofile(None)
    assert events == [ServerSentEvent(b"")]
    assert calls["join"] <= 2  # the pieces; the lines of data
    assert calls["split"] + calls["replace"] <= 3


# --- what the standard does not know: stray_json ----------------------------------------------


def strays(data: bytes, size: int = 1000) -> list[tuple[str, bytes]]:
    parser = SSEParser(stray_json=True)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    events = [event for piece in pieces for event in parser.feed(piece)]
    return [(event.event, event.data) for event in [*events, *parser.unfinished_events()]]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_single_newlines_between_whole_objects_end_events_as_they_arrive(size: int) -> None:
    """The second line of data shows it: from then on each one is an event at once."""
    data = b'data: {"a": 1}\ndata: {"a": 2}\nevent: x\ndata: {"a": 3}\n'
    assert strays(data, size) == [("", b'{"a": 1}'), ("", b'{"a": 2}'), ("x", b'{"a": 3}')]
    parser = SSEParser(stray_json=True)
    assert parser.feed(b'data: {"a": 1}\n') == []
    assert len(parser.feed(b'data: {"a": 2}\n')) == 2
    assert len(parser.feed(b'data: {"a": 3}\n')) == 1


def test_data_over_several_lines_stays_one_event() -> None:
    data = b'data: {"a": {}\ndata: , "b": 1}\n\n'
    for size in range(1, len(data)):
        assert strays(data, size) == [("", b'{"a": {}\n, "b": 1}')]


def test_a_line_without_end_is_bounded_after_single_newlines_too() -> None:
    parser = SSEParser(stray_json=True, max_event_bytes=50)
    parser.feed(b"data: {}\ndata: {}\n")
    with pytest.raises(StreamProtocolError):
        parser.feed(b"data: " + b"x" * 100)


@pytest.mark.parametrize(
    ("block", "events"),
    [
        (b'data: {}\nerror: {"a": 1}\n\n', [("", b"{}"), ("error", b'{"a": 1}')]),
        (b'data: {}\n{"a": 1}\n\n', [("", b"{}"), ("json", b'{"a": 1}')]),
        (b'Error: {"a": 1}\ndata: [DONE]\n\n', [("error", b'{"a": 1}'), ("", b"[DONE]")]),
        (b"event: error\n\n", [("error", b"")]),
        (b"[DONE]\n\n", [("json", b"[DONE]")]),
        (b"event: ping\n\n", []),
        (b"hello {name}\n\n", []),
    ],
)
def test_stray_json_is_found_beside_data(block: bytes, events: list[tuple[str, bytes]]) -> None:
    assert strays(block) == events
