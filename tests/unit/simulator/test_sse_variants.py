"""Unusual encodings of a stream have the same content for a correct reader."""

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.simulator import Fault
from laplas_async.simulator.answers import make_answer
from laplas_async.simulator.encode import events
from laplas_async.simulator.sse_variants import encode_variant, slices

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, "n": 2}
EVENTS = events(make_answer(BODY), include_usage=True)


def datas(data: bytes) -> list[Any]:
    """Read events as the standard says, slowly and simply."""
    text = data.decode().removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    found = []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line.startswith("data:")]
        if lines:
            found.append("\n".join(line[5:].removeprefix(" ") for line in lines))
    return [one if one == "[DONE]" else orjson.loads(one) for one in found]


WHOLE = [one.data if one.data == b"[DONE]" else orjson.loads(one.data) for one in EVENTS]
WHOLE[-1] = "[DONE]"


@given(
    st.builds(
        Fault.written,
        line_end=st.sampled_from(["\n", "\r", "\r\n"]),
        bom=st.booleans(),
        space=st.booleans(),
        chunk=st.one_of(st.none(), st.integers(1, 500)),
        comments=st.booleans(),
        multiline=st.booleans(),
        extra_fields=st.booleans(),
        per_write=st.integers(1, 9),
    )
)
def test_every_variant_has_the_same_content(fault: Fault) -> None:
    pieces = encode_variant(EVENTS, fault)
    assert datas(b"".join(data for data, _ in pieces)) == WHOLE
    assert sum(count for _, count in pieces) == 18
    if fault.chunk:
        assert all(len(data) == fault.chunk for data, _ in pieces[:-1])


def test_slices_join_to_the_data() -> None:
    assert slices(b"abcde", 2) == [b"ab", b"cd", b"e"]
    assert slices(b"abc", None) == [b"abc"]
    assert slices(b"", None) == slices(b"", 3) == []
