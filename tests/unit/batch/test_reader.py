"""Bytes, however they are cut, to lines; and no more of a line than a row may have."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from laplas_async.batch.reader import Lines
from laplas_async.batch.rows import TooLong

LIMIT = 8


def lines(*pieces: bytes, limit: int = LIMIT) -> list[tuple[int, bytes | int]]:
    splitter = Lines(limit)
    found = [line for piece in pieces for line in splitter.feed(piece)] + [*splitter.end()]
    return [(n, line.size if isinstance(line, TooLong) else line) for n, line in found]


def test_lines_are_numbered_and_blank_ones_left_out() -> None:
    assert lines(b"a\n\n  \r\nb\r\nc") == [(1, b"a"), (4, b"b\r"), (5, b"c")]
    assert lines(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n") == [(1, b"a"), (2, b"\xef\xbb\xbfb")]
    assert lines(b"\xef\xbb\xbf\n") == lines(b"") == lines(b"\n\n") == []


def test_a_line_that_is_too_long_is_reported_with_its_size() -> None:
    assert lines(b"12345678\n123456789\nx\n") == [(1, b"12345678"), (2, 9), (3, b"x")]


def test_two_that_are_too_long_are_distinguished() -> None:
    found = [line for _, line in Lines(LIMIT).feed(b"1234567890\n1234567891\n1234567890\n")]
    one, other, again = [line.content for line in found if isinstance(line, TooLong)]
    assert one == again != other


@given(st.binary(max_size=60).map(lambda data: data.replace(b"\0", b"\n")), st.data())
def test_how_bytes_are_cut_changes_nothing(data: bytes, choose: st.DataObject) -> None:
    cuts = sorted(choose.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert lines(*pieces) == lines(data)
    whole, cut = Lines(LIMIT), Lines(LIMIT)
    expected = [*whole.feed(data), *whole.end()]
    assert [line for p in pieces for line in cut.feed(p)] + [*cut.end()] == expected


def test_no_more_of_a_line_is_kept_than_a_row_may_have() -> None:
    splitter, piece = Lines(1_000_000), b"x" * 100_000
    tracemalloc.start()
    try:
        for _ in range(300):
            assert not [*splitter.feed(bytes(piece))]
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert [line.size for _, line in splitter.end() if isinstance(line, TooLong)] == [30_000_000]
