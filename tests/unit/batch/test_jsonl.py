"""One line of JSON: strict when read, canonical when hashed, always readable when written."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laplas_async.batch.jsonl import canonical, digest, read, write

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_what_is_written_is_one_line_that_can_be_read(value: Any) -> None:
    line = write({"value": value})
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    read(line)


@given(st.dictionaries(st.text(), st.integers(-(2**53), 2**53) | st.text(), max_size=6))
def test_plain_values_come_back_as_they_were(value: dict[str, Any]) -> None:
    assert read(write(value)) == value


def test_what_orjson_cannot_write_is_written_as_json() -> None:
    line = write({"large": 2**80, "nan": math.nan, "half": "a\ud800b"})
    assert json.loads(line) == {"large": 2**80, "nan": None, "half": "a\ufffdb"}


def test_a_value_that_is_nested_too_deeply_is_refused() -> None:
    value: Any = "x"
    for _ in range(100_000):
        value = [value]
    with pytest.raises(RecursionError):
        write(value)


@pytest.mark.parametrize(
    "line", [b"", b"{", b"NaN", b'"\xff"', b'"\\ud800"', b"1 2", b"\xef\xbb\xbf1"]
)
def test_anything_but_strict_json_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - orjson's own message
        read(line)


@given(st.dictionaries(st.text(), st.integers(0, 9), max_size=6))
def test_the_order_of_keys_does_not_change_the_canonical_form(value: dict[str, int]) -> None:
    assert canonical(value) == canonical(dict(reversed(value.items())))


def test_a_value_without_canonical_form_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="64-bit"):
        canonical(2**80)


@given(st.lists(st.binary(max_size=3).filter(lambda part: b"\0" not in part), min_size=1))
def test_a_digest_depends_on_the_parts_and_their_bounds(parts: list[bytes]) -> None:
    assert len(digest(*parts)) == 16
    assert digest(*parts) == digest(*parts)
    assert digest(*parts) != digest(*parts, b"")
