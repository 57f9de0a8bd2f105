"""JSON decoded in pieces is the JSON, wherever the pieces are cut."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from laplas_async.wire import large_json as large
from laplas_async.wire.large_json import loads_large

LONG = 'Der Fluß "führt"\n Hochwasser\\ 🙂, 河流. ' * 40

# What makes it hard: escapes, halves of pairs, quotes, and characters of two to four bytes.
hard = st.text(st.sampled_from('ab"\\\n\t/\x00éß河🙂\ud7ff\ufdd0'), max_size=120)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | hard,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(hard, inner, max_size=4),
    max_leaves=12,
)


@given(value=values, ascii_only=st.booleans(), spaced=st.booleans(), piece=st.integers(12, 90))
@example(value={"a": "🙂" * 40}, ascii_only=True, spaced=False, piece=13)
@example(value={"a": "\\" * 41 + '"'}, ascii_only=False, spaced=False, piece=12)
def test_any_json_in_any_pieces(value: Any, ascii_only: bool, spaced: bool, piece: int) -> None:
    separators = (" , ", " : ") if spaced else (",", ":")
    data = json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode()
    assert loads_large(data, piece=piece) == orjson.loads(data)


@given(data=st.binary(max_size=200) | hard.map(lambda text: b'{"a":"' + text.encode() + b'"}'))
def test_any_bytes_give_what_one_call_gives(data: bytes) -> None:
    try:
        expected = orjson.loads(data)
    except orjson.JSONDecodeError:
        with pytest.raises(orjson.JSONDecodeError):
            loads_large(data, piece=16)
    else:
        assert loads_large(data, piece=16) == expected


@given(cut=st.integers(0, 4000), piece=st.sampled_from([16, 100, 1000]))
def test_a_body_that_was_cut_is_no_json(cut: int, piece: int) -> None:
    data = json.dumps({"choices": [{"delta": {"content": LONG}}, LONG]}).encode()
    if cut < len(data):
        with pytest.raises(orjson.JSONDecodeError):
            loads_large(data[:cut], piece=piece)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":"%b","b":"\\ud83d"}' % (b"x" * 100),  # half a character
        b'{"a":"%b\\ud83d%b"}' % (b"x" * 100, b"y" * 100),
        b'{"a":"%b\n%b"}' % (b"x" * 100, b"y" * 100),  # a raw line end
        b'{"a":"%b\xff%b"}' % (b"x" * 100, b"y" * 100),  # no UTF-8
        b'{"a":"%b\\x%b"}' % (b"x" * 100, b"y" * 100),  # no escape
        b'{"a":"%b' % (b"\xc3" * 100),
    ],
)
def test_what_is_no_json_is_none_in_pieces(data: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        loads_large(data, piece=32)


@pytest.mark.parametrize(
    "data",
    [
        '{"a":"' + "x" * 100 + '","a":"' + "y" * 100 + '"}',  # a name twice: the last counts
        '{"a":"' + "x" * 100 + f'","b":"{large._MARK}0"}}',  # a text that looks like a mark
        '{"x:": "y", "z": ": \\"' + "x" * 100 + '"}',
        '"' + ': \\"' * 100 + '"',
    ],
)
def test_what_could_be_mistaken_is_not(data: str) -> None:
    assert loads_large(data.encode(), piece=32) == orjson.loads(data)


def test_long_texts_are_decoded_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    longest = 0
    real = orjson.loads

    def loads(data: bytes) -> Any:
        nonlocal longest
        longest = max(longest, len(data))
        return real(data)

    body = {"id": "c", "choices": [{"message": {"content": LONG, "reasoning": LONG * 3}}]}
    data = json.dumps(body, ensure_ascii=False).encode()
    monkeypatch.setattr(orjson, "loads", loads)
    assert loads_large(data, piece=200) == body
    assert longest <= 202  # with its quotes
