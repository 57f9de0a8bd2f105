"""The codec: every message survives it, however the transport cuts it; anything else is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.pacing.shared import messages as m

STATE = m.State(
    now=1.5,
    limiter={"a": [1, {"inf": 1}]},
    workers=("w0", "w1"),
    concurrency=16,
    rate=None,
    closed=False,
    reason="",
    rules=[{"kind": "rate", "number": 20.0}],
)
MESSAGES: list[m.Message] = [
    m.Hello("w0", "1.0", 1, 1),
    m.Hello("w0", "1.0", 1, 9, ((7, 0), (8, 30)), ((m.REJECTED, 6, 1.5, 0.2),), STATE, 0.25),
    m.Want(3, 2, (10, 20)),
    m.Reports(((m.DONE, 1, None, 0.0), (m.TOKENS, 2, 33, 0.0))),
    m.Alive(4, 2, (), (3, 4)),
    m.Bye(),
    m.Welcome(),
    m.Refused("no\nway \u2028"),
    m.Grant(5, (0, 0, 7)),
    STATE,
    m.Expired(),
    m.Quota("Free-tier limit"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_survives_the_codec(message: m.Message) -> None:
    line = m.encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert m.decode(line) == message


@given(st.lists(st.integers(1, 40), max_size=60))
def test_messages_may_be_cut_anywhere(sizes: list[int]) -> None:
    data, splitter, found = b"".join(map(m.encode, MESSAGES)), m.Splitter(), []
    for size in sizes:
        found += splitter.feed(data[:size])
        data = data[size:]
    assert found + splitter.feed(data) == MESSAGES


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"",
            b"{}",
            b"[]",
            b"[1]",
            b'["want"]',
            b'["want","x",1]',
            b"\xff\xfe",
            b"GET / HTTP/1.1",
        ),
        *(b'["reports",[["x",1,null,0]]]', b'["reports",[["d"]]]', b'["reports",3]', b"null"),
        *(b'["unknown"]', b'["hello"]', b'["grant",1,null]', b'[["a"]]', b'["state",1,2]'),
    ],
)
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(m.MessageError):
        m.decode(line)


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(line: bytes) -> None:
    with contextlib.suppress(m.MessageError):
        m.decode(line)


def test_a_line_without_end_is_bounded() -> None:
    splitter = m.Splitter()
    half = b"x" * (m.MOST_BYTES // 2 + 1)
    assert splitter.feed(half) == []
    with pytest.raises(m.MessageError, match="bytes"):
        splitter.feed(half)


def test_a_hello_with_later_fields_can_be_read_and_so_refused() -> None:
    line = m.encode(m.Hello("w0", "9.0", 99, 1))[:-2] + b',"new",{}]\n'
    hello = m.decode(line)
    assert isinstance(hello, m.Hello)
    assert (hello.version, hello.protocol) == ("9.0", 99)
